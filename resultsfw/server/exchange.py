"""What every request for results has around it: log, metrics, and a good end for bodies that nobody reads."""

import asyncio
import logging
import time
from typing import Any, Final

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from resultsfw.operations.logs import about
from resultsfw.server.bodies import SECONDS
from resultsfw.server.metrics import Metrics

__all__ = ["Framed"]

log = logging.getLogger(__name__)

_LINGER_BYTES: Final = 16 * 1024 * 1024
_LINGER_SECONDS: Final = 5.0
"""What is still taken and thrown away of a refused body: who sends it reads the answer after it."""


class Framed:
    """The application, with what every request for results has around it: log, metrics, a good end.

    Whoever's body is not read is told so at once, and what still comes of it is thrown away for a moment:
    a connection that is closed while its client writes would take the answer with it.
    """

    def __init__(self, app: FastAPI, metrics: Metrics) -> None:
        self.app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI has it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        began = time.monotonic()
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except TimeoutError:
            log.warning("the client did not read the response within %.0f s", SECONDS)
            raise ConnectionResetError from None
        except Exception:
            log.exception("internal error")
        finally:
            if scope["path"].startswith("/v1/"):
                self._note(scope, exchange.status, time.monotonic() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        verb = {"PUT": "put", "GET": "get", "DELETE": "delete"}.get(scope["method"], "other")
        code = scope.get("state", {}).get("code", "")
        metrics = self._metrics
        metrics.requests.labels(verb, str(status)).inc()
        metrics.seconds.labels(verb).observe(seconds)
        if code:
            metrics.refused.labels(verb, code).inc()
        # Of a path that is none nothing is said: it may hold anything.
        known = scope.get("path_params", {}) if code != "BadRequest" else {}
        fields = {name: str(value) for name, value in known.items()}
        with about(**fields, code=code):
            log.info("%s: %d in %.3f s", verb, status, seconds)


class _Exchange:
    """One request and its answer, as they go by."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        self.status = 0
        self._receive = receive
        self._send = send
        self._unread = headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers
        # Who waits to be told to go on, or does not say how far, is not waited for.
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
            self._connection.held = False  # answered: closed if the place is needed
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while self._unread and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass
