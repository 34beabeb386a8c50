"""Read the body of an answer within limits of bytes and of time."""

import time
from collections.abc import Callable
from typing import Final

import urllib3

from resultsfw.errors import ClusterError, UnavailableError
from resultsfw.kube.http_pool import HttpResponse

__all__ = ["OBJECT_ANSWER_BYTES", "AnswerTooLongError", "read_body"]

OBJECT_ANSWER_BYTES: Final = 33_554_432
"""Bytes of one object as a server may write it. etcd holds 1.5 MiB, of which JSON can make six times as many
(a ``<`` is written as ``\\u003c``); operators have raised etcd's limit to twice that."""

_LONGEST: Final = 60.0
"""Seconds for a body. Each piece may come within the time between two pieces, and the whole never end."""


class AnswerTooLongError(ClusterError):
    """An answer has more bytes than are read; nothing of it is kept."""

    code = "AnswerTooLong"


def read_body(
    response: HttpResponse | urllib3.BaseHTTPResponse,
    subject: str,
    *,
    limit: int,
    seconds: float = _LONGEST,
    clock: Callable[[], float] = time.monotonic,
) -> bytes:
    """Return a body of at most ``limit`` bytes, read within so many seconds.

    Raises:
        AnswerTooLongError: It has more bytes.
        UnavailableError: It took longer.
        OSError, http.client.HTTPException, urllib3.exceptions.HTTPError: What goes wrong on the way.
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
