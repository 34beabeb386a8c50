"""Decode what an API server sends, so that an object which cannot be decoded costs that object only."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from resultsfw.cluster import UNREADABLE, Object
from resultsfw.jsons import MAX_DEPTH

__all__ = ["decode_event", "decode_head", "decode_list", "decode_object", "drop_managed_fields"]

_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)
"""A string, closed or not, or a bracket. Possessive, so that every byte is read once."""

_SPEC: Final = b',"spec":{'
"""What follows an object's metadata. A quote within a text is escaped, so this is part of none."""

_ITEM_DEPTH: Final = 2
"""Brackets around an item of a list: the list object's and that of ``items``."""

_TOO_DEEP: Final = f"it is nested in more than {MAX_DEPTH} levels"
_NOT_JSON: Final = "it is not JSON in UTF-8"


def decode_object(data: bytes) -> Any:
    """Decode one JSON value.

    An object that cannot be decoded as it is comes as far as it can be, without what is nested too deeply and
    with the reason under `UNREADABLE`.

    Args:
        data: JSON in UTF-8.

    Raises:
        ValueError: There is no object in it.
    """
    try:
        return orjson.loads(data)
    except ValueError:
        obj, defect = _decode_in_part(data, MAX_DEPTH)
    obj[UNREADABLE] = defect
    return obj


def decode_event(line: bytes) -> Object:
    """Decode an event of a watch; its object comes as from `decode_object`, without ``managedFields``.

    Raises:
        ValueError: There is no event in it.
    """
    try:
        event: Any = orjson.loads(line)
    except ValueError:
        event, defect = _decode_in_part(line, MAX_DEPTH + 1)
        if not isinstance(event.get("object"), dict):
            raise
        event["object"][UNREADABLE] = defect
    if not isinstance(event, dict):
        raise ValueError("not an event")  # noqa: TRY004 - one error for all that is no event
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
        raise ValueError("no head")  # noqa: TRY004 - one error for all that is no event
    drop_managed_fields(event.get("object"))
    return event


def drop_managed_fields(obj: Any) -> None:
    """Remove ``metadata.managedFields`` from an object: a third of a pod's bytes, which nothing reads."""
    metadata = obj.get("metadata") if isinstance(obj, dict) else None
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)


def decode_list(data: bytes) -> Object:
    """Decode a list; where that fails as a whole, each of its items comes as from `decode_object`.

    Raises:
        ValueError: It is no list.
    """
    try:
        page: Any = orjson.loads(data)
    except ValueError:
        page = _decode_apart(data)
    if not isinstance(page, dict):
        raise ValueError("not a list")  # noqa: TRY004 - one error for all that is no list
    return page


def _decode_apart(data: bytes) -> Object:
    spans = list(_items_of(data))
    if not spans:
        raise ValueError("no items")
    around = orjson.loads(data[: spans[0][0]] + data[spans[-1][1] :])
    items = [decode_object(data[begin:end]) for begin, end in spans]
    return {**around, "items": items} if isinstance(around, dict) else around


def _items_of(data: bytes) -> Iterator[tuple[int, int]]:
    """The place of each object in the one array that stands directly in a list object."""
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
    """The object as far as it can be decoded, and what is wrong with it."""
    shallow = b"".join(_shallow(data, levels))
    defect = _TOO_DEEP if len(shallow) != len(data) else _NOT_JSON
    try:
        value = orjson.loads(shallow)
    except ValueError:
        # The standard library reads what servers of other languages may write: NaN, lone surrogates.
        defect = _NOT_JSON
        value = json.loads(shallow.decode(errors="replace"), parse_int=float)
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one error for all that is no object
    return value, defect


def _shallow(data: bytes, levels: int) -> Iterator[bytes]:
    """The JSON with ``null`` in place of every value that is nested in more than so many levels."""
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
