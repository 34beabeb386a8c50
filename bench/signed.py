"""Measures signed results beside unsigned ones on a real cluster: `bench/signed.py [BACKEND...]`.

Pairs of TaskRuns, one signed and one not, by two controllers that run all the time; their order changes
with each pair. Of each run: seconds from the pod's creation to its first Step, seconds from the Step's last
command to the verdict in the status, CPU and peak memory of the container that signs (or of the results
sidecar), CPU of the controller, bytes of the envelope and of the status's annotations. SPIRE, cluster and
images are those of tests/cluster/test_signed.py, named by the same variables (docs/testing.md). All processes
are read from /proc and cgroup v1, so the node is this machine.
"""

# ruff: noqa: INP001, T201

import argparse
import json
import os
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests" / name) for name in ("", "cluster")]

from api import ApiServer  # noqa: E402 - found by the path above
from place import Place, pod_options  # noqa: E402 - see above
from running import Running  # noqa: E402 - see above
from spire import Spire  # noqa: E402 - see above
from written import a_run  # noqa: E402 - see above

from backends import api_server, log_of, remove, uptime  # noqa: E402 - beside this file
from measuring.pod_memory import SidecarPeak  # noqa: E402 - see above
from measuring.processes import Process  # noqa: E402 - see above
from resultsfw import PODS, Kind  # noqa: E402 - see above
from resultsfw.errors import UnavailableError  # noqa: E402 - see above
from resultsfw.kube import KubeCluster, connect  # noqa: E402 - see above
from resultsfw.kube.list_watch import list_pages, open_watch, watch_events  # noqa: E402 - see above
from resultsfw.pods import RESULTS_SIDECAR  # noqa: E402 - see above
from resultsfw.tekton.api.conditions import is_done  # noqa: E402 - see above
from resultsfw.tekton.api.kinds import TASKRUNS  # noqa: E402 - see above
from resultsfw_signing.statement import SIGNER_CONTAINER  # noqa: E402 - see above

Object = dict[str, Any]

WAIT: Final = 200.0
"""Most seconds of a run."""
SETTLE: Final = 1.0
"""Seconds after the verdict: what the controller does after it counts, too."""
FIRST: Final = 8.0
"""Seconds before the first run: the controllers get their own identity."""
UNITS: Final = {
    "start_s": "s from pod to first Step",
    "status_s": "s from last command to status",
    "sidecar_cpu_ms": "ms CPU of the sidecar",
    "sidecar_mb": "MB peak of the sidecar",
    "controller_cpu_ms": "ms CPU of the controller",
    "envelope": "bytes of the envelope",
    "annotations": "bytes of annotations",
}


class SidecarUse(SidecarPeak):
    """Reads the CPU time of the sidecar's container, too, from its cgroup."""

    def __init__(self) -> None:
        super().__init__()
        self.milliseconds = 0.0

    def _read(self, process: Path) -> bool:
        with suppress(OSError, StopIteration):
            lines = (process / "cgroup").read_text().splitlines()
            # A process that has ended is in the root group.
            group = next(line.rpartition(":")[2] for line in lines if ":cpuacct:/kubepods/" in line)
            used = Path(f"/sys/fs/cgroup/cpuacct{group}/cpuacct.usage").read_text()
            self.milliseconds = max(self.milliseconds, int(used) / 1e6)
        return super()._read(process)


class Watch:
    """Sees of one run when its pod was created, and when it was done."""

    def __init__(self, place: Place, name: str, use: SidecarUse) -> None:
        self.created_at = self.done_at = 0.0
        self.done: Object = {}
        self._name, self._use, self._place = name, use, place
        self._over = threading.Event()
        self._cluster = KubeCluster(connect(os.environ["RESULTSFW_KUBECONFIG"]))
        for kind in (TASKRUNS, PODS):
            connection = self._cluster.connection
            version = next(iter(list_pages(connection, kind, place.namespace, "", limit=1)))[1]
            threading.Thread(target=self._follow, args=(kind, version), daemon=True).start()

    def wait(self) -> None:
        """Wait for the verdict.

        Raises:
            SystemExit: There is none.
        """
        if not self._over.wait(WAIT):
            raise SystemExit(f"after {WAIT:.0f} s a run is not done: {self._place.runs()}")

    def _follow(self, kind: Kind, version: str) -> None:
        stream = open_watch(self._cluster.connection, kind, self._place.namespace, "", version, silence=600)
        with suppress(UnavailableError):
            for event in watch_events(stream, kind.plural):
                now = uptime()
                metadata = event.obj.get("metadata", {})
                if kind == PODS and (metadata.get("labels") or {}).get("tekton.dev/taskRun") == self._name:
                    self.created_at = self.created_at or now
                    self._use.follow(metadata["uid"])
                if kind == TASKRUNS and metadata.get("name") == self._name and is_done(event.obj):
                    self.done_at = self.done_at or now
                    self.done = event.obj
                    self._over.set()


