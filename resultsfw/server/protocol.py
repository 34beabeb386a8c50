"""One connection: uvicorn's, with an end to waiting for a request's head, and to its size."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["Bounded"]

HEAD_SECONDS: Final = 10.0
"""In which a request's head must have come."""

HEAD_BYTES: Final = 64 * 1024
"""Of a request's head; a token takes two of them."""


class Bounded(HttpToolsProtocol):
    """Closes a connection on which a request begins and does not get to its body."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._due: asyncio.TimerHandle | None = None
        self._head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """There is nothing to wait for."""
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take no head that is too long."""
        super().data_received(data)
        if self._due is not None:
            self._head += len(data)
            if self._head > HEAD_BYTES:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        if self._due is None:
            self._begin()

    def on_headers_complete(self) -> None:
        """Its head is there."""
        self._end()
        super().on_headers_complete()

    def _begin(self) -> None:
        self._head = 0
        self._due = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _end(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _too_slow(self) -> None:
        self._due = None
        self.transport.abort()
