"""Requests over connections of `http.client` that stay open: what is sent when there is no proxy."""

import http.client
import select
import socket
import ssl
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from kubernetes.client.configuration import Configuration
from urllib3 import HTTPHeaderDict

__all__ = ["Answer", "Direct"]

_KEEP_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
)
"""A peer that is gone is noticed after a minute, also by who only listens."""


class Direct:
    """Connections to one server. Safe for threads.

    Args:
        configuration: The client's: host, TLS, how many connections are kept.

    Raises:
        OSError, ValueError: A certificate cannot be read.
    """

    def __init__(self, configuration: Configuration) -> None:
        url = urlsplit(configuration.host)
        self._host, self._port = url.hostname or "", url.port
        self.base = url.path.rstrip("/")
        self._configuration = configuration
        self._secure = url.scheme == "https"
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._tls_of: tuple[int, ...] = ()
        self._idle: deque[http.client.HTTPConnection] = deque(
            maxlen=configuration.connection_pool_maxsize or 16
        )
        if self._secure:
            self._context()

    @staticmethod
    def serves(configuration: Configuration) -> bool:
        """Whether a configuration asks for nothing that is not done here: a proxy, another name to verify."""
        return not configuration.proxy and not isinstance(configuration.assert_hostname, str)

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        timeouts: tuple[float, float],
    ) -> "Answer":
        """Send a request and return its answer, not read yet. To be closed by the caller.

        Args:
            method: The verb.
            target: Path and query.
            body: Sent with its length.
            headers: All of them.
            timeouts: Seconds until connected, and between two pieces of the answer.

        Raises:
            OSError, http.client.HTTPException: What goes wrong on the way.
        """
        connection = self._take()
        try:
            if connection.sock is None:
                connection.timeout = timeouts[0]
                connection.connect()
            sock = connection.sock
            sock.settimeout(timeouts[1])
            connection.request(method, self.base + target, body, headers)
            response = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        return Answer(self, connection, sock, response)

    def close(self) -> None:
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def give_back(self, connection: http.client.HTTPConnection) -> None:
        """Keep a connection whose answer was read to its end."""
        with self._lock:
            if len(self._idle) != self._idle.maxlen:
                self._idle.append(connection)
                return
        connection.close()

    def _take(self) -> http.client.HTTPConnection:
        """The connection used last, if it is there still, or a new one."""
        while True:
            with self._lock:
                if not self._idle:
                    break
                connection = self._idle.pop()
            if not _has_ended(connection):
                return connection
            connection.close()
        if not self._secure:
            return _Connection(self._host, self._port)
        named = self._configuration.tls_server_name or self._host
        return _Connection(self._host, self._port or http.client.HTTPS_PORT, self._context(), named)

    def _context(self) -> ssl.SSLContext:
        """How the server is verified; read anew when a file with certificates was replaced."""
        given: Any = self._configuration
        files = [one for one in (given.ssl_ca_cert, given.cert_file, given.key_file) if one]
        known = tuple(Path(one).stat().st_mtime_ns for one in files)
        with self._lock:
            if self._tls is None or known != self._tls_of:
                self._tls, self._tls_of = _context_of(given), known
            return self._tls


class Answer:
    """A response: its status and headers, and its body once, whole or in pieces."""

    def __init__(
        self,
        direct: Direct,
        connection: http.client.HTTPConnection,
        sock: socket.socket,
        response: http.client.HTTPResponse,
    ) -> None:
        self.status = response.status
        self._direct = direct
        self._connection = connection
        self._sock = sock
        self._response = response

    @property
    def headers(self) -> HTTPHeaderDict:
        """By name, in any case."""
        return HTTPHeaderDict(self._response.headers.items())

    def read(self, amt: int | None = None) -> bytes:
        """The body, or so many bytes of it; what ends before its end is an `http.client.IncompleteRead`."""
        return self._response.read(amt)

    def stream(self, amt: int, *, decode_content: bool = False) -> Iterator[bytes]:
        """The body in pieces of up to ``amt`` bytes, each as soon as it is there."""
        del decode_content  # nothing is encoded: the request does not offer to decode it
        while piece := self._response.read1(amt):
            yield piece
        if self._response.length:
            raise http.client.IncompleteRead(b"", self._response.length)

    def close(self) -> None:
        """Give the connection back, or close one that has more to say."""
        if self._response.isclosed() and self._connection.sock is not None:
            self._direct.give_back(self._connection)
        else:
            self._response.close()
            self._connection.close()

    def shutdown(self) -> None:
        """Wake up whoever waits for the next byte."""
        self._sock.shutdown(socket.SHUT_RDWR)


class _Connection(http.client.HTTPConnection):
    """One with TLS, where there is a context, in which the server may have another name than its host's."""

    def __init__(
        self, host: str, port: int | None, tls: ssl.SSLContext | None = None, server_name: str = ""
    ) -> None:
        super().__init__(host, port)
        self._tls = tls
        self._server_name = server_name

    def connect(self) -> None:
        super().connect()
        for option in _KEEP_ALIVE:
            self.sock.setsockopt(*option)
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._server_name)


def _context_of(given: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Clusters' own authorities often lack what the strict reading of RFC 5280 wants; Go does not ask for it.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not given.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif given.ssl_ca_cert or given.ca_cert_data:
        context.load_verify_locations(given.ssl_ca_cert or None, cadata=given.ca_cert_data or None)
    else:
        context.load_default_certs()
    if given.assert_hostname is False:
        context.check_hostname = False
    if given.cert_file:
        context.load_cert_chain(given.cert_file, given.key_file or None)
    return context


def _has_ended(connection: http.client.HTTPConnection) -> bool:
    """Whether the server closed an idle connection, or said what nobody asked for."""
    if connection.sock is None:
        return True
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
