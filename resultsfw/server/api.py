"""The endpoints of the results server, in the order of their checks, and their refusals."""

from importlib import metadata
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Header, Path, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from resultsfw.server.body_capacity import Allocation, read_body, transfer
from resultsfw.server.middleware import RequestMiddleware
from resultsfw.server.object_results import ObjectResults
from resultsfw.server.refusals import RefusalError
from resultsfw.server.review import Identity
from resultsfw.server.service import RUN_HEADER, Service
from resultsfw.server.store import AttemptKey

__all__ = ["MEDIA_TYPE", "Service", "make_app", "openapi"]

MEDIA_TYPE: Final = "application/vnd.resultsfw.records+json-lines"
"""Records of a results sidecar, one JSON object a line (``resultsfw_sidecar.wire``)."""

_DESCRIPTION: Final = """\
Stores what the results sidecar of a pod delivers until the controller has read it.

A pod writes once, with a token that is bound to it. Reading and removing require the permissions `get` and
`delete` of `results.resultsfw.dev` in the run's namespace. Tokens must have the server's audience.
"""

Namespace = Annotated[
    str, Path(description="The namespace of run and pod.", pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
]
RunUid = Annotated[
    str, Path(description="The run's metadata.uid.", pattern=r"^[A-Za-z0-9][-A-Za-z0-9_]{0,127}$")
]
Attempt = Annotated[
    int, Path(description="0 for the first attempt, one more for each retry.", ge=0, le=1_000_000)
]
PodUid = Annotated[
    str, Path(description="The pod's metadata.uid.", pattern=r"^[A-Za-z0-9][-A-Za-z0-9_]{0,127}$")
]
RunName = Annotated[
    str,
    Header(
        alias=RUN_HEADER,
        description="The run's metadata.name; required if the server checks that the run exists.",
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
    ),
]


class Refused(BaseModel):
    """Why a request is refused."""

    code: str
    message: str


class Stored(BaseModel):
    """The digest and size of a stored delivery."""

    sha256: str
    bytes: int


def _length(request: Request, limit: int) -> int:
    """Return the Content-Length of a request.

    Raises:
        RefusalError: There is none, or it is over the limit.
    """
    length = request.headers.get("content-length", "")
    if not length or "transfer-encoding" in request.headers:
        raise RefusalError("LengthRequired", "the header Content-Length is required")
    if not (length.isascii() and length.isdigit() and len(length) < 19):  # noqa: PLR2004 - 64 bits
        raise RefusalError("BadRequest", "Content-Length is not a number")
    if int(length) > limit:
        raise RefusalError("TooLarge", f"the body has {int(length)} bytes, over the limit of {limit} bytes")
    return int(length)


def _router(service: Service) -> APIRouter:
    router = APIRouter(
        prefix="/v1/namespaces/{namespace}/runs/{run}/attempts/{attempt}",
        dependencies=[
            Depends(HTTPBearer(auto_error=False, description="A token with the server's audience."))
        ],
    )
    descriptions: dict[int | str, str] = {
        400: "A part of the path, or the body, is invalid.",
        401: "No token, or not a valid one for this audience.",
        403: "The user of the token may not do that.",
        429: "Too many requests of this client or namespace at once: try again.",
        503: "The store or the API server cannot be reached, or the server has no capacity now: try again.",
        "default": "Any other refusal.",
    }
    refusals: dict[int | str, dict[str, Any]] = {
        code: {"model": Refused, "description": why} for code, why in descriptions.items()
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
            200: {"model": Stored, "description": "The same body was delivered before."},
            201: {"description": "Stored."},
            408: {"model": Refused, "description": "The body did not arrive in time."},
            409: {"model": Refused, "description": "The pod delivered something else before."},
            411: {"model": Refused, "description": "No Content-Length."},
            413: {"model": Refused, "description": "Over the limit; the body is not read."},
            404: {"model": Refused, "description": "There is no such run, if the server checks that."},
            507: {"model": Refused, "description": "The namespace would exceed its quota of stored bytes."},
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
        """Requires a token that is bound to this pod. The same body a second time is answered with 200."""
        length = _length(request, service.limit)
        await service.writer(request, namespace, pod)
        attempt_key = AttemptKey(namespace, run, attempt)
        await service.check_run(request, attempt_key, name)
        bodies, results = service.bodies, service.results
        async with bodies.exclusive(namespace, pod), service.deliveries.slot(namespace):
            await service.store(namespace, lambda: results.admit(attempt_key, pod, length))
            async with bodies.allocation(namespace) as allocation:
                body = await read_body(request, length, bodies, allocation)
                digest, new = await service.store(
                    namespace, lambda: results.put(attempt_key, pod, body, name)
                )
        service.metrics.delivered.observe(length)
        return JSONResponse({"sha256": digest, "bytes": length}, 201 if new else 200)

    @router.get(
        "/pods/{pod}",
        operation_id="read",
        summary="Read what a pod delivered",
        response_class=Response,
        responses={
            **refusals,
            200: {"content": binary, "description": "The records; ETag is their SHA-256."},
            404: {"model": Refused, "description": "The pod delivered nothing (yet)."},
            500: {"model": Refused, "description": "The stored results are damaged."},
        },
    )
    async def read(
        request: Request, namespace: Namespace, run: RunUid, attempt: Attempt, pod: PodUid
    ) -> Response:
        """Requires `get` of `results.resultsfw.dev` in the namespace."""
        await service.reader(request, "get", namespace)
        attempt_key = AttemptKey(namespace, run, attempt)
        size = await service.store(namespace, lambda: service.results.size(attempt_key, pod))
        return _Download(service, attempt_key, pod, size)

    @router.delete(
        "",
        status_code=204,
        operation_id="remove",
        summary="Remove what all pods of an attempt delivered",
        responses={**refusals, 204: {"description": "There are no results, any more or ever."}},
    )
    async def remove(request: Request, namespace: Namespace, run: RunUid, attempt: Attempt) -> Response:
        """Requires `delete` of `results.resultsfw.dev` in the namespace."""
        await service.reader(request, "delete", namespace)
        attempt_key = AttemptKey(namespace, run, attempt)
        await service.store(namespace, lambda: service.results.remove(attempt_key))
        return Response(status_code=204)

    return router


class _Download(Response):
    """The response with a pod's results: sent once there is capacity, and with a timeout."""

    def __init__(self, service: Service, attempt_key: AttemptKey, pod: str, size: int) -> None:
        super().__init__()
        self._of = service, attempt_key, pod, size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        service, attempt_key, _, size = self._of
        async with (
            service.reads.slot(attempt_key.namespace),
            service.bodies.allocation(attempt_key.namespace) as allocation,
        ):
            await service.bodies.allocate(allocation, size)
            await self._send_results(allocation, send)

    async def _send_results(self, allocation: Allocation, send: Send) -> None:
        service, attempt_key, pod, _ = self._of
        body, sha256 = await service.store(
            attempt_key.namespace, lambda: service.results.get(attempt_key, pod, most=service.limit)
        )
        headers = {
            "Content-Type": MEDIA_TYPE,
            "Content-Length": str(len(body)),
            "ETag": f'"{sha256}"',
            "Cache-Control": "no-store",
        }
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": raw})
        async with transfer(allocation):  # a client that reads too slowly gets an incomplete response
            await send({"type": "http.response.body", "body": body})
        service.metrics.sent.observe(len(body))


def make_app(service: Service) -> RequestMiddleware:
    """Return the ASGI application."""
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
        # Starlette raises it again after the response, so that it is logged.
        return await refused(request, RefusalError("Internal", "internal error; see the server's log"))

    @app.exception_handler(RefusalError)
    async def refused(request: Request, error: RefusalError) -> Response:
        request.state.code = error.code
        return JSONResponse(
            {"code": error.code, "message": error.message}, error.status, headers=error.headers
        )

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # The invalid input may be anything, so it is not repeated.
        names = ", ".join(str(problem["loc"][-1]) for problem in error.errors())
        return await refused(request, RefusalError("BadRequest", f"invalid: {names}"))

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        code, message = _UNKNOWN.get(error.status_code, ("BadRequest", "invalid request"))
        answer = await refused(request, RefusalError(code, message))
        answer.headers.update(error.headers or {})
        return answer

    return RequestMiddleware(app, service.metrics)


_UNKNOWN: Final = {
    404: ("NotFound", "there is no such path; /openapi.json has all paths"),
    405: ("MethodNotAllowed", "this path does not allow that method; /openapi.json has those it allows"),
}


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document, without a running server."""

    class Nobody:
        def known(self, token: str) -> tuple[bool, Identity | None]:  # noqa: ARG002 - nobody asks
            return True, None

        def review(self, token: str) -> Identity | None:  # noqa: ARG002 - nobody asks
            return None

        def allows(self, identity: Identity, verb: str, namespace: str) -> bool:  # noqa: ARG002 - likewise
            return False

    service = Service(results=ObjectResults(None, None), reviewer=Nobody(), limit=0)
    return make_app(service).app.openapi()
