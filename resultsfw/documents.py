"""Parse YAML and JSON manifests by kubectl's rules, and find the line of every field."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

__all__ = ["DocumentError", "lines_of", "means_itself", "read", "read_first"]

DEPTH: Final = 100
"""Limit of levels in a document. A manifest has about twenty."""

_TOO_DEEP: Final = f"is nested deeper than {DEPTH} levels"

NODES: Final = 1_000_000
"""Limit of values in a file, counting those that aliases repeat: nine aliases of nine make a billion."""

REPEATED: Final = 16_777_216
"""Limit of characters that aliases repeat."""

_PATH: Final = 1_000
"""Limit of characters in a field's path: the paths of all fields are kept."""

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_QUOTED: Final = re.compile(r"'[^']{2,}'|\"[^\"]{2,}\"")
_MERGE: Final = "<<"
_CORE: Final = "tag:yaml.org,2002:"

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {
    form: word in {"true", "yes", "on"}
    for word in ("true", "yes", "on", "false", "no", "off")
    for form in (word, word.capitalize(), word.upper())
}
_INT: Final = re.compile(r"([-+]?)(0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_NUMBER: Final = re.compile(r"[-+]?\.(inf|Inf|INF|nan|NaN|NAN)")


class DocumentError(Exception):
    """A text that cannot be read as documents.

    Args:
        why: What is wrong, for people.
        number: Number of the document, from 1.
        line: Line in the text, from 1; ``None`` where it is not known.
    """

    def __init__(self, why: str, *, number: int, line: int | None = None) -> None:
        super().__init__(why)
        self.why, self.number, self.line = why, number, line


def read(text: str) -> list[Any]:
    """Return the documents of a text; an empty document is ``None``.

    JSON is parsed as JSON. YAML is parsed as Kubernetes does: timestamps and keys of any form are text.
    A key that occurs twice in one mapping is refused, though kubectl accepts it.

    Raises:
        DocumentError: It cannot be read.
    """
    found = _read_json(text)
    # Otherwise it is YAML, perhaps in flow style, or invalid JSON, of which the YAML reader reports the line.
    return list(_Reader(text).documents()) if found is None else found


def read_first(text: str) -> Any:
    """Return the first document of a text, and read no further; ``None`` if there is none.

    Raises:
        DocumentError: It cannot be read.
    """
    found = _read_json(text)
    return next(_Reader(text).documents(), None) if found is None else found[0]


def lines_of(text: str, number: int) -> dict[str, int]:
    """Return the line of every field of one document, by its path such as ``spec.steps[0].image``."""
    reader = _Reader(text)
    try:
        for count, _ in enumerate(reader.documents(), 1):
            if count == number:
                break
    except DocumentError:
        pass  # it was read as JSON before: the lines of some fields are better than none
    return reader.lines


def means_itself(text: str) -> bool:
    """Return whether a text stays text in YAML without quotes.

    PyYAML's own rules leave "1e3" unquoted, which Kubernetes reads as a number.
    """
    return not (
        text in _NULL
        or text in _BOOL
        or text in ("y", "Y", "n", "N")
        or any(pattern.fullmatch(text) for pattern in (_INT, _FLOAT, _NO_NUMBER))
    )


def _read_json(text: str) -> list[Any] | None:
    """Return the only document of a text that is JSON; ``None`` if it is not."""
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return [value] if _is_flat(value, DEPTH) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) != len(pairs):
        raise ValueError
    return plain


