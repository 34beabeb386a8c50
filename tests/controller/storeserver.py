"""A real HTTP API server on loopback, over the store of `resultsfw.local`, with the faults of `faults`.

It knows what the controller asks for: get, list in pages and watch (label by presence, fields by name,
resourceVersion, bookmarks, 410), create, merge patch and update with conflicts, delete, logs, access reviews.
"""

import contextlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml
from faults import Faults

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
from resultsfw.kube.store import matches_selector
from resultsfw.local.store import Store
from resultsfw.local.watch import Watch

KINDS = {
    "pods": "Pod",
    "configmaps": "ConfigMap",
    "events": "Event",
    "pipelineruns": "PipelineRun",
    "pipelines": "Pipeline",
    "taskruns": "TaskRun",
    "tasks": "Task",
    "leases": "Lease",
    "persistentvolumeclaims": "PersistentVolumeClaim",
    "nodes": "Node",
    "customresourcedefinitions": "CustomResourceDefinition",
    "validatingadmissionpolicies": "ValidatingAdmissionPolicy",
    "validatingadmissionpolicybindings": "ValidatingAdmissionPolicyBinding",
    "namespaces": "Namespace",
    "serviceaccounts": "ServiceAccount",
    "clusterroles": "ClusterRole",
    "clusterrolebindings": "ClusterRoleBinding",
    "roles": "Role",
    "rolebindings": "RoleBinding",
    "services": "Service",
    "deployments": "Deployment",
    "podmonitors": "PodMonitor",
    "servicemonitors": "ServiceMonitor",
    "prometheusrules": "PrometheusRule",
}
STATUS = {
    NotFoundError: (404, "NotFound"),
    AlreadyExistsError: (409, "AlreadyExists"),
    ConflictError: (409, "Conflict"),
    ForbiddenError: (403, "Forbidden"),
    ObjectTooLargeError: (413, "RequestEntityTooLarge"),
    UnavailableError: (500, "InternalError"),
}
REASONS = {403: "Forbidden", 409: "Conflict", 410: "Expired", 429: "TooManyRequests"}


class GoneError(ClusterError):
    """HTTP 410."""


