"""Read the body of an HTTP response within limits of bytes and of time."""

import time
from collections.abc import Callable
from typing import Final

import urllib3

from resultsfw.errors import ClusterError, UnavailableError
from resultsfw.kube.http_pool import HttpResponse

__all__ = ["OBJECT_ANSWER_BYTES", "AnswerTooLongError", "read_body"]

OBJECT_ANSWER_BYTES: Final = 33_554_432
"""Bytes of the JSON of one object. etcd stores 1.5 MiB, and JSON can take six times as many (``<`` becomes
``\\u003c``); operators have raised etcd's limit to twice that."""

_MAX_SECONDS: Final = 60.0
"""Seconds for a whole body: the timeout for each piece does not end a body that comes byte by byte."""


class AnswerTooLongError(ClusterError):
    """A response exceeds the limit of bytes; none of it is kept."""

    code = "AnswerTooLong"


def read_body(
    response: HttpResponse | urllib3.BaseHTTPResponse,
    subject: str,
    *,
    limit: int,
    seconds: float = _MAX_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """Return a body of at most ``limit`` bytes that arrives within ``seconds``.

    Raises:
        AnswerTooLongError: The body has more bytes.
        UnavailableError: The body took longer.
        OSError, http.client.HTTPException, urllib3.exceptions.HTTPError: The transport failed.
    """
    end = clock() + seconds
    parts, size = [], 0
    for piece in response.stream(65_536, decode_content=False):
        parts.append(piece)
        size += len(piece)
        if size > limit:
            raise AnswerTooLongError(
                f"the server's answer has more than {limit} bytes; no API object is as large",
                subject=subject,
            )
        if clock() > end:
            raise UnavailableError(f"the answer did not end within {seconds:.0f} s", subject=subject)
    return b"".join(parts)
