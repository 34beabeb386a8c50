"""Measures every backend on a real cluster, side by side: `bench/backends.py [NAME...]`, by default all.

One TaskRun after another, whose Step writes a text of 1 KB, 100 KB, 1 MB, and 200 MB if a backend delivers by
reference: seconds from the Step's last command to the verdict in the TaskRun's status, peak memory of
sidecar and controller, the controller's requests, and the bytes that carried the value. Cluster, forwarder to
the API server and images are those of tests/cluster, named by the same variables (docs/how-to/testing.md).
All processes are read from /proc, so the node is this machine. --resume does what is missing in the file.
"""

# ruff: noqa: INP001, T201

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests" / name) for name in ("", "cluster", "object_store", "oci")]

from api import ApiServer  # noqa: E402 - found by the path above
from forwarder import Forwarder  # noqa: E402 - see above
from place import Place, pod_options  # noqa: E402 - see above
from running import Running  # noqa: E402 - see above
from written import a_run  # noqa: E402 - see above

from measuring import records, side_by_side  # noqa: E402 - beside this file
from measuring.pod_memory import SidecarPeak  # noqa: E402 - see above
from measuring.prepared_backends import PreparedBackend, set_up  # noqa: E402 - see above
from measuring.processes import Process  # noqa: E402 - see above
from measuring.run_watch import RunWatch  # noqa: E402 - see above
from measuring.side_by_side import SIZES  # noqa: E402 - see above
from resultsfw import PODS, read_reference  # noqa: E402 - see above
from resultsfw.errors import NotFoundError  # noqa: E402 - see above
from resultsfw.pods import RESULTS_SIDECAR  # noqa: E402 - see above
from resultsfw.tekton.api.kinds import TASKRUNS  # noqa: E402 - see above

Object = dict[str, Any]

SETTLE: Final = 1.0
"""Seconds after the verdict: the requests after it count, too."""
WAIT: Final = 400.0
"""Most seconds of a run."""
COUNTED: Final = """
import os, sys
from resultsfw.cli import main
from resultsfw.kube.connection import Connection
note = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
send = Connection.open
def open(self, method, path, **options):
    if "watch" not in (options.get("query") or {}):
        os.write(note, f"{method} {path}\\n".encode())
    return send(self, method, path, **options)
Connection.open = open
sys.exit(main(sys.argv[2:]))
"""
"""A controller that notes each request in a file."""


def script_of(size: int) -> str:
    """Return a Step's script that writes numbers as text, of this many bytes."""
    text = "(while seq -s ' ' 100000 299999 2>/dev/null; do :; done)"
    return f"{text} | head -c {size} > $(results.a.path)\ncat /proc/uptime"


def measure(place: Place, prepared: PreparedBackend, size: int, controller: Running, notes: Path) -> Object:
    """Measure one run."""
    name = f"run-{uuid.uuid4().hex[:8]}"
    process = Process(controller.process.pid)
    process.forget_peak()
    began, before = len(notes.read_text().splitlines()), prepared.stored({})
    with SidecarPeak() as peak:
        watch = RunWatch(place, name, peak, prepared.watched)
        place.server.create(TASKRUNS, a_run(place, name, script_of(size), ["a"]))
        watch.wait(WAIT)
        time.sleep(SETTLE)
    run = watch.done
    [condition] = run["status"]["conditions"]
    if condition["status"] != "True":
        raise SystemExit(f"{prepared.backend}, {size} bytes: {condition}")
    [result] = run["status"]["results"]
    reference = read_reference(result["value"])
    if (reference.size if reference else len(result["value"])) != size:
        raise SystemExit(f"{prepared.backend}: {size} bytes are {result['value']!s:.300}")
    pod = place.server.get(PODS, place.namespace, run["status"]["podName"])
    ended = float(log_of(place, pod, "step-one").split()[0])
    requests = notes.read_text().splitlines()[began:]
    own = [line for line in requests if f"/namespaces/{place.namespace}/" in line and "/events" not in line]
    carried = int(watch.carried) + prepared.stored(run) - before
    if prepared.backend == "termination-message":
        carried += sum(len(message) for message in _messages(pod))
    else:
        carried += len(log_of(place, pod, RESULTS_SIDECAR))
    figures = {
        "delivery": "reference" if reference else "value",
        "status_s": round(watch.done_at - ended, 2),
        "sidecar_mb": round(peak.megabytes, 1),
        "controller_mb": round(process.peak(), 1),
        "requests": len(own),
        "carried": carried,
    }
    remove(place, name)
    return figures