def script_of(results: list[str], seconds: float) -> str:
    """Return a Step's script that lasts some seconds and writes short results."""
    writes = "".join(
        f"printf 'sha256:%064d' {n} > $(results.{name}.path)\n" for n, name in enumerate(results)
    )
    return f"cat /proc/uptime\nsleep {seconds}\n{writes}cat /proc/uptime"


def measure(place: Place, controller: Running, count: int, seconds: float, *, signed: bool) -> Object:
    """Measure one run."""
    name = f"run-{uuid.uuid4().hex[:8]}"
    results = [f"r{number}" for number in range(count)]
    process = Process(controller.process.pid)
    before = process.cpu()
    with SidecarUse() as use:
        watch = Watch(place, name, use)
        place.server.create(TASKRUNS, a_run(place, name, script_of(results, seconds), results))
        watch.wait()
        time.sleep(SETTLE)
    used = process.cpu() - before
    conditions = {condition["type"]: condition for condition in watch.done["status"]["conditions"]}
    if {condition["status"] for condition in conditions.values()} != {"True"} or len(
        conditions
    ) != 1 + signed:
        raise SystemExit(f"{name}: {conditions}")
    pod = place.server.get(PODS, place.namespace, watch.done["status"]["podName"])
    first, last = log_of(place, pod, "step-one").splitlines()
    annotations = watch.done["status"].get("annotations", {})
    figures = {
        "start_s": round(float(first.split()[0]) - watch.created_at, 2),
        "status_s": round(watch.done_at - float(last.split()[0]), 2),
        "sidecar_cpu_ms": round(use.milliseconds),
        "sidecar_mb": round(use.megabytes, 1),
        "controller_cpu_ms": round(used * 1000),
        "envelope": envelope_of(place, pod) if signed else 0,
        "annotations": len(json.dumps(annotations, ensure_ascii=False).encode()) if annotations else 0,
    }
    remove(place, name)
    return figures


def envelope_of(place: Place, pod: Object) -> int:
    """Return the bytes of the record with the envelope, in the log of whoever signed."""
    containers = {found["name"] for found in pod["spec"].get("initContainers", [])}
    container = SIGNER_CONTAINER if SIGNER_CONTAINER in containers else RESULTS_SIDECAR
    for line in log_of(place, pod, container).splitlines():
        if b'"type":"signature"' in line:
            return len(line)
    raise SystemExit(f"pod {pod['metadata']['name']} has no signature")


@contextmanager
def started(server: ApiServer, backend: str, spire: Spire | None) -> Iterator[tuple[Place, Running]]:
    """Start a controller in a namespace of its own; both are gone at the end."""
    place = Place(server, pod_options(), f"bench-{uuid.uuid4().hex[:8]}")
    try:
        place.flags(**{"results-from": backend, **(spire.options() if spire else {})})
        controller = place.start("--no-leader-elect", prefix=spire.command if spire else ())
        controller.wait_for("this replica is the leader", 60)
        yield place, controller
    finally:
        for left in place.runs():
            server.patch(TASKRUNS, place.namespace, left, {"metadata": {"finalizers": None}})
        place.close()


def main() -> None:
    """Measure pairs, and print each run and the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("backends", nargs="*", default=["sidecar-logs", "termination-message"])
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--results", type=int, default=1, help="of each run")
    parser.add_argument("--seconds", type=float, default=4, help="that the Step lasts")
    options = parser.parse_args()
    spire = Spire()
    spire.register_controller()
    try:
        with api_server() as server:
            for backend in options.backends:
                with started(server, backend, spire) as signed, started(server, backend, None) as unsigned:
                    time.sleep(FIRST)
                    runs: dict[bool, list[Object]] = {True: [], False: []}
                    for pair in range(options.pairs):
                        for is_signed in (True, False) if pair % 2 else (False, True):
                            place, controller = signed if is_signed else unsigned
                            figures = measure(
                                place, controller, options.results, options.seconds, signed=is_signed
                            )
                            runs[is_signed].append(figures)
                            print(
                                json.dumps({"backend": backend, "signed": is_signed, **figures}), flush=True
                            )
                    report(backend, options.results, runs)
    finally:
        spire.forget_controller()


def report(backend: str, results: int, runs: dict[bool, list[Object]]) -> None:
    """Print the medians of signed and unsigned runs, and of their differences."""
    print(
        f"{backend}, {results} results, {len(runs[True])} pairs: unsigned, signed, difference (least, most)"
    )
    for key, unit in UNITS.items():
        pairs = list(zip((run[key] for run in runs[False]), (run[key] for run in runs[True]), strict=True))
        more = [after - before for before, after in pairs]
        before, after = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(
            f"  {unit}: {before:g}, {after:g}, {statistics.median(more):+g} ({min(more):+g}, {max(more):+g})"
        )


if __name__ == "__main__":
    main()
