"""One connection: uvicorn's protocol, with limits on the time and the bytes of a request's head."""

import asyncio
import json
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from resultsfw.server.connections import Connection, Connections

__all__ = ["Bounded"]

HEAD_SECONDS: Final = 5.0
"""Within which a request's head must be complete, from the connection's begin or the answer before."""

HEAD_BYTES: Final = 64 * 1024
"""Of a request's head; a token takes two of them."""

_PIECE: Final = 32 * 1024
"""Bytes that are parsed at once behind a head: a further head within them is shorter than the limit."""

_PIPELINED: Final = 8
"""Requests that may wait on a connection for the answer to the one before."""

_TOO_LONG: Final = json.dumps(
    {"code": "HeadTooLarge", "message": f"the head of the request has over {HEAD_BYTES} bytes"}
).encode()


class Bounded(HttpToolsProtocol):
    """Closes a connection on which no request's head comes to its end.

    Uvicorn alone waits for ever for a head, takes one of any size, and reads bodies that nobody asked for.

    Args:
        connections: Where the connection is counted; none: nowhere.
    """

    def __init__(self, *args: Any, connections: Connections | None = None, **named: Any) -> None:
        super().__init__(*args, **named)
        self._connections = connections
        self._connection = Connection()
        self._due: asyncio.TimerHandle | None = None
        self._head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Begin to wait for a request."""
        super().connection_made(transport)
        if self._connections is not None:
            self._connection = self._connections.of(transport)
        # What TLS decrypts and nobody takes yet: bodies of requests whose token is not known.
        set_limits = getattr(transport, "set_read_buffer_limits", None)
        if set_limits is not None:
            set_limits(high=_PIECE)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and no head over the limit, in however many pieces it comes."""
        start = 0
        while start < len(data) and not self.transport.is_closing():
            size = HEAD_BYTES - self._head if self._due is not None else _PIECE
            piece = data[start : start + size]
            start += size
            super().data_received(piece)
            if self._due is not None:
                self._head += len(piece)
                if self._head >= HEAD_BYTES:
                    self._refuse_head()
            if len(self.pipeline) > _PIPELINED:
                self.transport.abort()

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self.scope["state"]["connection"] = self._connection
        if self._due is None:
            self._begin()

    def on_headers_complete(self) -> None:
        """Its head is complete; the body stays where it is until the application asks for it."""
        self._end()
        super().on_headers_complete()
        self.flow.pause_reading()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the client to take the answer."""
        self._connection.held = False
        super().on_response_complete()
        if self._due is None and not self.pipeline:
            self._begin()

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

    def _answering(self) -> bool:
        cycle: Any = self.cycle  # none before the first request
        return cycle is not None and not cycle.response_complete

    def _refuse_head(self) -> None:
        if self._answering():
            self.transport.abort()  # an answer now would be taken for that to the request before
            return
        head = (
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head % len(_TOO_LONG) + _TOO_LONG)
        self.transport.close()  # and aborted when its time is over, should the client not take the answer
