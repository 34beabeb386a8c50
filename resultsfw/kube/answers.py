"""From what an API server refuses to our errors; their messages never hold what an object holds."""

import contextlib
import email.utils
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

__all__ = ["GoneError", "TryLaterError", "cut", "error_of", "error_of_status"]

LONGEST: Final = 500
"""Characters of a server's message that are passed on."""

_SHOWN = re.compile(r'(?<= value: )(?:[A-Za-z0-9_.*&\[\]]*\{.*|"(?:[^"\\]|\\.)*"|[^":\s][^:]*)', re.DOTALL)
"""What an API server quotes of an object it refuses: ``spec.x: Invalid value: "...": must be ...``."""

_QUOTED = re.compile(r'"(?:[^"\\]|\\.){129,}"', re.DOTALL)
"""No name of an object, a field or a resource is that long (a verb with its path may be longer)."""

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


def error_of(status: int, headers: Mapping[str, str], body: bytes, subject: str) -> ClusterError:
    """The error for an answer with a status of 400 or more."""
    try:
        said: Any = orjson.loads(body)  # refuses what is nested deeply; the standard library's recurses
    except ValueError:
        # A proxy, a webhook, an overloaded server: what it says may hold anything.
        said = None
    if not isinstance(said, dict):
        said = {"message": f"HTTP {status}, and no Status"}
    return error_of_status({**said, "code": status}, subject, retry_after=_retry_after(headers, said))


def error_of_status(said: Any, subject: str, *, retry_after: float | None = None) -> ClusterError:
    """The error for a Kubernetes ``Status``, as an answer or an ERROR event has it; any JSON will do."""
    if not isinstance(said, Mapping):
        return UnavailableError("the server's error is no Status", subject=subject)
    code = said.get("code")
    status = code if isinstance(code, int) else 0
    reason, message = _text(said.get("reason")), _text(said.get("message"))
    if status in _SIZE_STATUS and (
        status == 413 or reason == "RequestEntityTooLarge" or _TOO_LARGE.search(message)  # noqa: PLR2004
    ):
        return ObjectTooLargeError(cut(message), subject=subject)
    message = cut(message)
    if status == 410 or reason in ("Expired", "Gone") or "too large resource version" in message.lower():  # noqa: PLR2004
        return GoneError(message, subject=subject)
    if reason == "AlreadyExists":
        return AlreadyExistsError(message, subject=subject)
    if retry_after is not None and (status == 429 or status >= _FIRST_ERROR):  # noqa: PLR2004
        return TryLaterError(message, subject=subject, retry_after=retry_after)
    kinds = {401: ForbiddenError, 403: ForbiddenError, 404: NotFoundError, 409: ConflictError}
    passing = status in (408, 429) or status >= _FIRST_ERROR
    return kinds.get(status, UnavailableError if passing else ClusterError)(message, subject=subject)


def cut(message: str) -> str:
    """A server's message without the values it quotes, and no longer than is useful."""
    # After a line's end the server shows the object, or the difference between two.
    line = message.split("\n", 1)[0]
    line = _SHOWN.sub("(not shown)", line)
    line = _QUOTED.sub('"(not shown)"', line)
    return line if len(line) <= LONGEST else line[: LONGEST - 3] + "..."


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
