"""The functions of CEL's standard library: what they take, what they return, and how large that is."""

from collections.abc import Mapping, Sequence
from typing import Final

from resultsfw.cel.types import BOOL, INT, TYPE, Type, sized

__all__ = ["function_type", "method_type", "operator_type"]

_NUMBERS: Final = ("int", "uint", "double")
_ORDERED: Final = ("bool", *_NUMBERS, "string", "bytes", "timestamp", "duration")
_TIMES: Final = ("timestamp", "duration")
_TEXT: Final = 32
"""Characters of a number or a time as a text."""

_CONVERSIONS: Final[Mapping[str, Sequence[str]]] = {
    "bool": ("bool", "string"),
    "bytes": ("bytes", "string"),
    "double": (*_NUMBERS, "string"),
    "duration": ("duration", "string"),
    "int": (*_NUMBERS, "string", "timestamp"),
    "string": ("bool", *_NUMBERS, "string", "bytes", *_TIMES),
    "timestamp": ("timestamp", "string"),
    "uint": (*_NUMBERS, "string"),
}
"""By the type that is made: the types that it is made from."""

_OF_TEXTS: Final = ("contains", "endsWith", "matches", "startsWith")
_OF_TIMESTAMPS: Final = (
    "getDate",
    "getDayOfMonth",
    "getDayOfWeek",
    "getDayOfYear",
    "getFullYear",
    "getMonth",
)
_OF_TIMES: Final = ("getHours", "getMilliseconds", "getMinutes", "getSeconds")
_SIZED: Final = ("string", "bytes", "list", "map")


def function_type(name: str, given: Sequence[Type]) -> Type | None:
    """Return the type of a call ``name(given)``; ``None`` if there is no such function of these types."""
    if name == "matches" and len(given) == 2:  # noqa: PLR2004 - text and pattern
        return method_type(name, given[0], given[1:])
    if len(given) != 1:
        return None
    (value,) = given
    if name == "size":
        return INT if _is(value, *_SIZED) else None
    if name == "type":
        return TYPE
    if name == "dyn":
        return Type("dyn", value.size, value.count)
    if name == "string" and value.kind in ("bool", "dyn"):
        return None  # the library writes "True"
    if name in _CONVERSIONS and _is(value, *_CONVERSIONS[name]):
        return sized(name, max(_TEXT, value.size)) if name in ("string", "bytes") else Type(name)
    return None


def method_type(name: str, value: Type, given: Sequence[Type]) -> Type | None:
    """Return the type of a call ``value.name(given)``; ``None`` if there is none of these types."""
    if name in _OF_TEXTS and len(given) == 1:
        return BOOL if _is(value, "string") and _is(given[0], "string") else None
    if given:
        return None
    if name == "size":
        return INT if _is(value, *_SIZED) else None
    times = ("timestamp",) if name in _OF_TIMESTAMPS else _TIMES if name in _OF_TIMES else ()
    return INT if _is(value, *times) else None


def operator_type(operator: str, left: Type, right: Type) -> Type | None:
    """Return the type of an operation; ``None`` if there is none of these types."""
    if operator in ("==", "!="):
        return BOOL if left.accepts(right) else None
    if operator in ("<", "<=", ">", ">="):
        return BOOL if _is(left, *_ORDERED) and _is(right, *_ORDERED) and left.accepts(right) else None
    if operator == "in":
        return BOOL if _contains(right, left) else None
    if "dyn" in (left.kind, right.kind):
        return Type("dyn", left.size + right.size, left.count + right.count)
    if operator in ("+", "-") and (made := _of_times(operator, left.kind, right.kind)):
        return Type(made)
    if left.kind != right.kind:
        return None
    if operator == "+" and left.kind in ("string", "bytes", "list"):
        return _concatenated(left, right)
    numbers = ("int", "uint") if operator == "%" else _NUMBERS
    return Type(left.kind) if left.kind in numbers else None


def _concatenated(left: Type, right: Type) -> Type | None:
    if not left.accepts(right):
        return None
    element = left.element or right.element
    return Type(left.kind, left.size + right.size, left.count + right.count, element=element)


def _contains(container: Type, value: Type) -> bool:
    if container.kind == "list":
        return container.element is None or container.element.accepts(value)
    if container.kind == "map":
        return container.key is None or container.key.accepts(value)
    return container.kind == "dyn"


def _of_times(operator: str, left: str, right: str) -> str:
    """Return the type of a sum or difference of times; empty if there is none."""
    if (left, right) == ("timestamp", "timestamp"):
        return "duration" if operator == "-" else ""
    if (left, right) == ("duration", "duration"):
        return "duration"
    if (left, right) == ("timestamp", "duration"):
        return "timestamp"
    return "timestamp" if (operator, left, right) == ("+", "duration", "timestamp") else ""


def _is(value: Type, *kinds: str) -> bool:
    return value.kind in kinds or (value.kind == "dyn" and bool(kinds))
