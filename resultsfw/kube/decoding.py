"""Decode JSON of an API server so that an object which cannot be decoded affects no other object."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from resultsfw.cluster import UNREADABLE, Object
from resultsfw.jsons import MAX_DEPTH

__all__ = ["decode_event", "decode_head", "decode_list", "decode_object", "drop_managed_fields"]

_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
"""A string, closed or not, or a bracket. Possessive: every byte is read once."""

_SPEC: Final = b',"spec":{'
"""What follows an object's metadata. A quote within a text is escaped, so this is part of none."""

_ITEM_DEPTH: Final = 2
"""Brackets around an item of a list: that of the list object, and that of ``items``."""

_TOO_DEEP: Final = f"it is nested in more than {MAX_DEPTH} levels"
_NOT_JSON: Final = "it is not JSON in UTF-8"


def decode_object(data: bytes) -> Any:
    """Decode one JSON value.

    An object that cannot be decoded as a whole is returned without the values that are nested too deeply, and
    with the cause under `UNREADABLE`.

    Args:
        data: JSON in UTF-8.

    Raises:
        ValueError: It is not JSON, and no object.
    """
    try:
        return orjson.loads(data)
    except ValueError:
        obj, defect = _decode_in_part(data, MAX_DEPTH)
    obj[UNREADABLE] = defect
    return obj


def decode_event(line: bytes) -> Object:
    """Decode an event of a watch, its object as `decode_object` does, without ``managedFields``.

    Raises:
        ValueError: It is not an event.
    """
    try:
        event: Any = orjson.loads(line)
    except ValueError:
        event, defect = _decode_in_part(line, MAX_DEPTH + 1)
        if not isinstance(event.get("object"), dict):
            raise
        event["object"][UNREADABLE] = defect
    if not isinstance(event, dict):
        raise ValueError("not an event")  # noqa: TRY004 - one error class for all causes
    drop_managed_fields(event.get("object"))
    return event


def decode_head(line: bytes) -> Object:
    """Decode an event of a watch up to its object's spec: its change and the object's metadata.

    ``managedFields`` are left out. The metadata are those that `decode_event` returns: where the first spec
    of the line is not the object's, the brackets before it do not fit, and nothing is decoded.

    Raises:
        ValueError: The event has no such head; only `decode_event` can read it.
    """
    end = line.find(_SPEC)
    event: Any = orjson.loads(line[:end] + b"}}") if end >= 0 else None
    if not isinstance(event, dict):
        raise ValueError("no head")  # noqa: TRY004 - one error class for all causes
    drop_managed_fields(event.get("object"))
    return event


def drop_managed_fields(obj: Any) -> None:
    """Remove ``metadata.managedFields`` from an object: a third of a pod's bytes, which nothing reads."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)


def decode_list(data: bytes) -> Object:
    """Decode a list; where that fails as a whole, each of its items as `decode_object` does.

    Raises:
        ValueError: It is not a list.
    """
    try:
        page: Any = orjson.loads(data)
    except ValueError:
        page = _decode_apart(data)
    if not isinstance(page, dict):
        raise ValueError("not a list")  # noqa: TRY004 - one error class for all causes
    return page


def _decode_apart(data: bytes) -> Object:
    spans = list(_items_of(data))
    if not spans:
        raise ValueError("no items")
    around = orjson.loads(data[: spans[0][0]] + data[spans[-1][1] :])
    items = [decode_object(data[begin:end]) for begin, end in spans]
    return {**around, "items": items} if isinstance(around, dict) else around


def _items_of(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield begin and end of each item in the array of a list object."""
    depth, begin, in_array = 0, 0, False
    for match in _TOKEN.finditer(data):
        token = match[0]
        if token in (b"{", b"["):
            if depth == _ITEM_DEPTH - 1:
                in_array = token == b"["
            elif depth == _ITEM_DEPTH:
                begin = match.start()
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
            if depth == _ITEM_DEPTH and in_array:
                yield begin, match.end()


def _decode_in_part(data: bytes, levels: int) -> tuple[Object, str]:
    """Return the object as far as it can be decoded, and the defect of the rest."""
    shallow = b"".join(_shallow(data, levels))
    defect = _TOO_DEEP if len(shallow) != len(data) else _NOT_JSON
    try:
        value = orjson.loads(shallow)
    except ValueError:
        # The standard library also reads NaN and lone surrogates, as servers in other languages write them.
        defect = _NOT_JSON
        value = json.loads(shallow.decode(errors="replace"), parse_int=float)
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one error class for all causes
    return value, defect


def _shallow(data: bytes, levels: int) -> Iterator[bytes]:
    """Yield the JSON in pieces, with ``null`` in place of every value nested more than ``levels`` deep."""
    depth, kept = 0, 0
    for match in _TOKEN.finditer(data):
        token = match[0]
        if token in (b"{", b"["):
            if depth == levels:
                yield data[kept : match.start()]
                yield b"null"
                kept = len(data)  # until it closes
            depth += 1
        elif token in (b"}", b"]"):
            depth -= 1
            if depth == levels:
                kept = match.end()
    yield data[kept:]
