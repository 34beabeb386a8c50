"""Serve ``/healthz``, ``/readyz`` and ``/metrics`` to kubelet and Prometheus, ``/debug`` to the pod."""

import contextlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from errno import EADDRINUSE
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, SHUT_RDWR, socket
from types import MappingProxyType
from typing import Any, ClassVar, Final

from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.operations.debug import LOCAL_HOSTS, LOOPBACK, NOT_LOCAL, encode_state

__all__ = ["LocalPages", "Pages", "StatusServer", "not_listening", "parse_address"]

log = logging.getLogger(__name__)

Pages = dict[str, Callable[[], tuple[bool, bytes]]]
"""By path, a function that returns whether the status is 200 (else 503), and the body."""

LocalPages = Mapping[str, Callable[[], Object]]
"""By path, a function that returns what is served as JSON, to clients in the pod only (`LOOPBACK`)."""

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
JSON: Final = "application/json"


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, ``:PORT`` or ``[IPv6]:PORT``.

    Raises:
        InputError: The text has none of these forms.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:  # noqa: PLR2004 - ports
        raise InputError(f'--listen "{text}" is not of the form HOST:PORT or :PORT', subject="--listen")
    return host.removeprefix("[").removesuffix("]"), int(port)


def not_listening(option: str, address: tuple[str, int], error: OSError) -> InputError:
    """Return what to raise if the system refuses the address that an option names."""
    host, port = address
    hint = f"; choose another port, or let the system choose: {option} {host}:0"
    reason = f"{option} {host}:{port}: {error.strerror}"
    return InputError(reason + (hint if error.errno == EADDRINUSE else ""), subject=option)


class StatusServer:
    """Serves the pages on its own threads; a slow client does not delay others.

    Args:
        address: As `parse_address` gives it; host "" for every interface, port 0 for a free one.
        pages: By path.
        local_pages: By path.

    Raises:
        InputError: The address cannot be bound.
    """

    def __init__(
        self, address: tuple[str, int], pages: Pages, local_pages: LocalPages = MappingProxyType({})
    ) -> None:
        handler = type("_Pages", (_Handler,), {"pages": pages, "local_pages": local_pages})
        server = type("_Server", (_Server,), {"address_family": AF_INET6 if ":" in address[0] else AF_INET})
        try:
            self._server: ThreadingHTTPServer = server(address, handler)
        except OSError as error:
            raise not_listening("--listen", address, error) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.5}, name="status", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop serving and close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = (
        128  # five by default: the kernel drops further connections, and a probe waits for seconds
    )
    _most = 32
    """Concurrent connections, each with a thread. The kubelet and Prometheus need one each."""

    def __init__(self, *arguments: Any) -> None:
        self._open: OrderedDict[socket, None] = OrderedDict()
        self._lock = threading.Lock()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection; close the oldest one if there are too many."""
        with self._lock:
            self._open[request] = None
            oldest = next(iter(self._open)) if len(self._open) > self._most else None
        if oldest is not None:
            with contextlib.suppress(OSError):
                oldest.shutdown(SHUT_RDWR)  # its thread reads the end of the stream, and closes it
            with self._lock:
                self._open.pop(oldest, None)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection that was served."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - its signature
        """Log a client that disconnected at debug level."""
        log.debug("a client of the status pages disconnected", exc_info=True)  # noqa: LOG014 - called in one


class _Handler(BaseHTTPRequestHandler):
    pages: ClassVar[Pages] = {}
    local_pages: ClassVar[LocalPages] = MappingProxyType({})
    timeout = 10
    server_version = "resultsfw"
    sys_version = ""

    def do_GET(self) -> None:
        try:
            status, content_type, body = self._find(self.path.partition("?")[0])
        except Exception:
            log.exception("status page %s failed", self.path)
            status, content_type = HTTPStatus.SERVICE_UNAVAILABLE, TEXT
            body = b"internal error; see the log\n"
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _find(self, path: str) -> tuple[HTTPStatus, str, bytes]:
        """Return the status, type and body of a page."""
        if (local := self.local_pages.get(path)) is not None:
            if self.client_address[0] not in LOOPBACK or self._host() not in LOCAL_HOSTS:
                return HTTPStatus.FORBIDDEN, TEXT, NOT_LOCAL
            return HTTPStatus.OK, JSON, encode_state(local())
        if (page := self.pages.get(path)) is not None:
            ok, body = page()
            return HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE, TEXT, body
        paths = ", ".join((*self.pages, *self.local_pages))
        return HTTPStatus.NOT_FOUND, TEXT, f"there is {paths}\n".encode()

    def _host(self) -> str:
        """Return the request's header ``Host`` without its port."""
        host = self.headers.get("Host", "").lower()
        name, colon, port = host.rpartition(":")
        return name if colon and port.isdecimal() else host

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
        log.debug(format, *args)
