"""Evaluates a Step's when expressions."""

import json
import os
import sys

from .references import UnresolvedError, in_command

_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))  # noqa: PTH100, PTH120
_EVALUATE = "import sys; sys.path.insert(0, sys.argv[1]); from resultsfw.cel.__main__ import main; main()"
_MOST_SECONDS = 120
"""An expression is refused if it costs more than a fraction of a second; the rest is for a busy machine."""


class WhenError(Exception):
    """The expressions are invalid."""


def allows(expressions: str, steps: str) -> bool:
    """Return whether the Step is to run.

    Args:
        expressions: A JSON list of ``{"input", "operator", "values"}``; "" if there are none.
        steps: The folder that replaces ``/tekton/steps``, for references to results.

    Raises:
        WhenError: They are not such a list, or one in CEL cannot be evaluated.
    """
    if not expressions:
        return True
    try:
        listed = json.loads(expressions)
        return all(_holds(expression, steps) for expression in listed)
    except (ValueError, AttributeError, TypeError) as error:
        raise WhenError(f"when expressions are invalid: {error}") from None


def _holds(expression: dict[str, object], steps: str) -> bool:
    if cel := expression.get("cel"):
        return _evaluate(_replaced([str(cel)], steps)[0])
    values = expression.get("values") or []
    if not isinstance(values, list):
        raise TypeError("values are not a list")
    text = str(expression.get("input") or "")
    [text], values = _replaced([text], steps), _replaced([str(value) for value in values], steps)
    return (text in values) == (expression.get("operator") == "in")


def _replaced(texts: list[str], steps: str) -> list[str]:
    """Return texts with references to Step results replaced.

    Raises:
        WhenError: A result does not exist.
    """
    try:
        return in_command(texts, steps)
    except (UnresolvedError, ValueError) as error:
        raise WhenError(f"when expressions: {error}") from None


def _evaluate(expression: str) -> bool:
    """Return what a CEL expression evaluates to, in a process that has the library of CEL.

    Raises:
        WhenError: It cannot be evaluated.
    """
    import subprocess  # noqa: PLC0415 - a slow import, used by few

    command = [sys.executable, "-I", "-c", _EVALUATE, _PACKAGES]
    try:
        done = subprocess.run(
            command,
            input=expression.encode("utf-8", "surrogatepass"),
            capture_output=True,
            timeout=_MOST_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise WhenError(f"the CEL expression could not be evaluated: {error}") from None
    if done.returncode != 0:
        raise WhenError(done.stderr.decode("utf-8", "replace").strip()[-1000:])
    return done.stdout == b"true"
