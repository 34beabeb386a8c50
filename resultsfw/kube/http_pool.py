"""Requests over connections that stay open, their answers read by httptools: the way without a proxy."""

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
"""A peer that is gone is noticed after a minute, also by who only listens."""

_HEAD_BYTES: Final = 262_144
"""Bytes that bring no byte of a body: heads, interim answers, trailers. API servers send some hundred."""

_HEAD_SECONDS: Final = 60.0
"""Seconds in which such bytes may come one after the other, each within the time between two pieces."""

_PIECE: Final = 16_384
"""Bytes of a TLS record: a read brings no more, and what is asked for is allocated."""


class HttpPool:
    """Connections to one server. Safe for threads.

    Args:
        configuration: The client's: host, TLS, how many connections are kept.

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
    ) -> "HttpResponse":
        """Send a request and return its answer, not read yet. To be closed by the caller.

        Args:
            method: The verb.
            target: Path and query.
            body: Sent with its length.
            headers: All of them.
            timeouts: Seconds until connected, and between two pieces of the answer.

        Raises:
            OSError, http.client.HTTPException: What goes wrong on the way.
            ValueError: A header has a line's end in it.
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
        """Close what is idle."""
        while self._idle:
            self._idle.pop().close()

    def give_back(self, sock: socket.socket) -> None:
        """Keep a connection whose answer was read to its end."""
        with self._lock:
            if len(self._idle) != self._idle.maxlen:
                self._idle.append(sock)
                return
        sock.close()

    def _take(self, timeout: float) -> socket.socket:
        """The connection used last, if it is there still, or a new one."""
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
        """How the server is verified; read anew when a file with certificates was replaced."""
        given: Any = self._configuration
        files = [one for one in (given.ssl_ca_cert, given.cert_file, given.key_file) if one]
        known = tuple(Path(one).stat().st_mtime_ns for one in files)
        with self._lock:
            if self._tls is None or known != self._tls_of:
                self._tls, self._tls_of = _context_of(given), known
            return self._tls


class HttpResponse:
    """A response: its status and headers, and its body once, whole or in pieces.

    Args:
        direct: Whose connection it came over.
        sock: That connection, on which the request was sent.
    """

    def __init__(self, direct: HttpPool, sock: socket.socket) -> None:
        self._headers: list[tuple[bytes, bytes]] = []
        self._direct = direct
        self._sock = sock
        self._parser = HttpResponseParser(self)
        self._body: deque[bytes] = deque()
        self._begun = self._whole = self._stays = False
        self._headed, self._heading_since = 0, 0.0
        while not self._begun:
            self._feed()
        self.status = self._parser.get_status_code()

    @property
    def headers(self) -> HTTPHeaderDict:
        """By name, in any case."""
        found = HTTPHeaderDict()
        for name, value in self._headers:
            found.add(name.decode("latin-1"), value.decode("latin-1"))
        return found

    def read(self, amt: int | None = None) -> bytes:
        """The body, or its first ``amt`` bytes at least if there are so many.

        Raises:
            http.client.IncompleteRead: It ended before its end.
            OSError: What goes wrong on the way.
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
        """The body in pieces, each as soon as it is there. Raises what `read` does."""
        del amt, decode_content  # as it came: nothing is encoded, for the request does not offer to decode
        while True:
            while self._body:
                yield self._body.popleft()
            if self._whole:
                return
            self._feed()

    def close(self) -> None:
        """Give the connection back, or close one that has more to say."""
        if self._whole and self._stays:
            self._direct.give_back(self._sock)
        else:
            self._sock.close()

    def shutdown(self) -> None:
        """Wake up whoever waits for the next byte."""
        self._sock.shutdown(socket.SHUT_RDWR)

    def _feed(self) -> None:
        data = self._sock.recv(_PIECE)
        if not data:
            if not self._begun:
                raise http.client.RemoteDisconnected("the server closed the connection without an answer")
            # llhttp 9 tells of a body that ends with its connection only when it is told of that end.
            headers = self.headers
            if "content-length" in headers or "transfer-encoding" in headers:
                raise http.client.IncompleteRead(b"")
            self._whole = True
            return
        if not self._headed:
            self._heading_since = time.monotonic()
        self._headed += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            raise http.client.BadStatusLine(f"what the server says is no HTTP: {error}") from error
        if self._body or self._whole:
            self._headed = 0
        elif self._headed > _HEAD_BYTES or time.monotonic() - self._heading_since > _HEAD_SECONDS:
            raise http.client.BadStatusLine("the server sends headers without end")

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came; of a trailer, nobody asks."""
        if not self._begun:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """All of them came; an interim answer (1xx) is not the one."""
        self._begun = self._parser.get_status_code() >= http.HTTPStatus.OK
        if not self._begun:
            self._headers.clear()

    def on_body(self, piece: bytes) -> None:
        """A piece of the body came."""
        self._body.append(piece)

    def on_message_complete(self) -> None:
        """The last of it came."""
        self._whole = self._begun
        self._stays = self._parser.should_keep_alive()


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


def _has_ended(sock: socket.socket) -> bool:
    """Whether the server closed an idle connection, or said what nobody asked for."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
