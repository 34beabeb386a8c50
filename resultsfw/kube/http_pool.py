"""Send HTTP requests over a pool of kept-alive connections to one server, without a proxy."""

import http.client
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser
from kubernetes.client.configuration import Configuration
from urllib3 import HTTPHeaderDict

__all__ = ["HttpPool", "HttpResponse"]

_OPTIONS: Final = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
)
"""Keep-alive probes detect a dead peer within a minute, also while nothing is sent."""

_HEAD_BYTES: Final = 262_144
"""Bytes in a row without a byte of a body: heads, interim responses, trailers. API servers send hundreds."""

_HEAD_SECONDS: Final = 60.0
"""Seconds for such bytes: the timeout for each piece does not end a head that comes byte by byte."""

_PIECE: Final = 16_384
"""Bytes of a TLS record. A read returns no more, and allocates as many as are requested."""


class HttpPool:
    """A pool of connections to one server. Safe for threads.

    Args:
        configuration: The Kubernetes client's: host, TLS, and the number of connections to keep.

    Raises:
        OSError, ValueError: A certificate cannot be read.
    """

    def __init__(self, configuration: Configuration) -> None:
        url = urlsplit(configuration.host)
        self._secure = url.scheme == "https"
        self._host, self._port = url.hostname or "", url.port or (443 if self._secure else 80)
        self._name = url.netloc.rpartition("@")[2]
        self.base = url.path.rstrip("/")
        self._configuration = configuration
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        self._tls_of: tuple[int, ...] = ()
        self._idle: deque[socket.socket] = deque(maxlen=configuration.connection_pool_maxsize or 16)
        if self._secure:
            self._context()

    @staticmethod
    def serves(configuration: Configuration) -> bool:
        """Return whether this class supports a configuration: one without a proxy or a hostname to verify."""
        return not configuration.proxy and not isinstance(configuration.assert_hostname, str)

    def request(
        self,
        method: str,
        target: str,
        *,
        body: bytes | None,
        headers: Mapping[str, str],
        timeouts: tuple[float, float],
    ) -> "HttpResponse":
        """Send a request and return the response, whose body is not read yet. The caller must close it.

        Args:
            method: The HTTP method.
            target: Path and query.
            body: Sent with Content-Length.
            headers: In addition to Host, Accept-Encoding and Content-Length.
            timeouts: Seconds to connect, and between two pieces of the response.

        Raises:
            OSError, http.client.HTTPException: The transport failed.
            ValueError: A header contains a line break.
        """
        sent = {"Host": self._name, "Accept-Encoding": "identity", **headers}
        if body is not None:
            sent["Content-Length"] = str(len(body))
        head = f"{method} {self.base}{target} HTTP/1.1\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        if head.count("\r\n") != len(sent) + 1 or head.count("\n") != len(sent) + 1:
            raise ValueError("a header has more than one line")
        sock = self._take(timeouts[0])
        try:
            sock.settimeout(timeouts[1])
            sock.sendall(head.encode("latin-1") + b"\r\n" + (body or b""))
            return HttpResponse(self, sock)
        except BaseException:
            sock.close()
            raise

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.pop().close()

    def give_back(self, sock: socket.socket) -> None:
        """Keep a connection whose response was read completely."""
        with self._lock:
            if len(self._idle) != self._idle.maxlen:
                self._idle.append(sock)
                return
        sock.close()

    def _take(self, timeout: float) -> socket.socket:
        """Return the connection that was used last, if it is still open, or a new one."""
        while True:
            with self._lock:
                if not self._idle:
                    break
                sock = self._idle.pop()
            if not _has_ended(sock):
                return sock
            sock.close()
        sock = socket.create_connection((self._host, self._port), timeout)
        try:
            for option in _OPTIONS:
                sock.setsockopt(*option)
            if self._secure:
                name = self._configuration.tls_server_name or self._host
                sock = self._context().wrap_socket(sock, server_hostname=name)
        except BaseException:
            sock.close()
            raise
        return sock

    def _context(self) -> ssl.SSLContext:
        """Return the TLS context; load it again if a file with certificates was replaced."""
        given: Any = self._configuration
        files = [file for file in (given.ssl_ca_cert, given.cert_file, given.key_file) if file]
        known = tuple(Path(file).stat().st_mtime_ns for file in files)
        with self._lock:
            if self._tls is None or known != self._tls_of:
                self._tls, self._tls_of = _context_of(given), known
            return self._tls


