"""Why a request is refused: a status, a code for programs, a sentence for people."""

from typing import Final

__all__ = ["RefusalError"]

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

_AGAIN: Final = frozenset({"OneAtATime", "TooManyRequests", "Busy", "Unavailable", "QuotaExceeded"})


class RefusalError(Exception):
    """A request is not served.

    Args:
        code: One of the codes above.
        message: What is wrong, and both numbers where it is about size; never a token or a value.
        unread: Whether there may be a body that was not read.
    """

    def __init__(self, code: str, message: str, *, unread: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.unread = unread

    @property
    def status(self) -> int:
        """Of the answer."""
        return _STATUSES[self.code]

    @property
    def headers(self) -> dict[str, str]:
        """Of the answer: when to come again, who may come."""
        headers = {"Retry-After": "1"} if self.code in _AGAIN else {}
        return headers | ({"WWW-Authenticate": "Bearer"} if self.code == "Unauthenticated" else {})
