"""The error of CEL expressions."""

from resultsfw.errors import ResultsError

__all__ = ["CelError"]


class CelError(ResultsError):
    """A CEL expression cannot be evaluated."""

    code = "CelInvalid"
