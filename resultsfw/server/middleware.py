"""ASGI middleware of all requests: log, metrics, and a readable response when the body is not read."""

import asyncio
import logging
import time
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from resultsfw.operations.logs import about
from resultsfw.server.body_capacity import SECONDS
from resultsfw.server.metrics import Metrics

__all__ = ["RequestMiddleware"]

log = logging.getLogger(__name__)

_LINGER_BYTES: Final = 16 * 1024 * 1024
_LINGER_SECONDS: Final = 5.0
"""How much, and how long, the server reads and discards of a refused body: most clients read the response
only after they have sent it."""


_VERBS: Final = {"PUT": "put", "GET": "get", "DELETE": "delete"}


class RequestMiddleware:
    """Logs and counts every request, and lets clients read the response to a body that is refused.

    Such a response is sent immediately, and the rest of the body is discarded for a moment: if the server
    closed the connection while the client writes, the client would get a reset instead of the response.
    """

    def __init__(self, app: FastAPI, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics
        self._running: dict[_Exchange, tuple[Scope, float]] = {}

    def running(self) -> list[tuple[str, Mapping[str, Any], float]]:
        """Return verb, parts of the path and seconds of each request in progress, the longest first.

        Without a valid path, there are no parts: they may be anything.
        """
        now = time.monotonic()
        return [
            (
                _VERBS.get(scope["method"], "other"),
                {} if scope.get("state", {}).get("code") else scope.get("path_params", {}),
                now - began,
            )
            for scope, began in list(self._running.values())
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, by the ASGI protocol."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        began = time.monotonic()
        self._running[exchange] = scope, began
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except TimeoutError:
            log.warning("the client did not read the response within %.0f s", SECONDS)
            raise ConnectionResetError from None
        except Exception:
            log.exception("internal error")
        finally:
            del self._running[exchange]
            if scope["path"].startswith("/v1/"):
                self._record(scope, exchange.status, time.monotonic() - began)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        verb = _VERBS.get(scope["method"], "other")
        code = scope.get("state", {}).get("code", "")
        metrics = self._metrics
        metrics.requests.labels(verb, str(status)).inc()
        metrics.seconds.labels(verb).observe(seconds)
        if code:
            metrics.refused.labels(verb, code).inc()
        # The parts of an invalid path are not logged: they may be anything.
        known = scope.get("path_params", {}) if code != "BadRequest" else {}
        fields = {name: str(value) for name, value in known.items()}
        with about(**fields, code=code):
            log.info("%s: %d in %.3f s", verb, status, seconds)


class _Exchange:
    """The messages of one request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        self.status = 0
        self._receive = receive
        self._send = send
        self._unread = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        # Not for a client that awaits 100-continue, or does not say how much it sends.
        self._lingers = b"content-length" in headers and b"expect" not in headers
        self._connection = scope.get("state", {}).get("connection")

    async def receive(self) -> Any:
        message = await self._receive()
        if not message.get("more_body", False):
            self._unread = False
        return message

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self._unread:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        elif self._unread and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            if self._lingers:
                await self._linger()
            message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _linger(self) -> None:
        left = _LINGER_BYTES
        if self._connection is not None:
            self._connection.held = False  # answered: may be closed at a limit
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while self._unread and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass
