"""Forwards connections to another address, byte for byte: TLS passes through.

On a cluster without kube-proxy whose API server listens on loopback, pods reach it by such a forwarder: at
the address of the Service ``kubernetes``, so that the API server's certificate is valid for it. The machine
must have that address: ``ip address add 10.96.0.1/32 dev lo``.
"""

import contextlib
import selectors
import socket
import socketserver

_PIECE = 65_536


class Forwarder(socketserver.ThreadingTCPServer):
    """Listens until it is closed. Several may listen at one address: those of other test sessions.

    Args:
        address: Host and port to listen at.
        target: Host and port of the other side.
    """

    allow_reuse_address = True
    allow_reuse_port = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], target: tuple[str, int]) -> None:
        self.target = target
        super().__init__(address, _Connection)


class _Connection(socketserver.BaseRequestHandler):
    server: Forwarder

    def handle(self) -> None:
        """Copy in both directions until both sides have ended."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(self.server.target) as other,
            selectors.DefaultSelector() as ready,
        ):
            ready.register(self.request, selectors.EVENT_READ, other)
            ready.register(other, selectors.EVENT_READ, self.request)
            while ready.get_map():
                for key, _ in ready.select():
                    if piece := key.fileobj.recv(_PIECE):  # type: ignore[union-attr] # a socket
                        key.data.sendall(piece)
                    else:
                        ready.unregister(key.fileobj)
                        key.data.shutdown(socket.SHUT_WR)
