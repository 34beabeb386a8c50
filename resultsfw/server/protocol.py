"""Limit the time and the bytes of a request's header: uvicorn's protocol for one connection, with limits."""

import asyncio
import json
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from resultsfw.server.connections import Connection, Connections

__all__ = ["LimitedProtocol"]

HEAD_SECONDS: Final = 5.0
"""Within which a request's header must be complete, from the start of the connection or the last response."""

HEAD_BYTES: Final = 64 * 1024
"""Of a request's header: twice what the longest token takes."""

_PIECE: Final = 32 * 1024
"""Bytes that are parsed at once after a header: a further header within them is shorter than the limit."""

_PIPELINED: Final = 8
"""Pipelined requests that may wait on a connection for the response to the one before."""

_TOO_LONG: Final = json.dumps(
    {"code": "HeadTooLarge", "message": f"the header of the request has over {HEAD_BYTES} bytes"}
).encode()


class LimitedProtocol(HttpToolsProtocol):
    """Closes a connection whose request header is not complete in time, or too long.

    Uvicorn itself waits for ever for a header, accepts one of any size, and reads bodies before the
    application asks for them.

    Args:
        connections: Count the connection; ``None`` for none.
    """

    def __init__(self, *args: Any, connections: Connections | None = None, **named: Any) -> None:
        super().__init__(*args, **named)
        self._connections = connections
        self._connection = Connection()
        self._due: asyncio.TimerHandle | None = None
        self._head = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Start to wait for a request."""
        super().connection_made(transport)
        if self._connections is not None:
            self._connection = self._connections.of(transport)
        # Limits what TLS decrypts and nobody reads yet: bodies of unauthenticated requests.
        set_limits = getattr(transport, "set_read_buffer_limits", None)
        if set_limits is not None:
            set_limits(high=_PIECE)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what arrived, and no header over the limit, in however many pieces it arrives."""
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
        """Handle the start of a request."""
        super().on_message_begin()
        self.scope["state"]["connection"] = self._connection
        if self._due is None:
            self._start_timer()

    def on_headers_complete(self) -> None:
        """Handle the end of the header, and leave the body unread until the application asks for it."""
        self._stop_timer()
        super().on_headers_complete()
        self.flow.pause_reading()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the client to read the response."""
        self._connection.held = False
        super().on_response_complete()
        if self._due is None and not self.pipeline:
            self._start_timer()

    def _start_timer(self) -> None:
        self._head = 0
        self._due = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_timer(self) -> None:
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
            self.transport.abort()  # the client would read it as the response to the request before
            return
        head = (
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head % len(_TOO_LONG) + _TOO_LONG)
        self.transport.close()  # aborted later, if the client does not read the response
