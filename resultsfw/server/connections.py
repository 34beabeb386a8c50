"""Limits on open connections, in all and for each client address, which hold before TLS begins.

A connection costs memory and a file descriptor before anybody knows who is at its other end. So the
listening socket itself counts: where a limit is reached, the oldest connection without an authenticated
request is closed in favour of the new one. A client that opens a thousand connections and says nothing on
them loses its own.
"""

import contextlib
import socket
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final

__all__ = ["Connection", "Connections", "Listener", "listen"]

_BACKLOG: Final = 512


class Connection:
    """One open connection.

    Args:
        address: The client's IP address.

    Attributes:
        held: Whether a request of a known client is in progress: the connection is not closed to make room.
        abort: Closes it at once.
    """

    __slots__ = ("abort", "address", "held")

    def __init__(self, address: str = "", abort: Callable[[], None] = lambda: None) -> None:
        self.address = address
        self.held = False
        self.abort = abort


class Connections:
    """The open connections of a server. For one event loop.

    Args:
        most: Connections in all.
        per_address: Connections of one client address.

    Attributes:
        total: Those that are open now.
        shed: Those that were closed or not accepted, by the limit that was reached: "address" or "total".
    """

    def __init__(self, most: int, per_address: int) -> None:
        self._most = most
        self._per_address = per_address
        self.shed = Counter({"address": 0, "total": 0})
        # Of each address the oldest first.
        self._open: dict[str, dict[Connection, None]] = {}
        self._by_file: dict[int, Connection] = {}
        self.total = 0

    def admit(self, sock: socket.socket, address: str) -> socket.socket | None:
        """Return the accepted socket to go on with, or ``None`` where there is no room for it."""
        own = self._open.get(address, {})
        if len(own) >= self._per_address and not self._close_oldest([own], "address"):
            return None
        # Room is made where most connections are: a client with few keeps them.
        if self.total >= self._most and not self._close_oldest(
            sorted(self._open.values(), key=len, reverse=True), "total"
        ):
            return None
        accepted = _Accepted(sock.family, sock.type, sock.proto, fileno=sock.detach())
        connection = Connection(address, _shutter(accepted))
        file = accepted.fileno()
        self._by_file[file] = connection
        self._open.setdefault(address, {})[connection] = None
        self.total += 1

        def gone() -> None:
            self._forget(connection)
            if self._by_file.get(file) is connection:
                del self._by_file[file]

        accepted.on_close = gone
        weakref.finalize(accepted, gone).atexit = False  # asyncio closes it; if ever it does not
        return accepted

    def of(self, transport: Any) -> Connection:
        """Return the connection of a transport of asyncio's; closing it aborts the transport from now on."""
        sock = transport.get_extra_info("socket")
        connection = self._by_file.get(sock.fileno()) if sock is not None else None
        connection = connection or Connection()
        connection.abort = transport.abort
        return connection

    def _close_oldest(self, groups: Iterable[dict[Connection, None]], limit: str) -> bool:
        self.shed[limit] += 1
        for group in groups:
            for connection in group:
                if not connection.held:
                    self._forget(connection)  # at once: its end is noticed later
                    connection.abort()
                    return True
        return False

    def _forget(self, connection: Connection) -> None:
        group = self._open.get(connection.address, {})
        if connection in group:
            del group[connection]
            self.total -= 1
            if not group:
                del self._open[connection.address]


class Listener(socket.socket):
    """A listening socket whose connections are counted."""

    connections: Connections

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection within the limits.

        Raises:
            ConnectionAbortedError: There is no room. asyncio goes on to accept after this error.
        """
        sock, peer = super().accept()
        accepted = self.connections.admit(sock, str(peer[0]))
        if accepted is None:
            sock.close()
            raise ConnectionAbortedError
        return accepted, peer


def listen(host: str, port: int, connections: Connections) -> Listener:
    """Return a socket that listens there.

    Args:
        host: "" for every address.
        port: 0 for a free one.
        connections: Count those that are accepted.

    Raises:
        OSError: The address cannot be had.
    """
    if not host and socket.has_dualstack_ipv6():
        sock = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG)
    else:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    listener = Listener(sock.family, sock.type, sock.proto, fileno=sock.detach())
    listener.connections = connections
    return listener


class _Accepted(socket.socket):
    """An accepted connection that says when it is closed, in whatever state: TLS may not have begun."""

    on_close: Callable[[], None] | None = None

    def close(self) -> None:
        super().close()
        if self.on_close is not None:
            self.on_close()


def _shutter(sock: socket.socket) -> Callable[[], None]:
    """Return what ends a connection of which asyncio has no transport for a protocol yet."""
    reference = weakref.ref(sock)

    def shut() -> None:
        if (there := reference()) is not None:
            with contextlib.suppress(OSError):  # its client was faster
                there.shutdown(socket.SHUT_RDWR)

    return shut
