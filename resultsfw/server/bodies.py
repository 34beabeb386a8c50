"""Bodies on their way in and out: how many bytes of them may be in memory, and for how long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from starlette.requests import ClientDisconnect, Request

from resultsfw.server.refusals import RefusalError

__all__ = ["Bodies", "read_body"]

SECONDS: Final = 30.0
"""In which a body must have come, or gone."""

_WAIT: Final = 5.0
"""Seconds a request waits for room."""

_LEAST: Final = 64 * 1024 * 1024


class Bodies:
    """Room for bodies, in bytes. For one event loop.

    Args:
        limit: Bytes of one.

    Attributes:
        taken: Bytes now.
    """

    def __init__(self, limit: int) -> None:
        self._room = max(_LEAST, 2 * limit)
        self._changed = asyncio.Condition()
        self._pods: set[str] = set()
        self.taken = 0

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[None]:
        """Within it there is room for so many bytes.

        Raises:
            RefusalError: There is none for too long.
        """
        async with self._changed:
            try:
                async with asyncio.timeout(_WAIT):
                    await self._changed.wait_for(lambda: self.taken + size <= self._room)
            except TimeoutError:
                raise RefusalError("Busy", "too many results come and go at once", unread=True) from None
            self.taken += size
        try:
            yield
        finally:
            self.taken -= size
            # Shielded: a request that is cancelled gives its room back all the same.
            await asyncio.shield(self._tell())

    @asynccontextmanager
    async def one_of(self, pod: str) -> AsyncIterator[None]:
        """Within it no other body of that pod is taken: none fills the room for all others.

        Raises:
            RefusalError: Another one comes.
        """
        if pod in self._pods:
            raise RefusalError("OneAtATime", f'another body of pod "{pod}" is being read', unread=True)
        self._pods.add(pod)
        try:
            yield
        finally:
            self._pods.discard(pod)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


async def read_body(request: Request, length: int) -> bytes:
    """The body of a request that said its length.

    Raises:
        RefusalError: It does not come whole, or not in time.
    """
    body = bytearray()
    try:
        async with asyncio.timeout(SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > length:
                    break
    except TimeoutError:
        message = f"the body did not come within {SECONDS:.0f} s: {len(body)} of {length} bytes"
        raise RefusalError("TooSlow", message) from None
    except ClientDisconnect:
        raise RefusalError("BadRequest", f"the body ends after {len(body)} of {length} bytes") from None
    if len(body) != length:
        raise RefusalError("BadRequest", f"the body has {len(body)} bytes and not {length}")
    return bytes(body)