def _messages(pod: Object) -> Iterator[str]:
    for status in pod["status"]["containerStatuses"]:
        yield status["state"].get("terminated", {}).get("message", "")


def log_of(place: Place, pod: Object, container: str) -> bytes:
    """Return the log of a container."""
    name = pod["metadata"]["name"]
    return b"".join(place.server.read_log(place.namespace, name, container, limit=10_000_000))


def remove(place: Place, name: str) -> None:
    """Delete a run, and wait until what it left is purged."""
    place.server.delete(TASKRUNS, place.namespace, name)
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        try:
            place.server.get(TASKRUNS, place.namespace, name)
        except NotFoundError:
            return
        time.sleep(0.3)
    raise SystemExit(f"{name} is not purged")


@contextmanager
def controller_of(place: Place, notes: Path) -> Iterator[Running]:
    """Start a controller of this namespace alone, and end it."""
    images = {"entrypoint": place.options.entrypoint_image, "shell": place.options.shell_image}
    images["nop"] = place.options.nop_image
    images["sidecar"] = os.environ.get("RESULTSFW_SIDECAR_IMAGE", "docker.io/resultsfw/sidecar:0.1.0")
    command = [sys.executable, "-P", "-c", COUNTED, str(notes), "controller", "--no-leader-elect"]
    command += ["--kubeconfig", os.environ["RESULTSFW_KUBECONFIG"], "--listen", "127.0.0.1:0"]
    command += ["--managed-by", place.managed_by, "--namespace", place.namespace]
    for purpose, image in images.items():
        command += [f"--{purpose}-image", image]
    notes.touch()
    controller = Running(command, dict(os.environ))
    place.started.append(controller)
    try:
        controller.wait_for("this replica is the leader", 60)
        yield controller
    finally:
        controller.signal(signal.SIGTERM)


@contextmanager
def api_server() -> Iterator[ApiServer]:
    """Yield the API server; pods reach it at RESULTSFW_API_FORWARD meanwhile, if that is set."""
    server = ApiServer(Path(os.environ["RESULTSFW_KUBECONFIG"]))
    host, _, port = os.environ.get("RESULTSFW_API_FORWARD", "").rpartition(":")
    if not host:
        yield server
        return
    with Forwarder((host, int(port)), server.address) as forwarder:
        threading.Thread(target=forwarder.serve_forever, daemon=True).start()
        yield server
        forwarder.shutdown()


def main() -> None:
    """Measure what is missing in the record, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {'; '.join(SIZES)}")
    parser.add_argument("--rounds", type=int, default=3, help="of sizes below 100 MB; larger ones have one")
    parser.add_argument("--json", type=Path, help="file for the record")
    parser.add_argument("--resume", action="store_true", help="do what is missing in that file")
    options = parser.parse_args()
    record = records.open_record(options.json, side_by_side.PLACE, "now", resume=options.resume)
    record.versions = records.versions(sys.executable)
    done = {(figures["name"], figures["bytes"], figures["round"]) for figures in record.rounds}
    with api_server() as server:
        record.versions["Kubernetes"] = server.get_path("/version")["gitVersion"]
        for name in options.names or SIZES:
            cases = [
                (size, number)
                for size in SIZES[name]
                for number in range(1 if size > side_by_side.LARGE else options.rounds)
                if (name, size, number) not in done
            ]
            if not cases:
                continue
            place = Place(server, pod_options(), f"bench-{uuid.uuid4().hex[:8]}")
            try:
                with tempfile.TemporaryDirectory() as folder, set_up(name, place, Path(folder)) as prepared:
                    place.flags(**prepared.flags)
                    notes = Path(folder, "requests")
                    with controller_of(place, notes) as controller:
                        for size, number in cases:
                            figures = measure(place, prepared, size, controller, notes)
                            figures = {"name": name, "bytes": size, "round": number, **figures}
                            print(figures, flush=True)
                            record.rounds.append(figures)
                            record.when = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
                            if options.json is not None:
                                record.write(options.json)
            finally:
                for left in place.runs():
                    server.patch(TASKRUNS, place.namespace, left, {"metadata": {"finalizers": None}})
                place.close()


if __name__ == "__main__":
    main()
