"""Parse untrusted JSON: refuse duplicate keys, deep nesting and numbers that are not whole."""

import json
from base64 import b64decode, b64encode
from typing import Any, Final

from resultsfw.jsons import is_deeper_than

__all__ = ["StrictJsonError", "decode_base64", "parse_object"]

_DEPTH: Final = 16
"""Levels of nesting. A statement has five, a trust bundle four."""


class StrictJsonError(Exception):
    """The text is not accepted; the message says why."""


def parse_object(text: str | bytes, *, limit: int) -> dict[str, Any]:
    """Return the JSON object in a text.

    Args:
        text: The text, or its bytes in UTF-8.
        limit: Characters or bytes that it may have; it is compared before anything is parsed.

    Raises:
        StrictJsonError: It is too long, too deep, or not a JSON object, or an object in it has a key twice.
    """
    if len(text) > limit:
        raise StrictJsonError(f"its size is {len(text)}, more than the {limit} that it can need")
    try:
        plain = text.decode() if isinstance(text, bytes) else text
        value = json.loads(plain, object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_refuse)
    except StrictJsonError:
        raise
    except (ValueError, RecursionError):
        raise StrictJsonError("it is not JSON") from None
    if not isinstance(value, dict):
        raise StrictJsonError("it is not a JSON object")
    if is_deeper_than(value, _DEPTH):
        raise StrictJsonError(f"it is nested deeper than {_DEPTH} levels")
    return value


def decode_base64(text: object, *, limit: int) -> bytes:
    """Return the bytes of a base64 text: the standard alphabet, padded, and the only text for these bytes.

    Args:
        text: The text; any JSON value.
        limit: Bytes that it may have; it is compared before anything is decoded.

    Raises:
        StrictJsonError: The text has another form.
    """
    if not isinstance(text, str):
        raise StrictJsonError("it is not base64")
    if len(text) > (limit + 2) // 3 * 4:
        raise StrictJsonError(f"it has more than {limit} bytes")
    try:
        data = b64decode(text, validate=True)
    except ValueError:
        raise StrictJsonError("it is not base64") from None
    if b64encode(data).decode() != text:
        raise StrictJsonError("it is not canonical base64")
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) != len(pairs):
        raise StrictJsonError("an object in it has a key twice")
    return plain


def _refuse(number: str) -> Any:
    raise StrictJsonError(f"it has the number {number[:20]}, which is not a whole number")