def _is_flat(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels >= 0 and all(_is_flat(item, levels - 1) for item in inner if isinstance(item, dict | list))


def _no_constant(_name: str) -> Any:
    raise ValueError


class _Reader:
    """Builds plain data from the parser's events.

    PyYAML's composer would crash the process on deep nesting, and would share values between aliases.
    """

    def __init__(self, text: str) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_LOADER)
        self._number = 1
        self._nodes = 0
        self._characters = 0  # of all scalars, counting those that aliases repeat
        self._repeated = 0
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self.lines: dict[str, int] = {}

    def documents(self) -> Iterator[Any]:
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors, self.lines = {}, {}
                yield self._value(self._next(), "", 0)
                self._number += 1

    def _next(self) -> Any:
        try:
            return next(self._events)
        except StopIteration:
            return yaml.StreamEndEvent()
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            why = getattr(error, "problem", None) or str(error).splitlines()[0]
            why = _QUOTED.sub("(not shown)", why)  # the text quotes the document, which may hold a secret
            # libyaml has a limit of its own, 1,000 (PyYAML 6.0.4); only its text tells that error apart.
            reason = _TOO_DEEP if "nesting depth" in why else f"is not YAML: {why}"
            raise DocumentError(reason, number=self._number, line=mark.line + 1 if mark else None) from error

    def _refuse(self, event: Any, why: str) -> DocumentError:
        return DocumentError(why, number=self._number, line=_line(event))

    def _value(self, event: Any, path: str, depth: int) -> Any:
        self._count(event, 1)
        self.lines.setdefault(path, _line(event))
        if depth > DEPTH:
            raise self._refuse(event, _TOO_DEEP)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self._anchors:
                raise self._refuse(
                    event, 'an alias has no anchor before it; put text that begins with "*" in quotes'
                )
            value, nodes, characters = self._anchors[event.anchor]
            self._count(event, nodes)
            self._characters += characters
            self._repeated += characters
            if self._repeated > REPEATED:
                raise self._refuse(event, f"its aliases repeat more than {REPEATED} characters")
            return copy.deepcopy(value)
        nodes, characters = self._nodes, self._characters
        if isinstance(event, yaml.ScalarEvent):
            self._characters += len(event.value)
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(path, depth)
        else:
            value = self._mapping(path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = value, self._nodes - nodes + 1, self._characters - characters
        return value

    def _count(self, event: Any, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > NODES:
            raise self._refuse(event, f"has more than {NODES} values, counting those that aliases repeat")

    def _sequence(self, path: str, depth: int) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            values.append(self._value(event, f"{path}[{len(values)}]", depth + 1))
        return values

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise self._refuse(event, "a key must be text")
            key = event.value
            self._characters += len(key)
            if key == _MERGE and event.implicit[0]:
                merged |= self._merge(event, path, depth)
                continue
            field = (f"{path}.{key}" if path else key)[:_PATH]
            if key in values:
                raise self._refuse(event, f'{field}: the key "{key[:_PATH]}" occurs twice in one mapping')
            self.lines[field] = _line(event)
            values[key] = self._value(self._next(), field, depth + 1)
        return {**merged, **values}

    def _merge(self, key: Any, path: str, depth: int) -> dict[str, Any]:
        value = self._value(self._next(), path, depth + 1)
        merged: dict[str, Any] = {}
        for mapping in reversed(value if isinstance(value, list) else [value]):
            if not isinstance(mapping, dict):
                raise self._refuse(key, 'the value of "<<" must be a mapping or a list of mappings')
            merged |= mapping
        return merged

    def _scalar(self, event: Any) -> Any:
        text, tag = event.value, (event.tag or "").removeprefix(_CORE)
        if tag == "str" or (not tag and not event.implicit[0]) or tag == "!":
            return text
        if tag not in ("", "null", "bool", "int", "float"):
            raise self._refuse(
                event, 'tags are not allowed in a manifest; put text that begins with "!" in quotes'
            )
        return self._plain(event, text)

    def _plain(self, event: Any, text: str) -> Any:
        """Return the value of a scalar without quotes."""
        if text in _NULL:
            return None
        if text in _BOOL:
            return _BOOL[text]
        try:
            if match := _INT.fullmatch(text):
                digits = match[2].replace("_", "").lower()
                if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
                    digits = f"0o{digits[1:]}"
                return int(f"{match[1]}{digits}", 0)
            if _FLOAT.fullmatch(text):
                return float(text)
        except ValueError as error:
            raise self._refuse(event, "is not a number") from error
        if _NO_NUMBER.fullmatch(text):
            raise self._refuse(event, "is a number that JSON cannot express")
        return text


def _line(event: Any) -> int:
    return int(event.start_mark.line) + 1
