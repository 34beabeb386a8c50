"""Measures what TaskRuns of another controller cost ours: `bench/watch.py -h`.

A server on loopback lists nothing and then sends the watch events of so many TaskRuns and their pods, as an
API server writes them: 5 events of each TaskRun and 9 of its pod, made from a capture. This process follows
them as the controller does. What is printed is its CPU for each TaskRun, watches only: no request is made.
"""

# ruff: noqa: INP001, T201

import argparse
import base64
import json
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trustme

from resultsfw.controller.options import Options
from resultsfw.controller.process import Process
from resultsfw.tekton.api.kinds import TASKRUNS

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import captures

CAPTURE = "sl-basic"
LAST_OF_TASKRUN = 12
"""Which of the events is the TaskRun's last."""
UNLABELLED = "%21app.kubernetes.io%2Fmanaged-by"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def managed_fields(obj: dict[str, Any], manager: str) -> list[dict[str, Any]]:
    """Return ``managedFields`` as large as an API server keeps them: a key for each field."""

    def fields(value: Any) -> Any:
        if isinstance(value, list):
            keys = [f'k:{{"name":"{item.get("name")}"}}' for item in value if isinstance(item, dict)]
            return {key: {".": {}, "f:name": {}, "f:image": {}, "f:state": {}} for key in keys}
        return {f"f:{key}": fields(inner) for key, inner in value.items()} if isinstance(value, dict) else {}

    parts = {key: fields(obj[key]) for key in ("spec", "status") if key in obj}
    common = {"manager": manager, "operation": "Update", "time": "2026-11-23T16:33:37Z"}
    return [
        {**common, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {f"f:{key}": value}}
        for key, value in parts.items()
    ]


def version_of(number: int, at: int) -> int:
    """Return the resourceVersion of an event of a TaskRun."""
    return 1000 + number * 100 + at


def life(number: int) -> Iterator[tuple[str, bytes]]:
    """Yield the watch events of one TaskRun and its pod in their order: plural and line."""
    capture = captures.load(CAPTURE)
    name = f"other-{number}"
    final, created = capture["tekton_final"], captures.created(capture)
    started = {
        **final,
        "status": {k: v for k, v in final["status"].items() if k in ("conditions", "podName")},
    }
    first, last = capture["pod_events"][0]["object"], capture["pod_events"][-1]["object"]
    runs = [("ADDED", created), *[("MODIFIED", started)] * 3, ("MODIFIED", final)]
    pods = [("ADDED", first), *[("MODIFIED", first)] * 2, *[("MODIFIED", last)] * 6]
    order = [*runs[:2], *pods[:3], runs[2], *pods[3:6], runs[3], *pods[6:8], runs[4], pods[8]]
    for at, (change, obj) in enumerate(order):
        plural = "taskruns" if obj["kind"] == "TaskRun" else "pods"
        text = json.dumps(obj).replace(CAPTURE, name).replace(final["metadata"]["uid"], f"uid-{number}")
        made = json.loads(text)
        made["metadata"]["resourceVersion"] = str(version_of(number, at))
        made["metadata"]["managedFields"] = managed_fields(made, "kubelet")
        if plural == "taskruns":  # custom resources are written in the order of their keys
            made = json.loads(json.dumps(made, sort_keys=True))
        event = {"type": change, "object": made}
        yield plural, json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


class Server:
    """A server whose lists are empty and whose watches are sent what `send` is given."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority = trustme.CA()
        authority.issue_cert("127.0.0.1").configure_cert(self._context)
        ca = base64.b64encode(authority.cert_pem.bytes()).decode()
        url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self.cluster = {"server": url, "certificate-authority-data": ca}
        self._watches: dict[str, socket.socket] = {}
        threading.Thread(target=self._accept, daemon=True).start()

    def send(self, plural: str, line: bytes) -> bool:
        """Send an event; whether anybody watches."""
        if (sock := self._watches.get(plural)) is None:
            return False
        sock.sendall(b"%x\r\n%s\r\n" % (len(line), line))
        return True

    def _accept(self) -> None:
        while True:
            threading.Thread(target=self._answer, args=(self._listener.accept()[0],), daemon=True).start()

    def _answer(self, plain: socket.socket) -> None:
        data, sock = b"", self._context.wrap_socket(plain, server_side=True)
        while piece := sock.recv(65_536):
            data += piece
            while b"\r\n\r\n" in data:
                head, data = data.split(b"\r\n\r\n", 1)
                self._respond(sock, head.split(b" ")[1].decode())

    def _respond(self, sock: socket.socket, target: str) -> None:
        if "watch=1" not in target:
            body = b'{"kind":"List","metadata":{"resourceVersion":"1"},"items":[]}'
            sock.sendall(HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            return
        sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        if UNLABELLED not in target:  # else a server sends nothing of these pods
            self._watches[target.split("?", maxsplit=1)[0].rsplit("/", 1)[1]] = sock


def serve(runs: int, pause: float) -> None:
    """Print where the server is, and send the events after a line on stdin."""
    server = Server()
    print(json.dumps(server.cluster), flush=True)
    events = [event for number in range(runs) for event in life(number)]
    for _line in sys.stdin:
        for plural, line in events:
            if server.send(plural, line):
                time.sleep(pause)


def measure(runs: int, pause: float) -> float:
    """Return the milliseconds of CPU that this process needs for each TaskRun."""
    command = [sys.executable, __file__, "--serve", "--runs", str(runs), "--pause", str(pause)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdin is not None  # noqa: S101
        assert server.stdout is not None  # noqa: S101
        cluster = json.loads(server.stdout.readline())
        path = Path(folder, "kubeconfig")
        path.write_text(
            json.dumps(
                {
                    "clusters": [{"name": "c", "cluster": cluster}],
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        process = Process(Options(kubeconfig=str(path), leader_elect=False))
        reflectors = process._parts.reflectors  # noqa: SLF001
        taskruns = next(reflector for reflector in reflectors if reflector.kind is TASKRUNS)
        for reflector in reflectors:
            reflector.start()
            reflector.synced.wait()
        time.sleep(0.5)  # until the watches are open
        began = time.process_time()
        server.stdin.write("go\n")
        server.stdin.flush()
        while taskruns.version != str(version_of(runs - 1, LAST_OF_TASKRUN)):
            time.sleep(0.1)
        time.sleep(0.5)  # the last of the pods
        used = time.process_time() - began
        for reflector in reflectors:
            reflector.stop()
        server.kill()
    return used / runs * 1000


def main() -> None:
    """Measure, or serve what is measured."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.001, help="seconds between two events")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.runs, options.pause)
    else:
        print(f"{measure(options.runs, options.pause):.2f} ms of CPU for each TaskRun of another controller")


if __name__ == "__main__":
    main()
