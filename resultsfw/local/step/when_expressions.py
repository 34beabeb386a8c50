"""Evaluates a Step's when expressions."""

import json

from .references import UnresolvedError, in_command


class WhenError(Exception):
    """The expressions are invalid, or need a cluster."""


def allows(expressions: str, steps: str) -> bool:
    """Return whether the Step is to run.

    Args:
        expressions: A JSON list of ``{"input", "operator", "values"}``; "" if there are none.
        steps: The folder that replaces ``/tekton/steps``, for references to results.

    Raises:
        WhenError: They are not such a list, or use CEL.
    """
    if not expressions:
        return True
    try:
        listed = json.loads(expressions)
        return all(_holds(expression, steps) for expression in listed)
    except (ValueError, AttributeError, TypeError) as error:
        raise WhenError(f"when expressions are invalid: {error}") from None


def _holds(expression: dict[str, object], steps: str) -> bool:
    if expression.get("cel"):
        raise WhenError("when expressions in CEL need a cluster")
    values = expression.get("values") or []
    if not isinstance(values, list):
        raise TypeError("values are not a list")
    text = str(expression.get("input") or "")
    try:
        [text], values = in_command([text], steps), in_command([str(value) for value in values], steps)
    except (UnresolvedError, ValueError) as error:
        raise WhenError(f"when expressions: {error}") from None
    return (text in values) == (expression.get("operator") == "in")
