"""Uvicorn, with limits on connections and on TLS handshakes that it does not set itself."""

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
from resultsfw.server.protocol import HEAD_SECONDS, Bounded

__all__ = ["Server", "bound_memory", "raise_file_limit"]

HANDSHAKE_SECONDS: Final = 5.0
"""Within which a TLS handshake must be complete."""

_SHUTDOWN_SECONDS: Final = 5.0
"""For which a client may take to end its side of TLS, and to take what was sent last."""

_TLS_BUFFER: Final = 32 * 1024
"""Bytes of asyncio's buffer for each TLS connection, in place of 256 KiB: 1,000 idle ones have one each."""

_FILES: Final = 256
"""Open files beside connections: the store's, the cluster's, connections that are about to be closed."""


class Server(uvicorn.Server):
    """One listening socket of the process.

    Args:
        app: The ASGI application.
        listener: Counts the connections.
        tls: For connections made from now on; what it holds may change. None: no TLS.
        drain: Seconds in which requests that were begun may end when the server is told to stop.
    """

    def __init__(self, app: Any, listener: Listener, tls: ssl.SSLContext | None, drain: int) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Bounded,
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
        """Begin to accept connections: as uvicorn does, and with the time limits of asyncio for TLS."""
        del sockets
        connections: Connections = self._listener.connections

        def protocol() -> Bounded:
            return Bounded(
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
        """Leave signals to the process: uvicorn would end it by the signal, and not with status 0."""
        yield


def bound_memory() -> None:
    """Make what asyncio keeps for each TLS connection of this process small."""
    if hasattr(sslproto.SSLProtocol, "max_size"):  # else it does not have such a buffer
        sslproto.SSLProtocol.max_size = _TLS_BUFFER


def raise_file_limit(connections: int) -> None:
    """Let the process have that many connections, as far as it may: containers begin with 1,024 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
