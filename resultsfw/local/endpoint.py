"""A small API server on 127.0.0.1 for the containers of pods: ConfigMaps by name, in plain HTTP.

It knows callers by the tokens of their pods (`resultsfw.local.tokens`) and lets them do what Roles and
RoleBindings in the store grant, in the words of an API server; so a backend's Role is proved where there is
no cluster.
"""

import json
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from resultsfw.cluster import CONFIG_MAPS, PODS, Object
from resultsfw.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotFoundError,
)
from resultsfw.local import tokens
from resultsfw.local.rbac import allowed
from resultsfw.local.store import RequestTooLargeError, Store

__all__ = ["ENV_SCHEME", "Endpoint"]

ENV_SCHEME: Final = "RESULTSFW_API_SCHEME"
"""Variable that is "http" in containers of this engine: the server has no certificate."""

_BODY: Final = 3 * 1024 * 1024
"""Bytes of a request that an API server reads at most."""

_MERGE_PATCH: Final = "application/merge-patch+json"
_PATH: Final = re.compile(r"/(?:api|apis/([^/]+))/[^/]+(?:/namespaces/([^/]+))?/([^/]+)(?:/([^/]+))?")
_VERBS: Final = {"GET": "get", "PATCH": "patch", "PUT": "update", "POST": "create", "DELETE": "delete"}
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


class Endpoint:
    """Serves a store from the first time its address is asked for. Close it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def variables(self) -> dict[str, str]:
        """What containers have in their environment to find it, as in a cluster; starts it.

        Raises:
            OSError: It cannot be started.
        """
        with self._lock:
            if self._server is None:
                handler = type("Handler", (_Handler,), {"store": self._store})
                self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
                self._server.daemon_threads = True
                self._thread = threading.Thread(
                    target=self._server.serve_forever,
                    kwargs={"poll_interval": 0.05},
                    name="resultsfw-endpoint",
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
        """Serve no more."""
        with self._lock:
            if self._server is not None and self._thread is not None:
                self._server.shutdown()
                self._server.server_close()
                self._thread.join()
                self._server = self._thread = None


class _Refused(Exception):  # noqa: N818 - an answer
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
        """Nothing."""

    def _serve(self) -> None:
        try:
            status, answer = HTTPStatus.OK, self._answer_to()
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

    def _answer_to(self) -> Object:
        """Who, may he, is it there, does it make sense: in the order of an API server."""
        body = self._body()
        token = self._caller()
        asked = _PATH.fullmatch(self.path.partition("?")[0])
        if asked is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "the server could not find the requested resource")
        group, namespace, resource, name = (one or "" for one in asked.groups())
        verb = _VERBS[self.command] if name or self.command != "GET" else "list"
        granted = not group and allowed(
            self.store, token, verb, namespace=namespace, resource=resource, name=name
        )
        if not granted:
            raise _Refused(
                HTTPStatus.FORBIDDEN,
                f'{resource} "{name}" is forbidden: User "{token.user}" cannot {verb} resource "{resource}" '
                f'in API group "{group}" in the namespace "{namespace}"',
            )
        if resource != CONFIG_MAPS.plural or not name or self.command in ("POST", "DELETE"):
            raise _Refused(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "the engine with no cluster serves ConfigMaps by name, to get, patch and put",
            )
        if self.command == "GET":
            return self.store.get(CONFIG_MAPS, namespace, name)
        given = _decoded(body)
        if self.command == "PUT":
            return self.store.replace(CONFIG_MAPS, namespace, name, given)
        if (media := self.headers.get("Content-Type", "")) != _MERGE_PATCH:
            raise _Refused(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"the body of the request was in an unknown format ({media}); here it must be {_MERGE_PATCH}",
            )
        return self.store.patch(CONFIG_MAPS, namespace, name, given)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit():
            self.close_connection = True
            raise _Refused(HTTPStatus.BAD_REQUEST, "Content-Length is no number")
        if int(length) > _BODY:
            self.close_connection = True
            left = int(length)
            while left > 0 and (piece := self.rfile.read(min(left, 65_536))):
                left -= len(piece)  # a caller that still sends would not hear why
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"Request entity too large: limit is {_BODY}")
        return self.rfile.read(int(length))

    def _caller(self) -> tokens.Token:
        """Whose the request is: a token is good while its pod is there, and has that service account."""
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
        raise _Refused(HTTPStatus.BAD_REQUEST, "the body of the request is no object")
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
