"""Send GET requests to untrusted servers: each answer is limited in size, and all of them in time."""

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

from urllib3 import HTTPHeaderDict

from resultsfw.kube.http_pool import HttpResponse
from resultsfw.registry.proxy import connect_through, proxy_for
from resultsfw_transports.addresses import address_fault, is_link_local, origin_of

__all__ = ["Answer", "Connections", "RequestError", "check_url", "origin_of"]

CONNECT_SECONDS: Final = 5.0
_PORTS: Final = {"https": 443, "http": 80}


class RequestError(Exception):
    """A request failed. The message holds no credential and nothing that the server sent.

    Attributes:
        temporary: It may succeed in a moment.
    """

    def __init__(self, message: str, *, temporary: bool = False) -> None:
        super().__init__(message)
        self.temporary = temporary


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its whole body.

    Attributes:
        status: The HTTP status.
        headers: By name, whose case does not matter.
        body: At most as many bytes as were asked for.
    """

    status: int
    headers: HTTPHeaderDict
    body: bytes


class Connections:
    """Connections to servers, for one lookup. A context manager, which closes them.

    Args:
        seconds: After which every request fails.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._seconds = seconds
        self._idle: dict[str, socket.socket] = {}

    def get(self, url: str, headers: Mapping[str, str], *, limit: int) -> Answer:
        """Return the answer of a GET request; redirects are not followed.

        Args:
            url: Valid under `check_url`.
            headers: In addition to Host.
            limit: Bytes of the body.

        Raises:
            RequestError: There is no whole answer of that size in time.
        """
        try:
            return self._get(url, headers, limit)
        except (OSError, http.client.HTTPException) as error:
            why = "no answer in time" if isinstance(error, TimeoutError) else _reason(error)
            raise RequestError(f"GET {url}: {why}", temporary=not isinstance(error, ssl.SSLError)) from error
        except ValueError as error:  # of a host's name or port that no server can have
            raise RequestError(f"GET {url}: the server's name or port is not valid") from error

    def give_back(self, sock: "_LimitedSocket") -> None:
        """Keep a connection whose answer was read completely."""
        self._idle[sock.origin] = sock.sock

    def close(self) -> None:
        """Close idle connections."""
        while self._idle:
            self._idle.popitem()[1].close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def left(self) -> float:
        """Return the seconds that are left.

        Raises:
            RequestError: None are.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise RequestError(f"no answer within {max(self._seconds, 0):.3g} s")
        return left

    def _get(self, url: str, headers: Mapping[str, str], limit: int) -> Answer:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        sent = {"Host": parts.netloc, "Accept-Encoding": "identity", "User-Agent": "resultsfw", **headers}
        lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items())]
        if any(not line.isprintable() for line in lines):
            raise RequestError(f"GET {parts.netloc}: a header or the address has control characters")
        sock = self._connect(url)
        try:
            sock.sock.settimeout(self.left())
            sock.sock.sendall("\r\n".join([*lines, "", ""]).encode("utf-8"))
            response = HttpResponse(self, sock)  # type: ignore[arg-type] # what it uses of a pool and a socket
            body = response.read(limit + 1)
        except BaseException:
            sock.close()
            raise
        response.close()
        if len(body) > limit:
            raise RequestError(f"GET {url}: the answer has over {limit} bytes")
        return Answer(response.status, response.headers, body)

    def _connect(self, url: str) -> "_LimitedSocket":
        origin = origin_of(url)
        if (idle := self._idle.pop(origin, None)) is not None:
            return _LimitedSocket(idle, origin, self)
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        timeout = min(CONNECT_SECONDS, self.left())
        proxy = proxy_for(host, port) if parts.scheme == "https" else ""
        if proxy:
            sock = connect_through(proxy, host, port, timeout)
        else:
            sock = socket.create_connection((host, port), timeout)
        try:
            if not proxy:
                _refuse_link_local(url, sock.getpeername()[0])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if parts.scheme == "https":
                sock.settimeout(min(CONNECT_SECONDS, self.left()))
                sock = _tls().wrap_socket(sock, server_hostname=host)
        except BaseException:
            sock.close()
            raise
        return _LimitedSocket(sock, origin, self)


class _LimitedSocket:
    """A connection on which no call lasts longer than the lookup may."""

    def __init__(self, sock: socket.socket, origin: str, connections: Connections) -> None:
        self.sock = sock
        self.origin = origin
        self._connections = connections

    def recv(self, size: int) -> bytes:
        self.sock.settimeout(self._connections.left())
        return self.sock.recv(size)

    def close(self) -> None:
        self.sock.close()


def check_url(url: str, *, known: str, insecure: bool) -> None:
    """Refuse an address that an untrusted server named: of a token or of a redirect.

    Args:
        url: The address.
        known: An address of the registry; its host is always allowed.
        insecure: The registry is asked without TLS, so others may be, too.

    Raises:
        RequestError: It is not http or https, has a user, or is an address in a private network.
    """
    if fault := address_fault(url, known=known, insecure=insecure):
        raise RequestError(fault)


def _refuse_link_local(url: str, address: str) -> None:
    """Refuse a server that only this machine's network sees: a cloud's metadata service."""
    if is_link_local(address):
        raise RequestError(f"GET {url}: the server has a link-local address, which a registry cannot have")


@cache
def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    # As for the API server: certificates of private authorities often violate RFC 5280 in ways Go accepts.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
