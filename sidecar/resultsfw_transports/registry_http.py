"""Sends single requests to a registry, and to where it sends us; every answer is bounded in size and time."""

import http.client
import socket
import ssl
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

from .addresses import is_link_local, origin_of

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 120.0
"""Seconds within which the headers of an answer must be complete, and then a document."""

LEAST_RATE = 100_000
"""Bytes a second of a value, below which reading it fails."""

_PIECE = 262_144


class PassingError(Exception):
    """A request failed, and may succeed in a moment. The message holds nothing that a server sent."""


class Answer:
    """An answer with its whole body.

    Attributes:
        status: The HTTP status.
        headers: Read by name, whose case does not matter.
        body: At most as many bytes as were asked for.
    """

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


class Sender:
    """Sends requests with the settings of one registry, each over a connection of its own.

    Args:
        base: `https://HOST`, or `http://HOST`.
        ca: Certificates in PEM that the registry's must chain to; empty for the system's.
        quiet: Seconds without a byte after which a request fails.

    Raises:
        ValueError: The certificates cannot be read.
    """

    def __init__(self, base: str, ca: str, quiet: float) -> None:
        self.base = base
        self._quiet = quiet
        self._ca = ca
        self._contexts: dict[bool, ssl.SSLContext] = {}
        if ca:
            try:
                self._tls(own=True)
            except (OSError, ValueError) as error:
                raise ValueError(f"certificates cannot be read: {type(error).__name__}") from None

    def ask(
        self,
        method: str,
        url: str,
        headers: "Mapping[str, str]",
        *,
        limit: int,
        body: "bytes | Iterable[bytes]" = b"",
    ) -> Answer:
        """Sends a request and returns its answer; redirects are not followed.

        Args:
            method: Such as PUT.
            url: Checked by `addresses.address_fault`, or the registry's own.
            headers: With Content-Length, if the body comes in pieces.
            limit: Bytes of the answer's body that are read; the rest is dropped.
            body: The request's body; exceptions of an iterable end the request.

        Raises:
            PassingError: There is no whole answer in time.
        """
        with self.open(method, url, headers, body=body) as response:
            until = time.monotonic() + ANSWER_SECONDS
            whole = bytearray()
            while len(whole) < limit and (piece := response.read1(min(_PIECE, limit - len(whole)))):
                whole += piece
                if time.monotonic() > until:
                    raise TimeoutError
            if len(whole) < limit:
                _check_whole(response)
            return Answer(response.status, response.headers, bytes(whole))

    @contextmanager
    def open(
        self, method: str, url: str, headers: "Mapping[str, str]", *, body: "bytes | Iterable[bytes]" = b""
    ) -> "Iterator[http.client.HTTPResponse]":
        """Yields the answer to a request with its body unread, and closes the connection.

        Raises:
            PassingError: The connection fails, also while the answer is read.
        """
        shown = f"{method} {url.partition('?')[0]}"  # what follows may be a signature
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection = self._connection(url)
        try:
            _connect(connection)
            if origin_of(url) != origin_of(self.base) and is_link_local(connection.sock.getpeername()[0]):
                raise PassingError(f"{shown}: a link-local address, which no registry has")
            connection.sock.settimeout(self._quiet)
            # A server may answer before it has the whole body: its answer says why.
            with suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, target, body or None, {"User-Agent": "resultsfw", **headers})
            with ExitStack() as stack:
                with _in_time(connection.sock, ANSWER_SECONDS):
                    response = stack.enter_context(connection.getresponse())
                yield response
        except (OSError, http.client.HTTPException) as error:
            raise PassingError(f"{shown}: {_reason(error)}") from None
        finally:
            connection.close()

    def pieces(self, response: http.client.HTTPResponse, most: int) -> "Iterator[bytes]":
        """Yields the body of an answer, at most this many bytes."""
        until = time.monotonic() + ANSWER_SECONDS + most / LEAST_RATE
        while most > 0 and (piece := response.read1(min(_PIECE, most))):
            most -= len(piece)
            yield piece
            if time.monotonic() > until:
                raise TimeoutError
        if most:
            _check_whole(response)

    def _connection(self, url: str) -> http.client.HTTPConnection:
        parts, timeout = urlsplit(url), min(CONNECT_SECONDS, self._quiet)
        if parts.scheme == "http":  # only if the registry is asked so itself
            return http.client.HTTPConnection(parts.netloc, timeout=timeout)
        context = self._tls(own=bool(self._ca) and origin_of(url) == origin_of(self.base))
        return http.client.HTTPSConnection(parts.netloc, timeout=timeout, context=context)

    def _tls(self, *, own: bool) -> ssl.SSLContext:
        """Returns the settings of TLS: with the registry's own authorities, or the system's for others."""
        if own not in self._contexts:
            context = ssl.create_default_context(cadata=self._ca if own else None)
            # Certificates of private authorities often violate RFC 5280 in ways that Go accepts.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            self._contexts[own] = context
        return self._contexts[own]


@contextmanager
def _in_time(sock: socket.socket, seconds: float) -> "Iterator[None]":
    """Shuts a socket down unless the block ends in time: its own timeout begins anew with every byte.

    Raises:
        TimeoutError: It was shut down.
    """
    late = threading.Event()

    def shut() -> None:
        late.set()
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not that of TLS, which is for one thread

    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception:
        if not late.is_set():
            raise
    finally:
        timer.cancel()
    if late.is_set():  # what was read so far looks like a whole answer
        raise TimeoutError


def _connect(connection: http.client.HTTPConnection) -> None:
    try:
        connection.connect()
    except UnicodeError:  # of a name that no host can have
        raise OSError(0, "the address is not valid") from None


def _check_whole(response: http.client.HTTPResponse) -> None:
    if response.length:  # read1 ends without an error where the connection does
        raise http.client.IncompleteRead(b"", response.length)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
