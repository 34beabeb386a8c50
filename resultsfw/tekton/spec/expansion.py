"""Replace variables in texts, within the size of one API object.

One pass over each text: values are put in, and not read again. A `Lookup` gives the value of a variable; a
variable that it does not know stays as it is written.
"""

from bisect import bisect
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final

from resultsfw.errors import ResultsError
from resultsfw.limits import OBJECT_BYTES
from resultsfw.tekton.spec.variables import VARIABLE, protect_beginnings
from resultsfw.types import Value

__all__ = ["Budget", "Expansion", "Lookup", "TooLargeError", "first_of"]

Lookup = Callable[[str], Value | None]
"""From a variable's name, ``params.x``, to its value; ``None`` if it is not known here."""

_ELEMENT: Final = 3
"""Bytes of one more element of a JSON list, beside its text: two quotes and a comma."""


_MOST_WALKED: Final = 16
"""Times its limit that a budget lets arrays and objects be gone through."""


class TooLargeError(ResultsError):
    """Replacing variables would produce more than one API object can hold; ``subject`` is the field."""

    code = "ExpansionTooLarge"

    def __init__(self, field: str, size: int, limit: int) -> None:
        super().__init__(
            f"{field}: with its variables replaced the spec would have {size} bytes or more, over the limit "
            f"of {limit} bytes one API object can hold; name large params fewer times, or read them from the "
            f"files /tekton/params/NAME",
            subject=field,
        )
        self.size, self.limit = size, limit


class Budget:
    """How many bytes replaced texts may have together.

    Args:
        limit: In bytes; what one API object holds.
    """

    def __init__(self, limit: int = OBJECT_BYTES) -> None:
        self.limit = limit
        self.spent = 0
        self._walked = 0
        self._sizes: dict[int, tuple[Value, int]] = {}

    def size_of(self, value: Value | None, field: str) -> int:
        """Return the bytes of a value. An array or object is gone through once, however often it is named.

        Raises:
            TooLargeError: Too much was gone through: values that are computed again each time they are named.
        """
        if not isinstance(value, list | dict):
            return _size(value)
        known = self._sizes.get(id(value))
        if known is None:
            known = self._sizes[id(value)] = (value, _size(value))  # it is held, so its id stays its own
            self._walked += known[1]
            if self._walked > _MOST_WALKED * self.limit:
                raise TooLargeError(field, self._walked, self.limit)
        return known[1]

    def spend(self, size: int, field: str) -> None:
        """Count bytes that are about to be produced.

        Raises:
            TooLargeError: Together with all before they are more than the limit. Nothing was built.
        """
        self.check(size, field)
        self.spent += size

    def check(self, size: int, field: str) -> None:
        """Refuse bytes that could not be spent; count nothing.

        Raises:
            TooLargeError: Together with all before they are more than the limit.
        """
        if self.spent + size > self.limit:
            raise TooLargeError(field, self.spent + size, self.limit)


class Expansion:
    """Replaces variables in the texts of one container, Task or run.

    Args:
        lookup: What variables stand for; asked once for each name.
        budget: Shared by all that goes into one object.
    """

    def __init__(self, lookup: Lookup, budget: Budget) -> None:
        self._lookup = lookup
        self._budget = budget
        self._known: dict[str, tuple[Value | None, int]] = {}

    def text(self, text: str, field: str) -> str:
        """Return a text with its variables replaced by texts; an array or object has no place in one.

        Raises:
            TooLargeError: The text would be too large; found out before it is built.
        """
        if "$(" not in text:
            return text
        parts: list[str] = []
        size, values, last = _size(text), 0, 0
        for match in VARIABLE.finditer(text):
            value, bytes_ = self._value(match[1])
            if isinstance(value, str):
                parts += (text[last : match.start()], value)
                size += bytes_ - _size(match[0])
                values += bytes_
                last = match.end()
                # Before more values are looked up, each of which may be large.
                self._budget.check(values, field)
        if not parts:
            return text
        parts.append(text[last:])
        self._budget.spend(size, field)
        return _join(parts)

    def texts(self, texts: Sequence[Any], field: str) -> list[Any]:
        """Return a list in which a whole array, named by an element of its own, becomes its elements."""
        replaced: list[Any] = []
        for index, text in enumerate(texts):
            if not isinstance(text, str) or "$(" not in text:
                replaced.append(text)
                continue
            whole = self.whole(text)
            if isinstance(whole, list):
                self._budget.spend(self._value(text[2:-1])[1], f"{field}[{index}]")
                replaced += whole
            else:
                replaced.append(self.text(text, f"{field}[{index}]"))
        return replaced

    def whole(self, text: str) -> Value | None:
        """Return the value of a text that is one variable and nothing else; ``None`` if it is none."""
        if not text.startswith("$("):
            return None
        match = VARIABLE.fullmatch(text)
        return None if match is None else self._value(match[1])[0]

    def value(self, value: Any, field: str) -> Any:
        """Return a parameter's value: a text that is one array or object variable becomes its value."""
        if isinstance(value, str):
            whole = self.whole(value)
            if isinstance(whole, list | dict):
                self._budget.spend(self._value(value[2:-1])[1], field)
                return list(whole) if isinstance(whole, list) else dict(whole)
            return self.text(value, field)
        return self.tree(value, field)

    def tree(self, value: Any, field: str) -> Any:
        """Return a copy of plain data with the variables of all its texts replaced, keys left alone.

        Tekton goes through the fields it knows and leaves some out (a ``hostPath``'s path, say), where a
        variable is an error anyway.
        """
        if isinstance(value, str):
            return self.text(value, field)
        if isinstance(value, list):
            if any(isinstance(element, str) for element in value):
                value = self.texts(value, field)
                return [
                    element if isinstance(element, str) else self.tree(element, f"{field}[{index}]")
                    for index, element in enumerate(value)
                ]
            return [self.tree(element, f"{field}[{index}]") for index, element in enumerate(value)]
        if isinstance(value, dict):
            return {key: self.tree(element, f"{field}.{key}") for key, element in value.items()}
        return value

    def _value(self, name: str) -> tuple[Value | None, int]:
        """Return the value of a variable, and its bytes."""
        known = self._known.get(name)
        if known is None:
            value = self._lookup(name)
            known = self._known[name] = (value, self._budget.size_of(value, name))
        return known


def first_of(*lookups: Lookup) -> Lookup:
    """Return a lookup that asks each in turn."""

    def lookup(name: str) -> Value | None:
        return next((value for ask in lookups if (value := ask(name)) is not None), None)

    return lookup


def _join(parts: Sequence[str]) -> str:
    """Return texts of an author and values, by turns, as one text.

    Where a variable of Tekton's comes about that begins in a value, or between the two (``$`` and
    ``(params.x)``, side by side), it is protected: no one wrote it.
    """
    text = "".join(parts)
    if text.count("$(") == sum(part.count("$(") for part in parts[::2]):
        return text  # all of them begin in the author's text
    ends = list(accumulate(map(len, parts)))

    def is_value(start: int, end: int) -> bool:
        first = bisect(ends, start)
        if bisect(ends, start + 1) != first:
            return True  # "$" and "(" meet
        # What is in a value as a whole was protected before, or is left to a later pass.
        return first % 2 == 1 and bisect(ends, end - 1) != first

    return protect_beginnings(text, is_value)


def _size(value: Value | None) -> int:
    if isinstance(value, str):
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, list):
        return sum(_size(element) + _ELEMENT for element in value)
    if isinstance(value, dict):
        return sum(_size(key) + _size(element) + 2 * _ELEMENT for key, element in value.items())
    return 0
