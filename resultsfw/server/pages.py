"""What the kubelet and Prometheus ask, on a port of its own: ``/healthz``, ``/readyz``, ``/metrics``.

Apart from the port for results, so that whoever fills that one makes no probe fail, and so that pods need not
be let in here.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from resultsfw.server.metrics import Metrics

__all__ = ["make_pages"]


def make_pages(metrics: Metrics, ready: Callable[[], str]) -> Starlette:
    """Return the application.

    Args:
        metrics: Of the server.
        ready: Says why the server cannot serve; "" if it can. Called on a thread of its own.
    """
    thread = ThreadPoolExecutor(1, thread_name_prefix="ready")

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        why = await asyncio.get_running_loop().run_in_executor(thread, ready)
        return PlainTextResponse(f"{why}\n" if why else "ok\n", 503 if why else 200)

    async def text(_request: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", text)])
