"""Serve ``/healthz``, ``/readyz`` and ``/metrics`` to the kubelet and Prometheus, on a port of their own.

Clients that exhaust the port for results must not fail the probes, and pods need no access to this port.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from resultsfw.server.metrics import Metrics

__all__ = ["make_status_app"]


def make_status_app(metrics: Metrics, ready: Callable[[], str]) -> Starlette:
    """Return the ASGI application.

    Args:
        metrics: Of the server.
        ready: Returns why the server cannot serve; "" if it can. Called on its own thread.
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

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", text)])
