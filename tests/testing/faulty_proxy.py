"""A TCP proxy on loopback whose server can be made unreachable, or silent."""

import contextlib
import socket
import threading


class FaultyProxy:
    """Forwards connections to a port of this machine; a context manager.

    Args:
        port: The server's.

    Attributes:
        port: The proxy's own.
    """

    def __init__(self, port):
        self._server = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._fault = ""
        self._silent = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    @property
    def faults(self):
        return {"down": lambda: self._with("down"), "slow": lambda: self._with("slow")}

    @contextlib.contextmanager
    def _with(self, fault):
        self._fault = fault
        try:
            yield
        finally:
            self._fault = ""
            while self._silent:
                self._silent.pop().close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self._fault == "slow":
                    self._silent.append(client)
                elif self._fault == "down":
                    client.close()
                else:
                    server = socket.create_connection(self._server)
                    threading.Thread(target=forward, args=(client, server), daemon=True).start()


def forward(client, server):
    """Send on what comes in both directions, until both ends have closed."""
    back = threading.Thread(target=send_on, args=(server, client), daemon=True)
    back.start()
    send_on(client, server)
    back.join()
    client.close()
    server.close()


def send_on(source, target):
    """Send on what comes from one end, and its end."""
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
