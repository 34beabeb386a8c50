"""What the server is asked: paths, who may, in which order things are looked at, and how it is refused."""

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from resultsfw.controller.logs import about
from resultsfw.server.bodies import SECONDS, Bodies, read_body
from resultsfw.server.metrics import Metrics
from resultsfw.server.refusals import RefusalError
from resultsfw.server.review import Identity, Reviewer
from resultsfw.server.store import Place, Results

__all__ = ["MEDIA_TYPE", "Service", "make_app", "openapi"]

log = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/vnd.resultsfw.records+json-lines"
"""Records of a results sidecar, one JSON object a line (``resultsfw_sidecar.wire``)."""

_LINGER_BYTES: Final = 16 * 1024 * 1024
_LINGER_SECONDS: Final = 5.0
"""What is still taken and thrown away of a refused body: who sends it reads the answer after it."""

_TOKEN_BYTES: Final = 32 * 1024

_DESCRIPTION: Final = """\
Keeps what the results sidecar of a pod delivers until the controller has read it.

A pod writes once, with a token that is bound to it. Reading and removing are ruled by RBAC: `get` and
`delete` of `results.resultsfw.dev` in the run's namespace. Tokens are for the server's audience.
"""

Namespace = Annotated[
    str, Path(description="Of run and pod.", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
]
RunUid = Annotated[
    str, Path(description="The run's metadata.uid.", pattern=r"^[A-Za-z0-9][-A-Za-z0-9_]{0,127}$")
]
Attempt = Annotated[
    int, Path(description="0 for the first try, one more for each retry.", ge=0, le=1_000_000)
]
PodUid = Annotated[
    str, Path(description="The pod's metadata.uid.", pattern=r"^[A-Za-z0-9][-A-Za-z0-9_]{0,127}$")
]

_Answer = TypeVar("_Answer")


class Refused(BaseModel):
    """Why a request is not served."""

    code: str
    message: str


class Stored(BaseModel):
    """What is kept of a delivery."""

    sha256: str
    bytes: int


@dataclass
class Service:
    """What the requests share.

    Attributes:
        results: Where they are kept.
        reviewer: Who may what.
        limit: Bytes of a body.
        ready: Says why the server cannot serve; nothing if it can. Called on a thread.
    """

    results: Results
    reviewer: Reviewer
    limit: int
    ready: Callable[[], str] = lambda: ""
    bodies: Bodies = field(init=False)
    metrics: Metrics = field(init=False)
    _asking: ThreadPoolExecutor = field(init=False)
    _storing: ThreadPoolExecutor = field(init=False)

    def __post_init__(self) -> None:
        self.bodies = Bodies(self.limit)
        self.metrics = Metrics(lambda: self.bodies.taken)
        # Two, so that a cluster that does not answer holds up no store, and the other way round.
        self._asking = ThreadPoolExecutor(8, thread_name_prefix="review")
        self._storing = ThreadPoolExecutor(8, thread_name_prefix="store")

    async def ask(self, call: Callable[..., _Answer], *args: Any) -> _Answer:
        """Call what asks the cluster."""
        return await asyncio.get_running_loop().run_in_executor(self._asking, call, *args)

    async def store(self, call: Callable[[], _Answer]) -> _Answer:
        """Call what works on the store."""
        return await asyncio.get_running_loop().run_in_executor(self._storing, call)

    async def identity(self, request: Request) -> Identity:
        """Who asks.

        Raises:
            RefusalError: Nobody that is known.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise RefusalError("Unauthenticated", "a bearer token is needed")
        if len(token) > _TOKEN_BYTES or not (token.isascii() and token.isprintable()):
            raise RefusalError("Unauthenticated", "that is no token")
        identity = await self.ask(self.reviewer.review, token)
        if identity is None:
            raise RefusalError("Unauthenticated", "the token is not valid, or not for this audience")
        return identity

    async def reader(self, request: Request, verb: str, namespace: str) -> None:
        """Let pass who may do that.

        Raises:
            RefusalError: Who asks may not.
        """
        identity = await self.identity(request)
        if not await self.ask(self.reviewer.allows, identity, verb, namespace):
            raise RefusalError(
                "Forbidden",
                f'"{identity.username}" may not {verb} results.resultsfw.dev in namespace "{namespace}"',
            )

    async def writer(self, request: Request, namespace: str, pod: str) -> None:
        """Let pass the pod itself.

        Raises:
            RefusalError: Who asks is not that pod.
        """
        identity = await self.identity(request)
        if not identity.pod_uid:
            raise RefusalError("Forbidden", f'the token of "{identity.username}" is not bound to a pod')
        if identity.pod_uid != pod or identity.namespace != namespace:
            raise RefusalError(
                "Forbidden",
                f'the token is of pod "{identity.pod_uid}" in namespace "{identity.namespace}" and writes '
                f"for no other",
            )


def _length(request: Request, limit: int) -> int:
    """Bytes that the body will have.

    Raises:
        RefusalError: It does not say, or they are too many.
    """
    said = request.headers.get("content-length", "")
    if not said or "transfer-encoding" in request.headers:
        raise RefusalError("LengthRequired", "say with Content-Length how many bytes the body has")
    if not (said.isascii() and said.isdigit() and len(said) < 19):  # noqa: PLR2004 - 64 bits
        raise RefusalError("BadRequest", "Content-Length is not a number")
    if int(said) > limit:
        raise RefusalError("TooLarge", f"the body has {int(said)} bytes, over the limit of {limit} bytes")
    return int(said)


def _router(service: Service) -> APIRouter:
    router = APIRouter(
        prefix="/v1/namespaces/{namespace}/runs/{run}/attempts/{attempt}",
        dependencies=[
            Depends(HTTPBearer(auto_error=False, description="A token for the server's audience."))
        ],
    )
    said: dict[int | str, str] = {
        400: "A part of the path, or the body, is not what it must be.",
        401: "No token, or none that the cluster knows for this audience.",
        403: "The token's owner may not do that.",
        503: "Store or cluster cannot be reached, or there is no room now: try again.",
        "default": "Anything else.",
    }
    refusals: dict[int | str, dict[str, Any]] = {
        code: {"model": Refused, "description": why} for code, why in said.items()
    }
    binary = {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}

    @router.put(
        "/pods/{pod}",
        status_code=201,
        operation_id="deliver",
        summary="Deliver a pod's results, once",
        response_model=Stored,
        responses={
            **refusals,
            200: {"model": Stored, "description": "The same was delivered before."},
            201: {"description": "Stored."},
            408: {"model": Refused, "description": "The body did not come in time."},
            409: {"model": Refused, "description": "The pod delivered something else before."},
            411: {"model": Refused, "description": "No Content-Length."},
            413: {"model": Refused, "description": "Over the limit; the body is not read."},
            429: {"model": Refused, "description": "Another body of the pod is being read: try again."},
        },
        openapi_extra={"requestBody": {"required": True, "content": binary}},
    )
    async def deliver(
        request: Request, namespace: Namespace, run: RunUid, attempt: Attempt, pod: PodUid
    ) -> Response:
        """Only with a token bound to this very pod. The same body a second time is answered with 200."""
        length = _length(request, service.limit)
        await service.writer(request, namespace, pod)
        place = Place(namespace, run, attempt)
        async with service.bodies.one_of(pod), service.bodies.room(length):
            body = await read_body(request, length)
            sha256, new = await service.store(lambda: service.results.put(place, pod, body))
        service.metrics.bytes.labels("in").inc(length)
        return JSONResponse({"sha256": sha256, "bytes": length}, 201 if new else 200)

    @router.get(
        "/pods/{pod}",
        operation_id="read",
        summary="Read what a pod delivered",
        response_class=Response,
        responses={
            **refusals,
            200: {"content": binary, "description": "The records; ETag is their SHA-256."},
            404: {"model": Refused, "description": "The pod delivered nothing (yet)."},
            500: {"model": Refused, "description": "Damaged: what is stored is not what was delivered."},
        },
    )
    async def read(
        request: Request, namespace: Namespace, run: RunUid, attempt: Attempt, pod: PodUid
    ) -> Response:
        """Needs `get` of `results.resultsfw.dev` in the namespace."""
        await service.reader(request, "get", namespace)
        place = Place(namespace, run, attempt)
        size = await service.store(lambda: service.results.size(place, pod))
        return _Stored(service, place, pod, size)

    @router.delete(
        "",
        status_code=204,
        operation_id="remove",
        summary="Remove what all pods of an attempt delivered",
        responses={**refusals, 204: {"description": "There is nothing, any more or never."}},
    )
    async def remove(request: Request, namespace: Namespace, run: RunUid, attempt: Attempt) -> Response:
        """Needs `delete` of `results.resultsfw.dev` in the namespace."""
        await service.reader(request, "delete", namespace)
        place = Place(namespace, run, attempt)
        await service.store(lambda: service.results.remove(place))
        return Response(status_code=204)

    return router


class _Stored(Response):
    """What a pod delivered, on its way out: where there is room in memory, and not for ever."""

    def __init__(self, service: Service, place: Place, pod: str, size: int) -> None:
        super().__init__()
        self._of = service, place, pod, size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        service, place, pod, size = self._of
        async with service.bodies.room(size):
            body, sha256 = await service.store(lambda: service.results.get(place, pod, most=service.limit))
            headers = {
                "Content-Type": MEDIA_TYPE,
                "Content-Length": str(len(body)),
                "ETag": f'"{sha256}"',
                "Cache-Control": "no-store",
            }
            raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": 200, "headers": raw})
            async with asyncio.timeout(SECONDS):  # who reads too slowly gets no end
                await send({"type": "http.response.body", "body": body})
        service.metrics.bytes.labels("out").inc(len(body))


def make_app(service: Service) -> "Framed":
    """The server's application."""
    app = FastAPI(
        title="resultsfw results server",
        description=_DESCRIPTION,
        version=metadata.version("resultsfw"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(_router(service))

    @app.get("/healthz", operation_id="healthz", summary="Whether the process works")
    async def healthz() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @app.get(
        "/readyz",
        operation_id="readyz",
        summary="Whether store and cluster can be asked",
        responses={503: {"description": "They cannot; the body says why."}},
    )
    async def readyz() -> PlainTextResponse:
        why = await service.ask(service.ready)
        return PlainTextResponse(f"{why}\n" if why else "ok\n", 503 if why else 200)

    @app.get("/metrics", operation_id="metrics", summary="For Prometheus")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.exception_handler(Exception)
    async def failed(request: Request, _error: Exception) -> Response:
        # Starlette raises it again behind the answer, so that it is logged.
        return await refused(request, RefusalError("Internal", "a fault of the server; see its log"))

    @app.exception_handler(RefusalError)
    async def refused(request: Request, error: RefusalError) -> Response:
        request.state.code = error.code
        return JSONResponse(
            {"code": error.code, "message": error.message}, error.status, headers=error.headers
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # What was given may be anything, and is not said again.
        names = ", ".join(str(one["loc"][-1]) for one in error.errors())
        return await refused(request, RefusalError("BadRequest", f"not what it must be: {names}"))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        code, message = _UNKNOWN.get(error.status_code, ("BadRequest", "that cannot be asked"))
        answer = await refused(request, RefusalError(code, message))
        answer.headers.update(error.headers or {})
        return answer

    return Framed(app, service)


_UNKNOWN: Final = {
    404: ("NotFound", "there is no such path; /openapi.json says which there are"),
    405: ("MethodNotAllowed", "that cannot be done with this path; /openapi.json says what can"),
}


class Framed:
    """The application, with what every request for results has around it: log, metrics, a good end.

    Whoever's body is not read is told so at once, and what still comes of it is thrown away for a moment:
    a connection that is closed while its client writes would take the answer with it.
    """

    def __init__(self, app: FastAPI, service: Service) -> None:
        self.app = app
        self._service = service

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
            log.warning("an answer was not taken within %.0f s", SECONDS)
            raise ConnectionResetError from None
        except Exception:
            log.exception("a fault of the server")
        finally:
            if scope["path"].startswith("/v1/"):
                self._note(scope, exchange.status, time.monotonic() - began)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        verb = {"PUT": "put", "GET": "get", "DELETE": "delete"}.get(scope["method"], "other")
        code = scope.get("state", {}).get("code", "")
        metrics = self._service.metrics
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
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                while self._unread and left > 0:
                    left -= len((await self.receive()).get("body", b""))
        except TimeoutError:
            pass


def openapi() -> dict[str, Any]:
    """The OpenAPI document, without a server."""

    class Nobody:
        def review(self, token: str) -> Identity | None:  # noqa: ARG002 - nobody asks
            return None

        def allows(self, identity: Identity, verb: str, namespace: str) -> bool:  # noqa: ARG002 - likewise
            return False

    service = Service(results=Results(None, None), reviewer=Nobody(), limit=0)
    return make_app(service).app.openapi()
