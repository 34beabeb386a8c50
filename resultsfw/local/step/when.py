"""Evaluates a Step's when expressions."""

import json

from .references import UnresolvedError, in_command


class WhenError(Exception):
    """The expressions make no sense here."""


def allows(expressions: str, steps: str) -> bool:
    """Whether the Step is to run.

    Args:
        expressions: A JSON list of ``{"input", "operator", "values"}``, or nothing.
        steps: The folder that stands for ``/tekton/steps``, for references to results.

    Raises:
        WhenError: They are no such list, or use CEL.
    """
    if not expressions:
        return True
    try:
        listed = json.loads(expressions)
        return all(_holds(one, steps) for one in listed)
    except (ValueError, AttributeError, TypeError) as error:
        raise WhenError(f"when expressions make no sense: {error}") from None


def _holds(one: dict[str, object], steps: str) -> bool:
    if one.get("cel"):
        raise WhenError("when expressions in CEL need a cluster")
    values = one.get("values") or []
    if not isinstance(values, list):
        raise TypeError("values are no list")
    text = str(one.get("input") or "")
    try:
        [text], values = in_command([text], steps), in_command([str(value) for value in values], steps)
    except (UnresolvedError, ValueError) as error:
        raise WhenError(f"when expressions: {error}") from None
    return (text in values) == (one.get("operator") == "in")
