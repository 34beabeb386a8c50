"""Run uvicorn with limits on connections and TLS handshakes, which it has no options for."""

import asyncio
import contextlib
import resource
import socket
import ssl
from asyncio import sslproto
from collections.abc import Iterator
from typing import Any, Final

import uvicorn

from resultsfw.server.connections import Connections, Listener
from resultsfw.server.protocol import HEAD_SECONDS, LimitedProtocol

__all__ = ["Server", "bound_memory", "raise_file_limit"]

HANDSHAKE_SECONDS: Final = 5.0
"""Within which a TLS handshake must be complete."""

_SHUTDOWN_SECONDS: Final = 5.0
"""Which a client may take to close TLS, and to read what was sent last."""

_TLS_BUFFER: Final = 32 * 1024
"""Bytes of asyncio's buffer for each TLS connection, idle ones too, instead of 256 KiB."""

_FILES: Final = 256
"""Open files besides connections: of the store, of the API client, connections that are being closed."""


class Server(uvicorn.Server):
    """A uvicorn server for one listening socket.

    Args:
        app: The ASGI application.
        listener: Counts and limits the connections.
        tls: For new connections; its certificate may be replaced. ``None`` for no TLS.
        drain: Seconds in which running requests may finish at shutdown.
    """

    def __init__(self, app: Any, listener: Listener, tls: ssl.SSLContext | None, drain: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=LimitedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=int(HEAD_SECONDS),
                timeout_graceful_shutdown=drain,
            )
        )
        self._listener = listener
        self._tls = tls

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to accept connections, as uvicorn does, with asyncio's timeouts for TLS."""
        del sockets
        connections: Connections = self._listener.connections

        def protocol() -> LimitedProtocol:
            return LimitedProtocol(
                config=self.config,
                server_state=self.server_state,
                app_state=self.lifespan.state,
                connections=connections,
            )

        await self.lifespan.startup()
        server = await asyncio.get_running_loop().create_server(
            protocol,
            sock=self._listener,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls else None,
            ssl_shutdown_timeout=_SHUTDOWN_SECONDS if self._tls else None,
        )
        self.servers = [server]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the process: uvicorn would raise them again, and the exit status not be 0."""
        yield


def bound_memory() -> None:
    """Make asyncio's buffer for each TLS connection of this process small."""
    if hasattr(sslproto.SSLProtocol, "max_size"):  # other versions may have no such buffer
        sslproto.SSLProtocol.max_size = _TLS_BUFFER


def raise_file_limit(connections: int) -> None:
    """Raise the soft limit of open files for that many connections: in containers it is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
