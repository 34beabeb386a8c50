"""The types of CEL, with the size that a value of them can have at most."""

from dataclasses import dataclass
from typing import Final, Self

__all__ = [
    "ANY",
    "BOOL",
    "BYTES",
    "DOUBLE",
    "INT",
    "NULL",
    "STRING",
    "TYPE",
    "UINT",
    "Type",
    "joined",
    "sized",
]


@dataclass(frozen=True, slots=True)
class Type:
    """A type, and how large a value of it is at most.

    Attributes:
        kind: ``string``, ``list``, ...; ``dyn`` if it is known only when it is evaluated.
        size: Characters of a text; of a list or map what its elements have together, and one more for each.
        count: Elements of a list or map.
        key: Type of a map's keys.
        element: Type of a list's elements, or of a map's values; ``None`` of an empty one, and of ``dyn``.
    """

    kind: str
    size: int = 1
    count: int = 0
    key: "Type | None" = None
    element: "Type | None" = None

    @property
    def name(self) -> str:
        """Return the type's name as cel-go's messages write it."""
        if self.kind == "list":
            return f"list({_name(self.element)})"
        if self.kind == "map":
            return f"map({_name(self.key)}, {_name(self.element)})"
        return _OF_MESSAGES.get(self.kind, self.kind)

    @property
    def item(self) -> "Type":
        """Return the type of an element or a map's value. What is not known is as large as the whole."""
        if self.element is None and self.kind == "dyn":
            return self
        return self.element or ANY

    def accepts(self, other: Self) -> bool:
        """Return whether a value of another type may stand where one of this type does."""
        if "dyn" in (self.kind, other.kind):
            return True
        if self.kind != other.kind:
            return False
        return _accepts(self.key, other.key) and _accepts(self.element, other.element)


_OF_MESSAGES: Final = {"timestamp": "google.protobuf.Timestamp", "duration": "google.protobuf.Duration"}

ANY: Final = Type("dyn")
BOOL: Final = Type("bool")
BYTES: Final = Type("bytes")
DOUBLE: Final = Type("double")
INT: Final = Type("int")
NULL: Final = Type("null_type")
STRING: Final = Type("string")
TYPE: Final = Type("type")
UINT: Final = Type("uint")


def sized(kind: str, size: int) -> Type:
    """Return a type without elements, with a size."""
    return Type(kind, max(size, 1))


def joined(first: Type, second: Type) -> Type:
    """Return the type of a value that is of the one or the other of two types, as large as the larger."""
    size, count = max(first.size, second.size), max(first.count, second.count)
    if first.kind != second.kind or not first.accepts(second):
        return Type("dyn", size, count)
    return Type(
        first.kind,
        size,
        count,
        _joined_parts(first.key, second.key),
        _joined_parts(first.element, second.element),
    )


def _joined_parts(first: Type | None, second: Type | None) -> Type | None:
    if first is None or second is None:
        return first or second
    return joined(first, second)


def _accepts(first: Type | None, second: Type | None) -> bool:
    return first is None or second is None or first.accepts(second)


def _name(part: Type | None) -> str:
    return "dyn" if part is None else part.name