class ApiServer:
    """Serves a store. ``down`` and ``up`` make it vanish and return under the same port."""

    def __init__(self) -> None:
        self.store = Store()
        self.requests: Counter[str] = Counter()
        self.denied: set[str] = set()
        """What an access review refuses: ``get pods/log``."""
        self.granted: dict[str, set[str]] | None = None
        """By namespace, the plurals that may be used there ("*": all); ``None``: no limit."""
        self.trespasses: list[str] = []
        """Requests beyond that, in namespaces that are not known or across all."""
        self.impersonators: set[str] = set()
        """As whom others may act."""
        self.acted: dict[str, set[str]] = {}
        """As whom each kind was asked for; "": as oneself."""
        self.faults = Faults()
        self.page = 500
        """Objects of a page of a list at most."""
        self.splices: dict[bytes, bytes] = {}
        """What the server sends in place of a JSON text, where no Python client could send or keep it."""
        self.reads_log: Callable[[str], object] = str
        """Told of every pod whose log is asked for."""
        self.lists: Counter[str] = Counter()
        self.marked: Counter[str] = Counter()
        """Lists that were begun, and bookmarks that were sent."""
        self.snapshots: list[list[Any]] = []
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

    def encoded(self, value: Any) -> bytes:
        """As JSON, with what the splices put into it."""
        data = json.dumps(value).encode()
        for text, instead in self.splices.items():
            data = data.replace(text, instead)
        return data

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
        faults = self.api.faults
        fault = faults.of_request(method, f"{url.path}?{url.query}")
        if isinstance(fault, int):
            self._refuse(fault, "a fault")
            return
        if faults.struck(method, after=False):
            self._hang_up()
            return
        try:
            answer = self._route(method, url.path, query, body)
        except GoneError as error:
            self._refuse(410, error.message)
            return
        except ClusterError as error:
            status, reason = STATUS.get(type(error), (422, "Invalid"))
            self._answer(status, {"kind": "Status", "message": error.message, "reason": reason})
            return
        if faults.struck(method, after=True) or fault == "lost":
            self._hang_up()
        elif answer is not None:
            self._answer(201 if method == "POST" else 200, answer, half=fault == "half")

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
        self._check_granted(f"{method} {path}", namespace, plural)
        self.api.requests[f"{method} {plural}" + (f"/{subresource}" if subresource else "")] += 1
        store = self.api.store
        if method == "GET" and not name:
            return self._list(kind, namespace, query)
        if method == "GET" and subresource == "log":
            return self._log(namespace or "", name, query)
        where = namespace or "default"
        if method == "GET":
            return store.get(kind, where, name)
        if method == "POST":
            body.setdefault("metadata", {}).setdefault("namespace", where)
            return store.create(kind, body)
        if method == "PATCH":
            return self._patch(kind, where, (name, subresource), query, body)
        if method == "PUT":
            store.get(kind, where, name)
            return store.patch(kind, where, name, body)
        store.delete(kind, where, name, grace_seconds=body.get("gracePeriodSeconds"))
        return {"kind": "Status", "status": "Success"}

    def _check_granted(self, request: str, namespace: str | None, plural: str) -> None:
        """Refuse what ``granted`` does not have, as RBAC does a user with Roles only."""
        granted = self.api.granted
        if granted is None or {plural, "*"} & granted.get(namespace or "", set()):
            return
        if namespace not in granted:
            self.api.trespasses.append(request)
        raise ForbiddenError(f"{request} is forbidden")

    def _patch(
        self, kind: Kind, namespace: str, what: tuple[str, str], query: dict[str, str], body: Any
    ) -> Any:
        """A merge patch, or server-side apply as far as one manager needs it: what it leaves out stays."""
        store, (name, subresource) = self.api.store, what
        if self.headers["Content-Type"] != "application/apply-patch+yaml":
            return store.patch(kind, namespace, name, body, subresource=subresource)
        if namespace != "default":
            store.get(Kind("", "v1", "namespaces", "Namespace"), "default", namespace)
        if query.get("dryRun") == "All":
            return body
        with contextlib.suppress(AlreadyExistsError):
            return store.create(kind, {**body, "metadata": {"namespace": namespace, **body["metadata"]}})
        return store.patch(kind, namespace, name, body)

    def _act_as(self, user: str, plural: str) -> None:
        if user and user not in self.api.impersonators:
            raise ForbiddenError(f'users "{user}" is forbidden: User "test" cannot impersonate it')
        self.api.acted.setdefault(plural, set()).add(user)

    def _review(self, body: Any) -> Any:
        asked = body["spec"]["resourceAttributes"]
        resource = asked["resource"] + (f"/{asked['subresource']}" if asked.get("subresource") else "")
        granted = self.api.granted
        within = granted is None or {asked["resource"], "*"} & granted.get(asked.get("namespace", ""), set())
        allowed = bool(within) and f"{asked['verb']} {resource}" not in self.api.denied
        return {**body, "status": {"allowed": allowed}}

    def _wanted(self, obj: Any, query: dict[str, str], namespace: str | None) -> bool:
        metadata = obj["metadata"]
        if namespace not in (None, metadata["namespace"]):
            return False
        if not matches_selector(query.get("labelSelector", ""), obj):
            return False
        field = query.get("fieldSelector", "")
        return not field or field == f"metadata.name={metadata['name']}"

    def _list(self, kind: Kind, namespace: str | None, query: dict[str, str]) -> Any:
        if query.get("watch") in ("1", "true", "True"):
            self._watch(kind, namespace, query)
            return None
        if token := query.get("continue"):
            number, version, begin = (int(part) for part in token.split("-"))
            items = self.api.snapshots[number]
        else:
            with self.api.store._lock:
                version, begin = self.api.store._version, 0
                items = self.api.store.list(kind, namespace)
            items = [item for item in items if self._wanted(item, query, namespace)]
            self.api.lists[kind.plural] += 1
            number = len(self.api.snapshots)
            self.api.snapshots.append(items)
        end = begin + min(self.api.page, int(query.get("limit") or self.api.page))
        page = [{**item} for item in items[begin:end]]
        for item in page:
            if not kind.group:
                item.pop("kind"), item.pop("apiVersion")
        metadata = {"resourceVersion": str(version)}
        if end < len(items):
            metadata["continue"] = f"{number}-{version}-{end}"
        about = {"kind": f"{kind.kind}List", "apiVersion": kind.api_version}
        return {**about, "metadata": metadata, "items": page}

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
                self._chunk(_expired(error.message))
                return
            with watch:
                if self._follow(kind, watch, end, lambda obj: self._wanted(obj, query, namespace)):
                    self.wfile.write(b"0\r\n\r\n")
                else:
                    self._hang_up()
        except OSError:
            self.close_connection = True

    def _follow(self, kind: Kind, watch: Watch, end: float, wanted: Callable[[Any], bool]) -> bool:
        """Send what a watch sees; whether it ended as it should, and was not cut."""
        faults, mark = self.api.faults, self.api.faults.mark
        while time.monotonic() < end:
            event = watch.get(timeout=0.1)
            if event is not None and wanted(event[1]):
                fault = faults.of_event(kind.plural)
                if fault in ("end", "expired"):
                    if fault == "expired":
                        self._chunk(_expired("too old, on purpose"))
                    return True
                if not self._send({"type": event[0], "object": event[1]}, fault):
                    return False
                mark -= fault == "bookmark"
            elif event is None and self.connection.fileno() < 0:
                return False
            if mark != faults.mark and (version := self._seen(watch)):
                mark = faults.mark
                about = {"kind": kind.kind, "apiVersion": kind.api_version}
                bookmark = {**about, "metadata": {"resourceVersion": version}}
                self._chunk({"type": "BOOKMARK", "object": bookmark})
                self.api.marked[kind.plural] += 1
        return True

    def _seen(self, watch: Watch) -> str:
        """The version up to which a watch has seen everything; "" while something waits in it."""
        with self.api.store._lock:
            return str(self.api.store._version) if watch._events.empty() else ""

    def _send(self, event: Any, fault: Any) -> bool:
        """One event, in pieces if it must be; whether all of it went."""
        line = self.api.encoded(event) + b"\n"
        half = len(line) // 2
        if fault == "slow":
            for byte in _split(line, 1):
                self._piece(byte)
        elif fault in ("pause", "cut"):
            self._piece(line[:half])
            if fault == "cut":
                return False
            self.api.faults.release.wait(self.api.faults.longest)
            self._piece(line[half:])
        else:
            self._piece(line)
        return True

    def _chunk(self, value: Any) -> None:
        self._piece(json.dumps(value).encode() + b"\n")

    def _piece(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def _log(self, namespace: str, name: str, query: dict[str, str]) -> bytes:
        self.api.reads_log(name)
        most = int(query.get("limitBytes") or 1 << 30)
        return b"".join(self.api.store.read_log(namespace, name, query.get("container", ""), limit=most))

    def _refuse(self, status: int, message: str) -> None:
        self._answer(
            status, {"kind": "Status", "message": message, "reason": REASONS.get(status, "InternalError")}
        )

    def _answer(self, status: int, value: Any, *, half: bool = False) -> None:
        body = value if isinstance(value, bytes) else self.api.encoded(value)
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if body is value else "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self._hang_up()


def _expired(message: str) -> Any:
    return {
        "type": "ERROR",
        "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": message},
    }


def _split(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))
