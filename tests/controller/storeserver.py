"""A real HTTP API server on loopback, over the store of `resultsfw.local`, with faults on request.

It knows what the controller asks for: get, list and watch (label by presence, fields by name,
resourceVersion, 410), create, merge patch and update with conflicts, delete, logs, access reviews.
"""

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from resultsfw.cluster import Kind
from resultsfw.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ObjectTooLargeError,
    UnavailableError,
)
from resultsfw.local.store import Store

KINDS = {
    "pods": "Pod",
    "configmaps": "ConfigMap",
    "events": "Event",
    "taskruns": "TaskRun",
    "tasks": "Task",
    "leases": "Lease",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "nodes": "Node",
    "serviceaccounts": "ServiceAccount",
    "customresourcedefinitions": "CustomResourceDefinition",
}
STATUS = {
    NotFoundError: (404, "NotFound"),
    AlreadyExistsError: (409, "AlreadyExists"),
    ConflictError: (409, "Conflict"),
    ForbiddenError: (403, "Forbidden"),
    ObjectTooLargeError: (413, "RequestEntityTooLarge"),
    UnavailableError: (500, "InternalError"),
}
Fault = Callable[[str, str], int | None]


class ApiServer:
    """Serves a store. ``down`` and ``up`` make it vanish and return under the same port."""

    def __init__(self) -> None:
        self.store = Store()
        self.requests: Counter[str] = Counter()
        self.denied: set[str] = set()
        """What an access review refuses: ``get pods/log``."""
        self.impersonators: set[str] = set()
        """As whom others may act."""
        self.acted: dict[str, set[str]] = {}
        """As whom each kind was asked for; "": as oneself."""
        self.faults: list[list[Any]] = []
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.port = 0
        self._server: ThreadingHTTPServer | None = None
        self.up()

    def up(self) -> None:
        api = self

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True
            request_queue_size = 64

            def process_request(self, request: Any, client_address: Any) -> None:
                with api._lock:
                    api._connections.add(request)
                super().process_request(request, client_address)

            def shutdown_request(self, request: Any) -> None:
                with api._lock:
                    api._connections.discard(request)
                super().shutdown_request(request)

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", self.port), type("Handler", (Handler,), {"api": self}))
        self.port = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        ).start()

    def down(self) -> None:
        assert self._server is not None
        self._server.shutdown()
        self._server.server_close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection there is: watches end in the middle."""
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def fail(self, method: str, part: str, status: int, times: int) -> None:
        """Answer the next requests of a method whose path has a part with an error instead."""
        with self._lock:
            self.faults.append([method, part, status, times])

    def fault(self, method: str, path: str) -> int | None:
        with self._lock:
            for one in self.faults:
                if one[0] == method and one[1] in path and one[3] > 0:
                    one[3] -= 1
                    return int(one[2])
        return None

    def kubeconfig(self, path: Any) -> Any:
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
                    "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
                    "users": [{"name": "test", "user": {"token": "t"}}],
                }
            )
        )
        return path


class Handler(BaseHTTPRequestHandler):
    api: ApiServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_PATCH(self) -> None:
        self._serve("PATCH")

    def do_PUT(self) -> None:
        self._serve("PUT")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def _serve(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if status := self.api.fault(method, url.path):
            self._answer(status, {"kind": "Status", "message": "a fault", "reason": _reason(status)})
            return
        try:
            answer = self._route(method, url.path, query, body)
        except ClusterError as error:
            status, reason = STATUS.get(type(error), (422, "Invalid"))
            self._answer(status, {"kind": "Status", "message": error.message, "reason": reason})
            return
        if answer is not None:
            self._answer(201 if method == "POST" else 200, answer)

    def _route(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        parts = path.strip("/").split("/")
        group, rest = ("", parts[2:]) if parts[0] == "api" else (parts[1], parts[3:])
        version = parts[1] if parts[0] == "api" else parts[2]
        namespace: str | None = None
        if rest and rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural = rest[0] if rest else ""
        self._act_as(self.headers.get("Impersonate-User", ""), plural)
        if plural == "selfsubjectaccessreviews":
            return self._review(body)
        if plural not in KINDS:
            raise NotFoundError(f"no {path}")
        kind = Kind(group, version, plural, KINDS[plural])
        name, subresource = ([*rest[1:], "", ""])[:2]
        self.api.requests[f"{method} {plural}" + (f"/{subresource}" if subresource else "")] += 1
        store = self.api.store
        if method == "GET" and not name:
            return self._list(kind, namespace, query)
        if method == "GET" and subresource == "log":
            self._log(namespace or "", name, query)
            return None
        where = namespace or "default"
        if method == "GET":
            return store.get(kind, where, name)
        if method == "POST":
            body.setdefault("metadata", {}).setdefault("namespace", where)
            return store.create(kind, body)
        if method == "PATCH":
            return store.patch(kind, where, name, body, subresource=subresource)
        if method == "PUT":
            store.get(kind, where, name)
            return store.patch(kind, where, name, body)
        store.delete(kind, where, name, grace_seconds=body.get("gracePeriodSeconds"))
        return {"kind": "Status", "status": "Success"}

    def _act_as(self, user: str, plural: str) -> None:
        if user and user not in self.api.impersonators:
            raise ForbiddenError(f'users "{user}" is forbidden: User "test" cannot impersonate it')
        self.api.acted.setdefault(plural, set()).add(user)

    def _review(self, body: Any) -> Any:
        asked = body["spec"]["resourceAttributes"]
        resource = asked["resource"] + (f"/{asked['subresource']}" if asked.get("subresource") else "")
        return {**body, "status": {"allowed": f"{asked['verb']} {resource}" not in self.api.denied}}

    def _wanted(self, obj: Any, query: dict[str, str], namespace: str | None) -> bool:
        metadata = obj["metadata"]
        if namespace not in (None, metadata["namespace"]):
            return False
        if (label := query.get("labelSelector")) and label not in (metadata.get("labels") or {}):
            return False
        field = query.get("fieldSelector", "")
        return not field or field == f"metadata.name={metadata['name']}"

    def _list(self, kind: Kind, namespace: str | None, query: dict[str, str]) -> Any:
        if query.get("watch") in ("1", "true", "True"):
            self._watch(kind, namespace, query)
            return None
        with self.api.store._lock:
            version = self.api.store._version
            items = self.api.store.list(kind, namespace)
        items = [one for one in items if self._wanted(one, query, namespace)]
        for one in items:
            if not kind.group:
                one.pop("kind"), one.pop("apiVersion")
        return {
            "kind": f"{kind.kind}List",
            "apiVersion": kind.api_version,
            "metadata": {"resourceVersion": str(version)},
            "items": items,
        }

    def _watch(self, kind: Kind, namespace: str | None, query: dict[str, str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        end = time.monotonic() + float(query.get("timeoutSeconds") or 300)
        try:
            try:
                watch = self.api.store.watch(kind, since=query.get("resourceVersion") or None)
            except ClusterError as error:
                gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": error.message}
                self._chunk({"type": "ERROR", "object": gone})
                return
            with watch:
                while time.monotonic() < end:
                    event = watch.get(timeout=0.5)
                    if event is not None and self._wanted(event[1], query, namespace):
                        self._chunk({"type": event[0], "object": event[1]})
                    elif event is None and self.connection.fileno() < 0:
                        return
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def _chunk(self, value: Any) -> None:
        line = json.dumps(value).encode() + b"\n"
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()

    def _log(self, namespace: str, name: str, query: dict[str, str]) -> None:
        pieces = self.api.store.read_log(
            namespace, name, query.get("container", ""), limit=int(query.get("limitBytes") or 1 << 30)
        )
        body = b"".join(pieces)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)


def _reason(status: int) -> str:
    return {409: "Conflict", 429: "TooManyRequests", 403: "Forbidden"}.get(status, "InternalError")