class HttpResponse:
    """A response: status, headers, and the body, which can be read once.

    Args:
        pool: The owner of the connection.
        sock: The connection, over which the request was sent.
    """

    def __init__(self, pool: HttpPool, sock: socket.socket) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._pool = pool
        self._sock = sock
        self._parser = HttpResponseParser(self)
        self._body: deque[bytes] = deque()
        self._has_head = self._is_complete = self._keeps_alive = False
        self._head_bytes, self._head_since = 0, 0.0
        while not self._has_head:
            self._feed()
        self.status = self._parser.get_status_code()

    @property
    def headers(self) -> HTTPHeaderDict:
        """The headers by name, whose case does not matter."""
        found = HTTPHeaderDict()
        for name, value in self._headers:
            found.add(name.decode("latin-1"), value.decode("latin-1"))
        return found

    def read(self, amt: int | None = None) -> bytes:
        """Return the body, or at least its first ``amt`` bytes if there are so many.

        Raises:
            http.client.IncompleteRead: The connection ended before the body.
            OSError: The transport failed.
        """
        size = 0
        pieces = []
        for piece in self.stream():
            pieces.append(piece)
            size += len(piece)
            if amt is not None and size >= amt:
                break
        return b"".join(pieces)

    def stream(self, amt: int = 0, *, decode_content: bool = False) -> Iterator[bytes]:
        """Yield the body in pieces, each as soon as it arrives. Raises what `read` does."""
        del amt, decode_content  # for urllib3's interface: the request accepts no encoding
        while True:
            while self._body:
                yield self._body.popleft()
            if self._is_complete:
                return
            self._feed()

    def close(self) -> None:
        """Return the connection to the pool, or close it if the response was not read completely."""
        if self._is_complete and self._keeps_alive:
            self._pool.give_back(self._sock)
        else:
            self._sock.close()

    def shutdown(self) -> None:
        """Make a thread return that waits for the next byte."""
        self._sock.shutdown(socket.SHUT_RDWR)

    def _feed(self) -> None:
        data = self._sock.recv(_PIECE)
        if not data:
            if not self._has_head:
                raise http.client.RemoteDisconnected("the server closed the connection without a response")
            # httptools cannot report to llhttp 9 that the connection, and so a body without length, ended.
            headers = self.headers
            if "content-length" in headers or "transfer-encoding" in headers:
                raise http.client.IncompleteRead(b"")
            self._is_complete = True
            return
        if not self._head_bytes:
            self._head_since = time.monotonic()
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            raise http.client.BadStatusLine(f"the response is not HTTP: {error}") from error
        if self._body or self._is_complete:
            self._head_bytes = 0
        elif self._head_bytes > _HEAD_BYTES or time.monotonic() - self._head_since > _HEAD_SECONDS:
            raise http.client.BadStatusLine("the server sends headers without end")

    # Called by the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; trailers are ignored."""
        if not self._has_head:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Note the end of the head; that of an interim response (1xx) is discarded."""
        self._has_head = self._parser.get_status_code() >= http.HTTPStatus.OK
        if not self._has_head:
            self._headers.clear()

    def on_body(self, piece: bytes) -> None:
        """Keep a piece of the body."""
        self._body.append(piece)

    def on_message_complete(self) -> None:
        """Note the end of the response."""
        self._is_complete = self._has_head
        self._keeps_alive = self._parser.should_keep_alive()


def _context_of(given: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Certificates of cluster authorities often violate RFC 5280 in ways that Go accepts.
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


def _has_ended(sock: socket.socket) -> bool:
    """Return whether the server closed an idle connection, or sent bytes without a request."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
