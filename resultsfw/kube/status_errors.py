"""From what an API server refuses to our errors; their messages never hold what an object holds."""

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

__all__ = ["GoneError", "TryLaterError", "error_from_response", "error_from_status", "redact"]

LONGEST: Final = 500
"""Characters of a server's message that are passed on."""

_NOT_SHOWN: Final = "(not shown)"

_BEFORE_VALUE: Final = re.compile(r"\bvalue: |\bparsing (?:time |duration )?(?=[\"`'])", re.IGNORECASE)
"""What stands before a part of an object that a server refuses: ``spec.x: Invalid value: "...": must be``."""

_NUMBER: Final = re.compile(r"(?:-?[0-9]{1,40}(?:\.[0-9]{1,40})?|true|false|null|<nil>)(?=[:,;\])]|\Z)")
_MARK: Final = re.compile(r'\\.|"', re.DOTALL)
"""An escaped character, or the beginning or end of a quotation. One pass with it takes linear time, where a
pattern for a whole quotation tries to the end of the text from each quote that is not closed."""

_BEHIND_QUOTE: Final = frozenset(":,;])")
_NAME_LENGTH: Final = 128
"""No name of an object, a field or a resource is longer (a verb with its path may be)."""

_TELLING: Final = 4
"""Characters from which on a value that is found once more is not found by chance."""

_WORD: Final = re.compile(rf"\S{{{_NAME_LENGTH + 1},}}")

_TOO_LARGE = re.compile(
    r"too large|larger than max|too long: (?:must have at most|may not be (?:more|longer) than) \d{5,}",
    re.IGNORECASE,
)
"""etcd, its gRPC client, the API server's body limit, and fields of many kilobytes; never a name's length."""

_SIZE_STATUS: Final = (400, 413, 422, 500)
_FIRST_ERROR: Final = 500


class GoneError(ClusterError):
    """The version, or the page of a list, that was asked from is too old (HTTP 410): list again."""

    code = "Gone"


class TryLaterError(UnavailableError):
    """The server asked to be left alone for ``retry_after`` seconds (HTTP 429 or 503 with Retry-After)."""

    def __init__(self, message: str, *, subject: str = "", retry_after: float) -> None:
        super().__init__(message, subject=subject)
        self.retry_after = retry_after


def error_from_response(status: int, headers: Mapping[str, str], body: bytes, subject: str) -> ClusterError:
    """The error for an answer with a status of 400 or more."""
    try:
        said: Any = orjson.loads(body)  # refuses what is nested deeply; the standard library's recurses
    except ValueError:
        # A proxy, a webhook, an overloaded server: what it says may hold anything.
        said = None
    if not isinstance(said, dict):
        said = {"message": f"HTTP {status}, and no Status"}
    return error_from_status({**said, "code": status}, subject, retry_after=_retry_after(headers, said))


def error_from_status(said: Any, subject: str, *, retry_after: float | None = None) -> ClusterError:
    """The error for a Kubernetes ``Status``, as an answer or an ERROR event has it; any JSON will do."""
    if not isinstance(said, Mapping):
        return UnavailableError("the server's error is no Status", subject=subject)
    code = said.get("code")
    status = code if isinstance(code, int) else 0
    reason, message = _text(said.get("reason")), _text(said.get("message"))
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
    kinds = {401: ForbiddenError, 403: ForbiddenError, 404: NotFoundError, 409: ConflictError}
    passing = status in (408, 429) or status >= _FIRST_ERROR
    return kinds.get(status, UnavailableError if passing else ClusterError)(message, subject=subject)


def redact(message: str) -> str:
    """A server's message without the values it quotes, and no longer than is useful. Takes linear time.

    A value ends where its quotation does, or a number. Of any other, and where that is in doubt, the rest of
    the message is left out: a value may hold colons, commas and brackets, and so look like what follows it.
    """
    # After a line's end the server shows the object, or the difference between two.
    line = message.split("\n", 1)[0]
    kept: list[str] = []
    size = place = 0
    while size <= LONGEST:
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
    told = "".join(kept)
    return told if len(told) <= LONGEST else told[: LONGEST - 3] + "..."


def _end_of_value(line: str, start: int) -> int | None:
    """Where a value ends that begins there; ``None`` where that cannot be told."""
    if number := _NUMBER.match(line, start):
        return number.end()
    if not line.startswith('"', start):
        return None
    marks = (mark for mark in _MARK.finditer(line, start + 1) if mark[0] == '"')
    end = next(marks, None)
    if end is None or not (end.end() == len(line) or line[end.end()] in _BEHIND_QUOTE):
        return None
    # One that was put in as it is may hold quotes itself: then their number is odd.
    return end.end() if sum(1 for _ in marks) % 2 == 0 else None


def _is_repeated(line: str, start: int, end: int) -> bool:
    """Whether what follows a value says it again."""
    value = line[start:end]
    forms = {value.strip('"')}
    if value.startswith('"'):
        with contextlib.suppress(ValueError):
            forms.add(str(json.loads(value)))
    return any(len(form) >= _TELLING and line.find(form, end) >= 0 for form in forms)


def _without_long_quotations(text: str) -> str:
    """A text with what is quoted in it only where it may be a name."""
    kept: list[str] = []
    place = 0
    opened: int | None = None
    for mark in _MARK.finditer(text):
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
    """A field that is to be a text; writing out another value could recurse without end."""
    return value if isinstance(value, str) else ""


def _retry_after(headers: Mapping[str, str], said: Mapping[str, Any]) -> float | None:
    given: Any = headers.get("Retry-After")  # a text; a number where the Status says it
    if given is None:
        details = said.get("details")
        given = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    if not isinstance(given, str | int | float):
        return None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        seconds = float(given)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(str(given)).timestamp() - time.time())
    return None
