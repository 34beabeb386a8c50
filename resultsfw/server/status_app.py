"""Serve ``/healthz``, ``/readyz`` and ``/metrics`` (and ``/debug`` to the pod itself) on a port of their own.

Clients that exhaust the port for results must not fail the probes, and pods need no access to this port.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from resultsfw.cluster import Object
from resultsfw.operations.debug import LOOPBACK, NOT_LOCAL, encode_state
from resultsfw.server.metrics import Metrics

__all__ = ["make_status_app"]


def make_status_app(metrics: Metrics, ready: Callable[[], str], debug: Callable[[], Object]) -> Starlette:
    """Return the ASGI application.

    Args:
        metrics: Of the server.
        ready: Returns why the server cannot serve; "" if it can. Called on its own thread.
        debug: Returns the state of the server, for clients in the pod.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="ready")
    metrics_thread = ThreadPoolExecutor(
        1, thread_name_prefix="metrics"
    )  # a database is asked for stored bytes

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        why = await asyncio.get_running_loop().run_in_executor(thread, ready)
        return PlainTextResponse(f"{why}\n" if why else "ok\n", 503 if why else 200)

    async def text(_request: Request) -> Response:
        body = await asyncio.get_running_loop().run_in_executor(metrics_thread, metrics.text)
        return Response(body, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def state(request: Request) -> Response:
        if request.client is None or request.client.host not in LOOPBACK:
            return Response(NOT_LOCAL, 403, media_type="text/plain")
        # Not on a thread: those may all wait for a store, which is what somebody wants to see.
        return Response(encode_state(debug()), media_type="application/json")

    pages = {"/healthz": healthz, "/readyz": readyz, "/metrics": text, "/debug": state}
    return Starlette(routes=[Route(path, page) for path, page in pages.items()])
