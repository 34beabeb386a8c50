"""Turn error answers of the API server into `ClusterError`s whose messages contain no value of an object."""

import contextlib
import email.utils
import json
import math
import re
import time
from collections.abc import Mapping
from typing import Any, Final

import orjson

from resultsfw.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ObjectTooLargeError,
    UnavailableError,
)

__all__ = [
    "GoneError",
    "TryLaterError",
    "UnauthorizedError",
    "error_from_response",
    "error_from_status",
    "redact",
]

MAX_LENGTH: Final = 500
"""Characters of a server's message that are kept."""

_NOT_SHOWN: Final = "(not shown)"
"""Replaces a value."""

_BEFORE_VALUE: Final = re.compile(r"\bvalue: |\bparsing (?:time |duration )?(?=[\"`'])", re.IGNORECASE)
"""Precedes a value in a message: ``spec.x: Invalid value: "...": must be``."""

_NUMBER: Final = re.compile(r"(?:-?[0-9]{1,40}(?:\.[0-9]{1,40})?|true|false|null|<nil>)(?=[:,;\])]|\Z)")
_QUOTE: Final = re.compile(r'\\.|"', re.DOTALL)
"""An escaped character, or a quote. One pass with it takes linear time; a pattern for a whole quotation would
search to the end of the text from each quote that is not closed."""

_AFTER_QUOTE: Final = frozenset(":,;])")
_NAME_LENGTH: Final = 128
"""Characters that no name of an object, a field or a resource exceeds (a verb with its path may)."""

_MIN_REPEATED: Final = 4
"""Characters of a value that is found again in a message; shorter ones may be found by chance."""

_WORD: Final = re.compile(rf"\S{{{_NAME_LENGTH + 1},}}")

_TOO_LARGE = re.compile(
    r"too large|larger than max|too long: (?:must have at most|may not be (?:more|longer) than) \d{5,}",
    re.IGNORECASE,
)
"""Messages of etcd, of its gRPC client, about the API server's body limit and about fields of many kilobytes,
but not about the length of a name."""

_SIZE_STATUS: Final = (400, 413, 422, 500)
_FIRST_ERROR: Final = 500


class GoneError(ClusterError):
    """The requested resourceVersion, or page of a list, is too old (HTTP 410): list again."""

    code = "Gone"


class UnauthorizedError(ForbiddenError):
    """The server does not accept the credentials of a request (HTTP 401)."""


class TryLaterError(UnavailableError):
    """The server asks for no request within ``retry_after`` seconds (HTTP 429 or 503 with Retry-After)."""

    def __init__(self, message: str, *, subject: str = "", retry_after: float) -> None:
        super().__init__(message, subject=subject)
        self.retry_after = retry_after


def error_from_response(status: int, headers: Mapping[str, str], body: bytes, subject: str) -> ClusterError:
    """Return the error for an answer with a status of 400 or more."""
    try:
        status_object: Any = orjson.loads(body)  # the standard library recurses into nested JSON
    except ValueError:
        # From a proxy, a webhook, an overloaded server: the text may contain anything.
        status_object = None
    if not isinstance(status_object, dict):
        status_object = {}
    if not _text(status_object.get("message")):
        status_object = {**status_object, "message": f"HTTP {status} without a Status object"}
    retry_after = _retry_after(headers, status_object)
    return error_from_status({**status_object, "code": status}, subject, retry_after=retry_after)


def error_from_status(status_object: Any, subject: str, *, retry_after: float | None = None) -> ClusterError:
    """Return the error for a Kubernetes ``Status`` in an answer or an ERROR event; accepts any JSON."""
    if not isinstance(status_object, Mapping):
        return UnavailableError("the server's error is not a Status object", subject=subject)
    code = status_object.get("code")
    status = code if isinstance(code, int) else 0
    reason, message = _text(status_object.get("reason")), _text(status_object.get("message"))
    if status in _SIZE_STATUS and (
        status == 413 or reason == "RequestEntityTooLarge" or _TOO_LARGE.search(message)  # noqa: PLR2004
    ):
        return ObjectTooLargeError(redact(message), subject=subject)
    message = redact(message)
    if status == 410 or reason in ("Expired", "Gone") or "too large resource version" in message.lower():  # noqa: PLR2004
        return GoneError(message, subject=subject)
    if reason == "AlreadyExists":
        return AlreadyExistsError(message, subject=subject)
    if retry_after is not None and (status == 429 or status >= _FIRST_ERROR):  # noqa: PLR2004
        return TryLaterError(message, subject=subject, retry_after=retry_after)
    classes = {401: UnauthorizedError, 403: ForbiddenError, 404: NotFoundError, 409: ConflictError}
    retryable = status in (408, 429) or status >= _FIRST_ERROR
    return classes.get(status, UnavailableError if retryable else ClusterError)(message, subject=subject)


