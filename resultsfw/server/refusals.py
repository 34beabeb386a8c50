"""Refuse a request with a status, a code for programs and a message for people."""

from typing import Final

__all__ = ["ALERTING", "RefusalError"]

_STATUSES: Final = {
    "BadRequest": 400,
    "Unauthenticated": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "NoSuchRun": 404,
    "MethodNotAllowed": 405,
    "TooSlow": 408,
    "AlreadyWritten": 409,
    "LengthRequired": 411,
    "TooLarge": 413,
    "OneAtATime": 429,
    "TooManyRequests": 429,
    "Damaged": 500,
    "Internal": 500,
    "Busy": 503,
    "Unavailable": 503,
    "QuotaExceeded": 507,
}

ALERTING: Final = ("QuotaExceeded", "NoSuchRun", "TooManyRequests", "Busy", "Unavailable", "Internal")
"""Codes that concern the server's operators, not only its client."""

_RETRYABLE: Final = frozenset({"OneAtATime", "TooManyRequests", "Busy", "Unavailable", "QuotaExceeded"})


class RefusalError(Exception):
    """A request is refused.

    Args:
        code: One of the codes above.
        message: Why, with both numbers where it is about a size; never a token or a value.
        unread: Whether the request may have a body that was not read.
    """

    def __init__(self, code: str, message: str, *, unread: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.unread = unread

    @property
    def status(self) -> int:
        """The HTTP status of the response."""
        return _STATUSES[self.code]

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the response: when to retry, how to authenticate."""
        headers = {"Retry-After": "1"} if self.code in _RETRYABLE else {}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.code == "Unauthenticated" else {})
