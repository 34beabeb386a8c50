"""An API server on loopback: real HTTP, versions, lists in pages, watches, and faults on order."""

import copy
import http.server
import json
import socket
import struct
import threading
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resultsfw.jsons import merge_patch
from resultsfw.kube.store import matches_selector

Answer = Callable[["Handler"], None]


@dataclass
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass
class Plan:
    """What is to go wrong: the first requests that fit get this answer instead."""

    fits: Callable[[Asked], bool]
    answer: Answer
    times: int


@dataclass
class State:
    """What the server knows; guarded by ``changed``."""

    objects: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    history: list[tuple[int, str, str, dict[str, Any]]] = field(default_factory=list)
    version: int = 100
    oldest: int = 0
    lists: dict[str, tuple[int, list[dict[str, Any]]]] = field(default_factory=dict)
    logs: dict[str, bytes] = field(default_factory=dict)
    allowed: bool = True


class Server:
    """To be started and stopped by a fixture; may go away and come back on the same port."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.state = State()
        self.asked: list[Asked] = []
        self.plans: list[Plan] = []
        self.watches: list[Handler] = []
        self.sockets: set[socket.socket] = set()
        self.command: dict[Handler, str] = {}
        self.bookmarks = 0
        self._port = 0
        self._http: _Http | None = None
        self._thread: threading.Thread | None = None
        self.up()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        self._http = _Http(("127.0.0.1", self._port), Handler)
        self._http.owner = self
        self._port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def down(self) -> None:
        """Gone: nothing listens, and what was open is reset."""
        assert self._http is not None
        assert self._thread is not None
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(60)
        with self.changed:
            for one in list(self.sockets):
                reset(one)
            for watch in self.watches:
                self.command[watch] = "reset"
            self.changed.notify_all()

    # Objects.

    def put(self, plural: str, namespace: str, name: str, **content: Any) -> dict[str, Any]:
        """Create an object, or replace what is in it."""
        with self.changed:
            key = (plural, namespace, name)
            old = self.state.objects.get(key)
            metadata = {"name": name, "namespace": namespace, **content.pop("metadata", {})}
            metadata["uid"] = old["metadata"]["uid"] if old else f"uid-{self.state.version + 1}"
            obj = {"apiVersion": "v1", "kind": "Thing", "metadata": metadata, **content}
            return self.store(key, obj, "MODIFIED" if old else "ADDED")

    def remove(self, plural: str, namespace: str, name: str) -> None:
        with self.changed:
            old = self.state.objects.pop((plural, namespace, name))
            self.store((plural, namespace, name), copy.deepcopy(old), "DELETED")

    def store(self, key: tuple[str, str, str], obj: dict[str, Any], change: str) -> dict[str, Any]:
        self.state.version += 1
        obj["metadata"]["resourceVersion"] = str(self.state.version)
        if change != "DELETED":
            self.state.objects[key] = obj
        self.state.history.append((self.state.version, key[0], change, obj))
        self.changed.notify_all()
        return copy.deepcopy(obj)

    def forget(self) -> None:
        """Compact: what was before now cannot be watched from, nor can lists be continued."""
        with self.changed:
            self.state.oldest = self.state.version
            self.state.lists.clear()

    def held(self, plural: str) -> dict[tuple[str, str], dict[str, Any]]:
        with self.changed:
            found = {key[1:]: obj for key, obj in self.state.objects.items() if key[0] == plural}
            return copy.deepcopy(found)

    # Faults.

    def plan(self, answer: Answer, *, times: int = 1, method: str = "", path: str = "", **query: str) -> None:
        def fits(asked: Asked) -> bool:
            return (
                method in ("", asked.method)
                and path in asked.path
                and all(asked.query.get(key) == value for key, value in query.items())
            )

        self.plans.append(Plan(fits, answer, times))

    def tell(self, command: str) -> None:
        """To all watches: "end", "close", "reset", "half", "gone", "error", "garbage" or "bookmark"."""
        with self.changed:
            for watch in self.watches:
                self.command[watch] = command
            self.changed.notify_all()

    def wait(self, so: Callable[[], bool], seconds: float = 10) -> None:
        with self.changed:
            assert self.changed.wait_for(so, seconds), "it did not come to that"

    def count(self, **query: str) -> int:
        return sum(all(one.query.get(key) == value for key, value in query.items()) for one in self.asked)


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    owner: Server

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went is no error."""


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    server: _Http
    asked: Asked
    __hash__ = object.__hash__

    def setup(self) -> None:
        super().setup()
        self.server.owner.sockets.add(self.connection)

    def finish(self) -> None:
        self.server.owner.sockets.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass

    def do(self) -> None:
        owner = self.server.owner
        parts = urllib.parse.urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = dict(urllib.parse.parse_qsl(parts.query))
        self.asked = Asked(self.command, parts.path, query, dict(self.headers), body)
        with owner.changed:
            owner.asked.append(self.asked)
            owner.changed.notify_all()
            plan = next((one for one in owner.plans if one.fits(self.asked)), None)
            if plan is not None:
                plan.times -= 1
                if not plan.times:
                    owner.plans.remove(plan)
        if plan is not None:
            plan.answer(self)
        else:
            self.serve()
        self.wfile.flush()

    do_GET = do_POST = do_PATCH = do_DELETE = do  # noqa: N815

    def send(self, status: int, body: Any, **headers: str) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def refuse(self, status: int, reason: str, message: str = "", **headers: str) -> None:
        said = {"kind": "Status", "code": status, "reason": reason, "message": message or reason}
        self.send(status, said, **headers)

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def begin(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()

    def event(self, change: str, obj: Any) -> bytes:
        return json.dumps({"type": change, "object": obj}, separators=(",", ":")).encode() + b"\n"

    def serve(self) -> None:
        plural, namespace, name, sub = where(self.asked.path)
        if not plural:
            self.resources()
        elif sub == "log":
            self.log(name)
        elif self.command == "GET" and not name:
            if self.asked.query.get("watch"):
                self.watch(plural, namespace)
            else:
                self.list(plural, namespace)
        else:
            self.one(plural, namespace, name)

    def resources(self) -> None:
        """Say which kinds a group has: those of which there is an object."""
        with self.server.owner.changed:
            plurals = sorted({plural for plural, _, _ in self.server.owner.state.objects})
        if plurals:
            self.send(200, {"kind": "APIResourceList", "resources": [{"name": name} for name in plurals]})
        else:
            self.refuse(404, "NotFound")

    def log(self, name: str) -> None:
        data = self.server.owner.state.logs.get(name)
        if data is None:
            self.refuse(404, "NotFound", f'pods "{name}" not found')
            return
        self.begin()
        data = data[: int(self.asked.query["limitBytes"])]
        for start in range(0, len(data), 1000):
            self.chunk(data[start : start + 1000])
        self.chunk(b"")

    def selected(self, obj: dict[str, Any], namespace: str) -> bool:
        fits = matches_selector(self.asked.query.get("labelSelector", ""), obj)
        return namespace in ("", obj["metadata"]["namespace"]) and bool(fits)

    def list(self, plural: str, namespace: str) -> None:
        owner, state = self.server.owner, self.server.owner.state
        limit, token = int(self.asked.query.get("limit") or 10**9), self.asked.query.get("continue")
        with owner.changed:
            if token:
                if token not in state.lists:
                    self.refuse(410, "Expired", "The provided continue parameter is too old")
                    return
                version, items = state.lists.pop(token)
            else:
                version = state.version
                items = [
                    {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
                    for key, obj in sorted(state.objects.items())
                    if key[0] == plural and self.selected(obj, namespace)
                ]
            metadata = {"resourceVersion": str(version)}
            if len(items) > limit:
                metadata["continue"] = f"{version}-{len(items)}-{id(self)}"
                state.lists[metadata["continue"]] = (version, items[limit:])
            data = json.dumps({"kind": "List", "metadata": metadata, "items": items[:limit]}).encode()
        self.send(200, data)

    def watch(self, plural: str, namespace: str) -> None:
        owner, state = self.server.owner, self.server.owner.state
        at = int(self.asked.query["resourceVersion"])
        with owner.changed:
            old = at < state.oldest
        if old:
            self.refuse(410, "Expired", f"too old resource version: {at}")
            return
        self.begin()
        with owner.changed:
            owner.watches.append(self)
            owner.changed.notify_all()
        try:
            while True:
                with owner.changed:
                    owner.changed.wait_for(lambda: owner.command.get(self) or state.version > at)  # noqa: B023
                    command = owner.command.pop(self, "")
                    news = [
                        self.event(change, obj)
                        for version, of, change, obj in state.history
                        if version > at and of == plural and self.selected(obj, namespace)
                    ]
                    said, at = at, state.version
                for line in news if command != "half" else ():
                    self.chunk(line)
                if command and self.obey(command, at, said):
                    return
        finally:
            with owner.changed:
                owner.watches.remove(self)
                owner.changed.notify_all()

    def obey(self, command: str, at: int, said: int) -> bool:
        """Do as told; whether that was the end of the stream."""
        if command == "bookmark":
            self.chunk(self.event("BOOKMARK", {"metadata": {"resourceVersion": str(at)}}))
            with self.server.owner.changed:
                self.server.owner.bookmarks += 1
                self.server.owner.changed.notify_all()
            return False
        if command == "gone":
            self.chunk(self.event("ERROR", {"code": 410, "reason": "Expired", "message": "too old"}))
        if command == "error":
            self.chunk(self.event("ERROR", {"code": 500, "reason": "InternalError", "message": "etcd"}))
        if command == "garbage":
            self.chunk(b"<html>\n")
        if command == "half":
            # A whole chunk, a regular end, and half of an object that looks like one.
            self.chunk(
                b'{"type":"DELETED","object":{"metadata":{"name":"a","resourceVersion":"%d"' % (said + 1)
            )
        if command == "reset":
            reset(self.connection)
        elif command == "close":
            self.wfile.write(b"ff\r\n{")
            self.wfile.flush()
            self.close_connection = True
        else:
            self.chunk(b"")
        return True

    def one(self, plural: str, namespace: str, name: str) -> None:
        owner, state = self.server.owner, self.server.owner.state
        given = json.loads(self.asked.body or b"{}")
        status, answer = 200, {}
        with owner.changed:
            if self.command == "POST":
                status, answer = self.create(plural, namespace, given)
            elif (plural, namespace, name) not in state.objects:
                status, answer = 404, {"reason": "NotFound", "message": f'{plural} "{name}" not found'}
            elif self.command == "GET":
                answer = state.objects[plural, namespace, name]
            elif self.command == "DELETE":
                owner.remove(plural, namespace, name)
            else:
                old = state.objects[plural, namespace, name]
                asked = (given.get("metadata") or {}).get("resourceVersion")
                if asked not in (None, old["metadata"]["resourceVersion"]):
                    status, answer = 409, {"reason": "Conflict", "message": "the object has been modified"}
                else:
                    new = copy.deepcopy(merge_patch(old, given))
                    answer = owner.store((plural, namespace, name), new, "MODIFIED")
            data = json.dumps({"code": status, "kind": "Status", **answer}).encode()
        self.send(status, data)

    def create(self, plural: str, namespace: str, given: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        owner = self.server.owner
        if plural == "selfsubjectaccessreviews":
            return 201, {**given, "status": {"allowed": owner.state.allowed}}
        name = given["metadata"]["name"]
        if (plural, namespace, name) in owner.state.objects:
            return 409, {"reason": "AlreadyExists", "message": f'{plural} "{name}" already exists'}
        given["metadata"] |= {"uid": f"uid-{owner.state.version + 1}", "namespace": namespace}
        return 201, owner.store((plural, namespace, name), given, "ADDED")


def where(path: str) -> tuple[str, str, str, str]:
    """Plural, namespace, name and subresource of a path."""
    parts = path.strip("/").split("/")
    parts = parts[3:] if parts[0] == "apis" else parts[2:]
    namespace = ""
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    parts += ["", "", ""]
    return parts[0], namespace, parts[1], parts[2]


def reset(connection: socket.socket) -> None:
    """Close with RST, as a crashed host's peer sees it."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def refusing(status: int, reason: str, message: str = "", **headers: str) -> Answer:
    return lambda handler: handler.refuse(status, reason, message, **headers)


def resetting(handler: Handler) -> None:
    reset(handler.connection)
    handler.close_connection = True


def silent(until: threading.Event) -> Answer:
    """Say nothing until told to."""

    def answer(handler: Handler) -> None:
        until.wait(10)
        handler.close_connection = True

    return answer


def kubeconfig_for(url: str, folder: Path, **user: Any) -> Path:
    config = {
        "clusters": [{"name": "here", "cluster": {"server": url}}],
        "users": [{"name": "me", "user": user or {"token": "sesame"}}],
        "contexts": [
            {"name": "one", "context": {"cluster": "here", "user": "me"}},
            {"name": "broken", "context": {"cluster": "nowhere", "user": "me"}},
        ],
        "current-context": "one",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(config))
    return path