def redact(message: str) -> str:
    """Return a server's message without the values that it quotes, cut to `MAX_LENGTH`. Takes linear time.

    A quoted value ends with its quotation. After any other value but a number, and where the end is in doubt,
    the rest of the message is left out: a value may contain colons, commas and brackets, as the message does.
    """
    # After the first line the server prints the object, or the difference between two.
    line = message.split("\n", 1)[0]
    kept: list[str] = []
    size = place = 0
    while size <= MAX_LENGTH:
        found = _BEFORE_VALUE.search(line, place)
        text = line[place : found.start() if found else len(line)]
        kept.append(_without_long_quotations(text))
        size += len(kept[-1])
        if found is None:
            break
        kept.append(found[0] + _NOT_SHOWN)
        size += len(kept[-1])
        end = _end_of_value(line, found.end())
        if end is None or _is_repeated(line, found.end(), end):
            break
        place = end
    redacted = "".join(kept)
    return redacted if len(redacted) <= MAX_LENGTH else redacted[: MAX_LENGTH - 3] + "..."


def _end_of_value(line: str, start: int) -> int | None:
    """Return where the value that begins at ``start`` ends; ``None`` where that is in doubt."""
    if number := _NUMBER.match(line, start):
        return number.end()
    if not line.startswith('"', start):
        return None
    marks = (mark for mark in _QUOTE.finditer(line, start + 1) if mark[0] == '"')
    end = next(marks, None)
    if end is None or not (end.end() == len(line) or line[end.end()] in _AFTER_QUOTE):
        return None
    # A value that was inserted without escaping may contain quotes: then their number is odd.
    return end.end() if sum(1 for _ in marks) % 2 == 0 else None


def _is_repeated(line: str, start: int, end: int) -> bool:
    """Return whether the text after a value repeats it."""
    value = line[start:end]
    forms = {value.strip('"')}
    if value.startswith('"'):
        with contextlib.suppress(ValueError):
            forms.add(str(json.loads(value)))
    return any(len(form) >= _MIN_REPEATED and line.find(form, end) >= 0 for form in forms)


def _without_long_quotations(text: str) -> str:
    """Return a text with only those quotations that are short enough for names."""
    kept: list[str] = []
    place = 0
    opened: int | None = None
    for mark in _QUOTE.finditer(text):
        if mark[0] != '"':
            continue
        if opened is None:
            opened = mark.start()
        else:
            long = mark.start() - opened - 1 > _NAME_LENGTH
            kept += [text[place:opened], f'"{_NOT_SHOWN}"' if long else text[opened : mark.end()]]
            place, opened = mark.end(), None
    rest = text[place:]
    if opened is not None and len(text) - opened > _NAME_LENGTH:
        rest = f'{text[place:opened]}"{_NOT_SHOWN}'
    return _WORD.sub(_NOT_SHOWN, "".join(kept) + rest)


def _text(value: Any) -> str:
    """Return a field of type string; "" for another value, whose conversion could recurse without end."""
    return value if isinstance(value, str) else ""


def _retry_after(headers: Mapping[str, str], status_object: Mapping[str, Any]) -> float | None:
    """Return the seconds of a Retry-After header or of the Status object; ``None`` without either."""
    given: Any = headers.get("Retry-After")  # a string; a number in the Status object
    if given is None:
        details = status_object.get("details")
        given = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    if not isinstance(given, str | int | float):
        return None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        seconds = float(given)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(str(given)).timestamp() - time.time())
    return None
