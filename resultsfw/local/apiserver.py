"""Serves what backends use to the containers of pods, as an API server, over HTTP on 127.0.0.1.

These are ConfigMaps by name, and patches of the status of TaskRuns and of RunResults.

Requests are authenticated by the tokens of pods (`resultsfw.local.tokens`) and authorized by the Roles and
RoleBindings in the store, with the error messages of an API server. So the Role of a backend can be tested
without a cluster.
"""

import json
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from resultsfw.cluster import CONFIG_MAPS, PODS, Kind, Object
from resultsfw.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotFoundError,
)
from resultsfw.local import tokens
from resultsfw.local.rbac import allowed
from resultsfw.local.store import RequestTooLargeError, Store
from resultsfw.tekton.api.kinds import TASKRUNS

__all__ = ["ENV_SCHEME", "ApiServer"]

ENV_SCHEME: Final = "RESULTSFW_API_SCHEME"
"""Environment variable that is "http" in the containers of this engine: the server has no certificate."""

_BODY: Final = 3 * 1024 * 1024
"""Limit of a request's body, as in an API server."""

_MERGE_PATCH: Final = "application/merge-patch+json"
_PATH: Final = re.compile(
    r"/(?:api|apis/([^/]+))/[^/]+(?:/namespaces/([^/]+))?/([^/]+)(?:/([^/]+))?(?:/([^/]+))?"
)
_VERBS: Final = {"GET": "get", "PATCH": "patch", "PUT": "update", "POST": "create", "DELETE": "delete"}
_SERVED: Final = {
    ("", "configmaps"): (CONFIG_MAPS, ("GET", "PATCH", "PUT")),
    ("resultsfw.dev", "runresults/status"): (
        Kind("resultsfw.dev", "v1alpha1", "runresults", "RunResult"),
        ("PATCH",),
    ),
    ("tekton.dev", "taskruns/status"): (TASKRUNS, ("PATCH",)),
}
"""Kind and methods by API group and resource."""
_REASONS: Final = {
    HTTPStatus.UNAUTHORIZED: "Unauthorized",
    HTTPStatus.FORBIDDEN: "Forbidden",
    HTTPStatus.NOT_FOUND: "NotFound",
    HTTPStatus.METHOD_NOT_ALLOWED: "MethodNotAllowed",
    HTTPStatus.CONFLICT: "Conflict",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestEntityTooLarge",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "UnsupportedMediaType",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Invalid",
    HTTPStatus.BAD_REQUEST: "BadRequest",
}


class ApiServer:
    """Serves a store from the first call of `variables` until it is closed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def variables(self) -> dict[str, str]:
        """Start the server and return the environment variables by which containers find it.

        Raises:
            OSError: The server cannot be started.
        """
        with self._lock:
            if self._server is None:
                handler = type("Handler", (_Handler,), {"store": self._store})
                self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
                self._server.daemon_threads = True
                self._thread = threading.Thread(
                    target=self._server.serve_forever,
                    kwargs={"poll_interval": 0.05},
                    name="resultsfw-apiserver",
                    daemon=True,
                )
                self._thread.start()
            host, port = self._server.server_address[:2]
        return {
            "KUBERNETES_SERVICE_HOST": str(host),
            "KUBERNETES_SERVICE_PORT": str(port),
            ENV_SCHEME: "http",
        }

    def close(self) -> None:
        """Stop the server."""
        with self._lock:
            if self._server is not None and self._thread is not None:
                self._server.shutdown()
                self._server.server_close()
                self._thread.join()
                self._server = self._thread = None


class _Refused(Exception):  # noqa: N818 - a response
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class _Handler(BaseHTTPRequestHandler):
    store: Store
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PATCH = do_PUT = do_DELETE = do_GET  # noqa: N815 - named by http.server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named by http.server
        """Log nothing."""

    def _serve(self) -> None:
        try:
            status, answer = HTTPStatus.OK, self._handle()
        except _Refused as refused:
            status, answer = refused.status, _status(refused.status, refused.message)
        except ClusterError as error:
            status = _status_of(error)
            answer = _status(status, error.message)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _handle(self) -> Object:
        """Authenticate, authorize, look up and validate, in the order of an API server."""
        body = self._body()
        token = self._caller()
        match = _PATH.fullmatch(self.path.partition("?")[0])
        if match is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "the server could not find the requested resource")
        group, namespace, plural, name, subresource = (part or "" for part in match.groups())
        resource = f"{plural}/{subresource}" if subresource else plural
        verb = _VERBS[self.command] if name or self.command != "GET" else "list"
        is_allowed = allowed(
            self.store, token, verb, group=group, namespace=namespace, resource=resource, name=name
        )
        if not is_allowed:
            qualified = f"{plural}.{group}" if group else plural
            raise _Refused(
                HTTPStatus.FORBIDDEN,
                f'{qualified} "{name}" is forbidden: User "{token.user}" cannot {verb} resource "{resource}" '
                f'in API group "{group}" in the namespace "{namespace}"',
            )
        kind, methods = _SERVED.get((group, resource), (CONFIG_MAPS, ()))
        if not name or self.command not in methods:
            raise _Refused(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "the local engine serves only get, patch and put of ConfigMaps by name, and patch of the "
                "status of TaskRuns and RunResults",
            )
        if self.command == "GET":
            return self.store.get(kind, namespace, name)
        given = _decoded(body)
        if self.command == "PUT":
            return self.store.replace(kind, namespace, name, given)
        if (media := self.headers.get("Content-Type", "")) != _MERGE_PATCH:
            raise _Refused(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"the body of the request was in an unknown format ({media}); here it must be {_MERGE_PATCH}",
            )
        return self.store.patch(kind, namespace, name, given, subresource=subresource)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit():
            self.close_connection = True
            raise _Refused(HTTPStatus.BAD_REQUEST, "Content-Length is not a number")
        if int(length) > _BODY:
            self.close_connection = True
            left = int(length)
            while left > 0 and (piece := self.rfile.read(min(left, 65_536))):
                left -= len(piece)  # a client that still sends would not read the response
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Request entity too large: limit is {_BODY}")
        return self.rfile.read(int(length))

    def _caller(self) -> tokens.Token:
        """Return the caller's token; it is valid while its pod exists with the same service account."""
        scheme, _, text = self.headers.get("Authorization", "").partition(" ")
        token = tokens.read(text.strip()) if scheme == "Bearer" else None
        if token is not None and not token.audience:
            try:
                pod = self.store.get(PODS, token.namespace, token.pod)
            except NotFoundError:
                pod = None
            if pod is not None and tokens.token_of(pod) == token:
                return token
        raise _Refused(HTTPStatus.UNAUTHORIZED, "Unauthorized")


def _decoded(body: bytes) -> Object:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict) or not isinstance(given.get("metadata", {}), dict):
        raise _Refused(HTTPStatus.BAD_REQUEST, "the body of the request is not an object")
    return given


def _status_of(error: ClusterError) -> HTTPStatus:
    if isinstance(error, NotFoundError):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, ConflictError | AlreadyExistsError):
        return HTTPStatus.CONFLICT
    if isinstance(error, RequestTooLargeError):
        return HTTPStatus.INTERNAL_SERVER_ERROR
    return HTTPStatus.UNPROCESSABLE_ENTITY


def _status(code: HTTPStatus, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(code, "InternalError"),
        "code": int(code),
    }
