"""Evaluate the CEL expressions of ``when``, each within a bounded amount of work (decision 0041).

An expression has no variables: Tekton puts values into its text. So types and sizes are known before anything
is evaluated. Nothing of the library is imported until an expression is met.
"""

from functools import lru_cache

from resultsfw.cel.errors import CelError
from resultsfw.cel.tokens import count_tokens

__all__ = ["MOST_CHARACTERS", "MOST_WEIGHT", "CelError", "Evaluator", "evaluate"]

MOST_CHARACTERS = 100_000
"""Characters of an expression after substitution: cel-go's own limit."""

MOST_WEIGHT = 20_000
"""Of all expressions of a Pipeline: one for each token and 100 characters. A token takes up to 0.1 ms."""

_SHOWN = 1000
"""Characters of a message, which names types and texts of the expression."""

_KEPT = 1024
_LONGEST_KEPT = 4096
"""Characters of an expression whose value is kept: all that are kept have 4 MB."""


def evaluate(expression: str) -> bool:
    """Return what an expression evaluates to.

    Raises:
        CelError: It is not valid, exceeds the cost limit, fails, or does not evaluate to a boolean; or the
            library is not installed.
    """
    if len(expression) > MOST_CHARACTERS:
        raise CelError(
            f"expression code point size exceeds limit: size: {len(expression)}, limit {MOST_CHARACTERS}"
        )
    outcome = _kept(expression) if len(expression) <= _LONGEST_KEPT else _outcome(expression)
    if isinstance(outcome, CelError):
        raise CelError(outcome.message)
    return outcome


class Evaluator:
    """Evaluates the expressions of one Pipeline, which all together are bounded, too."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._weight = 0

    def evaluate(self, expression: str) -> bool:
        """Return what an expression evaluates to.

        Raises:
            CelError: As `evaluate`; or it is too much, with those that were evaluated before.
        """
        if len(expression) <= MOST_CHARACTERS and expression not in self._known:
            self._weight += count_tokens(expression) + len(expression) // 100
            if self._weight > MOST_WEIGHT:
                raise CelError(
                    f"the expressions of the Pipeline together are over the limit of {MOST_WEIGHT}, counting "
                    f"one for each word, operator and 100 characters; use fewer, or shorter ones"
                )
            self._known.add(expression)
        return evaluate(expression)


@lru_cache(maxsize=_KEPT)
def _kept(expression: str) -> bool | CelError:
    """Return the value or the error of an expression, and keep it: a run is reconciled many times."""
    return _outcome(expression)


def _outcome(expression: str) -> bool | CelError:
    """Return the value or the error of an expression."""
    try:
        from resultsfw.cel.evaluation import evaluate_checked  # noqa: PLC0415 - an expensive import, used by few
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] == "resultsfw":
            raise
        return CelError(
            f"evaluating CEL needs the library cel-python ({error}): pip install 'resultsfw[cel]', or write "
            f"the condition with input, operator and values"
        )
    try:
        return evaluate_checked(expression)
    except CelError as error:
        return CelError(error.message[:_SHOWN])
