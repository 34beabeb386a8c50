"""Evaluate a CEL expression with cel-python, after it was checked."""

import re
import threading
from typing import Any, Final

import celpy
import re2
from celpy import celtypes
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError, Context

from resultsfw.cel.checker import Checker
from resultsfw.cel.errors import CelError
from resultsfw.cel.tokens import PLACEHOLDER, tokens_of
from resultsfw.cel.types import BOOL, sized

__all__ = ["evaluate_checked"]

_DURATION: Final = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|us|µs|ns|m|s)){1,8}")
_TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:Z|[-+][0-9]{2}:[0-9]{2})"
)
_SHOWN: Final = 200

_lock: Final = threading.Lock()
"""The library's parser keeps the text that it parses."""


def evaluate_checked(expression: str) -> bool:
    """Return what an expression evaluates to.

    Raises:
        CelError: It is not valid, costs too much, fails, or does not evaluate to a boolean.
    """
    tokens = tokens_of(expression)
    names = {name: sized(name.split("_")[1], len(value)) for name, value in tokens.strings.items()}
    with _lock:
        environment = celpy.Environment()
        try:
            tree = environment.compile(tokens.text)
        except CELParseError as error:
            raise CelError(f"Syntax error: {_with_strings(_first_line(error), tokens.strings)}") from error
        if not BOOL.accepts(Checker(names).check(tree)):
            raise CelError(f"The CEL expression {expression[:_SHOWN]} is not evaluated to a boolean")
        values: Context = {
            name: celtypes.StringType(value) if isinstance(value, str) else celtypes.BytesType(value)
            for name, value in tokens.strings.items()
        }
        try:
            outcome = environment.program(tree, functions=_FUNCTIONS).evaluate(values)
        except CELEvalError as error:
            raise CelError(_with_strings(_first_line(error), tokens.strings)) from error
        except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise CelError(f"the expression cannot be evaluated: {error}"[:_SHOWN]) from error
    if not isinstance(outcome, celtypes.BoolType):
        raise CelError(f"The CEL expression {expression[:_SHOWN]} is not evaluated to a boolean")
    return bool(outcome)


# Functions in place of the library's: errors are values there.


def _duration(value: Any) -> Any:
    """Return a duration; the library's own pattern takes exponential time on some texts."""
    if isinstance(value, str) and not _DURATION.fullmatch(value):
        return CELEvalError(f"time: invalid duration {value[:_SHOWN]!r}")
    return celtypes.DurationType(value)


def _timestamp(value: Any) -> Any:
    """Return a time, of RFC 3339 only."""
    if isinstance(value, str) and not _TIMESTAMP.fullmatch(value):
        return CELEvalError(f"parsing time {value[:_SHOWN]!r} as RFC 3339")
    return celtypes.TimestampType(value)


def _matches(text: Any, pattern: Any) -> Any:
    """Return whether a pattern matches a part of a text; RE2 takes linear time, and writes no log here."""
    try:
        compiled = re2.compile(str(pattern), _RE2_OPTIONS)
    except re2.error as error:
        return CELEvalError(f"error parsing regexp: {error}")
    return celtypes.BoolType(compiled.search(str(text)) is not None)


def _item(container: Any, index: Any) -> Any:
    """Return an element; from a list, Python would also give those before its beginning, from its end."""
    if isinstance(container, list) and not 0 <= index < len(container):
        return CELEvalError(f"index out of bounds: {index}")
    if isinstance(container, dict) and index not in container:
        return CELEvalError(f"no such key: {index}")
    return container[index]


def _remainder(left: Any, right: Any) -> Any:
    """Return a remainder, of integers only: to Python ``%`` is the format of a text, too, of any length."""
    if isinstance(left, celtypes.IntType | celtypes.UintType) and type(left) is type(right):
        return left % right
    return CELEvalError("no such overload: _%_")


_RE2_OPTIONS: Final = re2.Options()
_RE2_OPTIONS.log_errors = False
_FUNCTIONS: Final[dict[str, Any]] = {
    "duration": _duration,
    "timestamp": _timestamp,
    "matches": _matches,
    "_[_]": _item,
    "_%_": _remainder,
}


def _first_line(error: Exception) -> str:
    return str(error.args[0] if error.args else error).partition("\n")[0][: 4 * _SHOWN]


def _with_strings(message: str, strings: dict[str, str | bytes]) -> str:
    """Return a message with strings in place of their names, shortened.

    In one pass: a string may hold the names of others, which hold others again.
    """

    def shown(match: re.Match[str]) -> str:
        return repr(strings[match[0]])[:_SHOWN] if match[0] in strings else match[0]

    return PLACEHOLDER.sub(shown, message[: 4 * _SHOWN])[: 4 * _SHOWN]
