"""What the server is asked: paths, who may, in which order things are looked at, and how it is refused."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from resultsfw.server.bodies import Bodies, Lease, read_body, transfer
from resultsfw.server.connections import Connections
from resultsfw.server.exchange import Framed
from resultsfw.server.metrics import Metrics
from resultsfw.server.refusals import RefusalError
from resultsfw.server.review import Identity, Reviewer
from resultsfw.server.runs import Runs
from resultsfw.server.store import Place, Results
from resultsfw.server.turns import Turns

__all__ = ["MEDIA_TYPE", "Service", "make_app", "openapi"]

MEDIA_TYPE: Final = "application/vnd.resultsfw.records+json-lines"
"""Records of a results sidecar, one JSON object a line (``resultsfw_sidecar.wire``)."""

RUN_HEADER: Final = "Resultsfw-Run"
"""The run's name: to ask the cluster for the run, where the server does."""

_TOKEN_BYTES: Final = 32 * 1024
_THREADS: Final = 8

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
RunName = Annotated[
    str,
    Header(
        alias=RUN_HEADER,
        description="The run's metadata.name; needed where the server asks the cluster for the run.",
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
    ),
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
        runs: Knows whether a run exists; none: deliveries for any run are taken.
        connections: Those of the port for results, for the metrics.
    """

    results: Results
    reviewer: Reviewer
    limit: int
    runs: Runs | None = None
    connections: Connections = field(default_factory=lambda: Connections(1000, 64))
    bodies: Bodies = field(init=False)
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        self.bodies = Bodies(self.limit)
        self.metrics = Metrics(lambda: self.bodies.taken, self.connections, self.results.usage)
        # Two, so that a cluster that does not answer holds up no store, and the other way round.
        self._asking = ThreadPoolExecutor(_THREADS, thread_name_prefix="review")
        self._storing = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        # No client and no namespace has all threads, and none fills the queue before them.
        self._questions = Turns(_THREADS // 2 - 1, 64, 10, "client")
        self._stores = Turns(_THREADS // 2, 128, 10, "namespace")
        self.deliveries = Turns(32, 96, 5, "namespace")
        self.reads = Turns(8, 32, 5, "namespace")

    async def ask(self, request: Request, call: Callable[..., _Answer], *args: Any) -> _Answer:
        """Call what asks the cluster."""
        async with self._questions.turn(request.client.host if request.client else ""):
            return await asyncio.get_running_loop().run_in_executor(self._asking, call, *args)

    async def store(self, namespace: str, call: Callable[[], _Answer]) -> _Answer:
        """Call what works on the store."""
        async with self._stores.turn(namespace):
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
        known, identity = self.reviewer.known(token)
        if not known:
            identity = await self.ask(request, self.reviewer.review, token)
        if identity is None:
            raise RefusalError("Unauthenticated", "the token is not valid, or not for this audience")
        return identity

    async def reader(self, request: Request, verb: str, namespace: str) -> None:
        """Let pass who may do that.

        Raises:
            RefusalError: Who asks may not.
        """
        identity = await self.identity(request)
        if not await self.ask(request, self.reviewer.allows, identity, verb, namespace):
            raise RefusalError(
                "Forbidden",
                f'"{identity.username}" may not {verb} results.resultsfw.dev in namespace "{namespace}"',
            )
        _hold(request)

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
        _hold(request)

    async def check_run(self, request: Request, place: Place, name: str) -> None:
        """Refuse a delivery for a run that does not exist, where that can be asked.

        Raises:
            RefusalError: There is no such run.
        """
        if self.runs is None:
            return
        if not name:
            raise RefusalError(
                "NoSuchRun",
                f"results are taken of runs that exist, and the request does not name its run "
                f"({RUN_HEADER}): the results sidecar is older than the results server",
            )
        if not await self.ask(request, self.runs.exists, place.namespace, name, place.run):
            raise RefusalError(
                "NoSuchRun",
                f'there is no TaskRun "{name}" with uid "{place.run}" in namespace "{place.namespace}"',
            )


def _hold(request: Request) -> None:
    """Keep the connection of a known client: it is not closed to make room for others."""
    connection = request.scope.get("state", {}).get("connection")
    if connection is not None:
        connection.held = True


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
        429: "Too many requests of this client or namespace at once: try again.",
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
            404: {"model": Refused, "description": "There is no such run, where the server asks for it."},
            507: {"model": Refused, "description": "The namespace is over its quota of stored bytes."},
        },
        openapi_extra={"requestBody": {"required": True, "content": binary}},
    )
    async def deliver(  # noqa: PLR0917 - FastAPI passes them by name
        request: Request,
        namespace: Namespace,
        run: RunUid,
        attempt: Attempt,
        pod: PodUid,
        name: RunName = "",
    ) -> Response:
        """Only with a token bound to this very pod. The same body a second time is answered with 200."""
        length = _length(request, service.limit)
        await service.writer(request, namespace, pod)
        place = Place(namespace, run, attempt)
        await service.check_run(request, place, name)
        bodies, results = service.bodies, service.results
        async with bodies.one_of(namespace, pod), service.deliveries.turn(namespace):
            await service.store(namespace, lambda: results.admit(place, pod, length))
            async with bodies.lease(namespace) as lease:
                body = await read_body(request, length, bodies, lease)
                sha256, new = await service.store(namespace, lambda: results.put(place, pod, body, name))
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
        size = await service.store(namespace, lambda: service.results.size(place, pod))
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
        await service.store(namespace, lambda: service.results.remove(place))
        return Response(status_code=204)

    return router


class _Stored(Response):
    """What a pod delivered, on its way out: where there is room in memory, and not for ever."""

    def __init__(self, service: Service, place: Place, pod: str, size: int) -> None:
        super().__init__()
        self._of = service, place, pod, size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        service, place, _, size = self._of
        async with (
            service.reads.turn(place.namespace),
            service.bodies.lease(place.namespace) as lease,
        ):
            await service.bodies.take(lease, size)
            await self._hand_out(lease, send)

    async def _hand_out(self, lease: Lease, send: Send) -> None:
        service, place, pod, _ = self._of
        body, sha256 = await service.store(
            place.namespace, lambda: service.results.get(place, pod, most=service.limit)
        )
        headers = {
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(body)),
            "ETag": f'"{sha256}"',
            "Cache-Control": "no-store",
        }
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        async with transfer(lease):  # who reads too slowly gets no end
            await send({"type": "http.response.body", "body": body})
        service.metrics.bytes.labels("out").inc(len(body))


def make_app(service: Service) -> Framed:
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

    return Framed(app, service.metrics)


_UNKNOWN: Final = {
    404: ("NotFound", "there is no such path; /openapi.json says which there are"),
    405: ("MethodNotAllowed", "that cannot be done with this path; /openapi.json says what can"),
}


def openapi() -> dict[str, Any]:
    """The OpenAPI document, without a server."""

    class Nobody:
        def known(self, token: str) -> tuple[bool, Identity | None]:  # noqa: ARG002 - nobody asks
            return True, None

        def review(self, token: str) -> Identity | None:  # noqa: ARG002 - nobody asks
            return None

        def allows(self, identity: Identity, verb: str, namespace: str) -> bool:  # noqa: ARG002 - likewise
            return False

    service = Service(results=Results(None, None), reviewer=Nobody(), limit=0)
    return make_app(service).app.openapi()
