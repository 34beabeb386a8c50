"""Limit open connections, in total and for each client address, before TLS begins.

A connection costs memory and a file descriptor before its client is authenticated. So the listening socket
itself counts them: at a limit, the oldest connection without an authenticated request is closed for the new
one. A client that opens a thousand idle connections loses its own.
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
        held: Whether an authenticated request is in progress: then the connection is not closed at a limit.
        abort: Closes it immediately.
    """

    __slots__ = ("abort", "address", "held")

    def __init__(self, address: str = "", abort: Callable[[], None] = lambda: None) -> None:
        self.address = address
        self.held = False
        self.abort = abort


class Connections:
    """The open connections of a server. For one event loop.

    Args:
        most: Limit of all connections.
        per_address: Limit of the connections of one client address.

    Attributes:
        total: Currently open connections.
        shed: Connections closed or refused, by the limit they exceeded: "address" or "total".
    """

    def __init__(self, most: int, per_address: int) -> None:
        self._most = most
        self._per_address = per_address
        self.shed = Counter({"address": 0, "total": 0})
        # The connections of each address, the oldest first.
        self._open: dict[str, dict[Connection, None]] = {}
        self._by_file: dict[int, Connection] = {}
        self.total = 0

    def by_address(self) -> dict[str, int]:
        """Return how many connections each client address has."""
        return {address: len(group) for address, group in list(self._open.items())}

    def admit(self, sock: socket.socket, address: str) -> socket.socket | None:
        """Return the accepted socket as a counted one, or ``None`` if a limit is reached."""
        own = self._open.get(address, {})
        if len(own) >= self._per_address and not self._close_oldest([own], "address"):
            return None
        # The address with most connections loses one: a client with few keeps them.
        if self.total >= self._most and not self._close_oldest(
            sorted(self._open.values(), key=len, reverse=True), "total"
        ):
            return None
        accepted = _Accepted(sock.family, sock.type, sock.proto, fileno=sock.detach())
        connection = Connection(address, _shutdown_of(accepted))
        file = accepted.fileno()
        self._by_file[file] = connection
        self._open.setdefault(address, {})[connection] = None
        self.total += 1

        def gone() -> None:
            self._forget(connection)
            if self._by_file.get(file) is connection:
                del self._by_file[file]

        accepted.on_close = gone
        weakref.finalize(accepted, gone).atexit = False  # in case asyncio does not close it
        return accepted

    def of(self, transport: Any) -> Connection:
        """Return the connection of an asyncio transport, and abort that transport when it is to be closed."""
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
                    self._forget(connection)  # now: asyncio reports its end later
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
            ConnectionAbortedError: A limit is reached. asyncio continues to accept after this error.
        """
        sock, peer = super().accept()
        accepted = self.connections.admit(sock, str(peer[0]))
        if accepted is None:
            sock.close()
            raise ConnectionAbortedError
        return accepted, peer


def listen(host: str, port: int, connections: Connections) -> Listener:
    """Return a listening socket.

    Args:
        host: "" for every address.
        port: 0 for a free port.
        connections: Count and limit the accepted connections.

    Raises:
        OSError: The address cannot be bound.
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
    """An accepted socket that calls back when it is closed, even before the TLS handshake."""

    on_close: Callable[[], None] | None = None

    def close(self) -> None:
        super().close()
        if self.on_close is not None:
            self.on_close()


def _shutdown_of(sock: socket.socket) -> Callable[[], None]:
    """Return a function that shuts a socket down for which asyncio has no transport yet."""
    reference = weakref.ref(sock)

    def shut() -> None:
        if (there := reference()) is not None:
            with contextlib.suppress(OSError):  # the client closed it first
                there.shutdown(socket.SHUT_RDWR)

    return shut
