"""Measures signed results beside unsigned ones on a real cluster: `bench/signed.py --json FILE`.

Pairs of TaskRuns, one signed and one not, by two controllers that run all the time; their order changes
with each pair. Of each run: seconds from the pod's creation to its first Step, seconds from the Step's last
command to the verdict in the status, CPU and peak memory of the container that signs (or of the results
sidecar), CPU of the controller, bytes of the envelope and of the status's annotations. SPIRE, cluster and
images are those of tests/cluster/test_signed.py, named by the same variables (docs/how-to/testing.md). All
processes are read from /proc and cgroup v1, so the node is this machine. --resume does what is
missing in the file.
"""

# ruff: noqa: INP001, T201

import argparse
import json
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parents[1]
sys.path += [str(ROOT / "tests" / name) for name in ("", "cluster")]

from api import ApiServer  # noqa: E402 - found by the path above
from place import Place, pod_options  # noqa: E402 - see above
from running import Running  # noqa: E402 - see above
from spire import Spire  # noqa: E402 - see above
from written import a_run  # noqa: E402 - see above

from backends import api_server, log_of, remove  # noqa: E402 - beside this file
from measuring import records  # noqa: E402 - see above
from measuring.pod_memory import SidecarPeak  # noqa: E402 - see above
from measuring.processes import Process  # noqa: E402 - see above
from measuring.run_watch import RunWatch  # noqa: E402 - see above
from measuring.signed import PLACE  # noqa: E402 - see above
from resultsfw import PODS  # noqa: E402 - see above
from resultsfw.pods import RESULTS_SIDECAR  # noqa: E402 - see above
from resultsfw.tekton.api.kinds import TASKRUNS  # noqa: E402 - see above
from resultsfw_signing.statement import SIGNER_CONTAINER  # noqa: E402 - see above

Object = dict[str, Any]

WAIT: Final = 200.0
"""Most seconds of a run."""
SETTLE: Final = 1.0
"""Seconds after the verdict: what the controller does after it counts, too."""
FIRST: Final = 8.0
"""Seconds before the first run: the controllers get their own identity."""
CASES: Final = (
    ("sidecar-logs", 1, 10),
    ("sidecar-logs", 1, 0),
    ("sidecar-logs", 10, 10),
    ("sidecar-logs", 50, 10),
    ("termination-message", 1, 10),
)
"""Backend, results of a run, and seconds that the Step lasts."""


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
        watch = RunWatch(place, name, use)
        place.server.create(TASKRUNS, a_run(place, name, script_of(results, seconds), results))
        watch.wait(WAIT)
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
    """Return the bytes of the record with the envelope, in the log of the container that signed."""
    containers = {init["name"] for init in pod["spec"].get("initContainers", [])}
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
        for name in place.runs():
            server.patch(TASKRUNS, place.namespace, name, {"metadata": {"finalizers": None}})
        place.close()


def main() -> None:
    """Measure what is missing in the record, and print it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=10, help="of cases with one result; the others have 3")
    parser.add_argument("--json", type=Path, help="file for the record")
    parser.add_argument("--resume", action="store_true", help="do what is missing in that file")
    options = parser.parse_args()
    record = records.open_record(options.json, PLACE, "now", resume=options.resume)
    record.versions = records.versions(sys.executable)
    spire = Spire()
    spire.register_controller()
    try:
        with api_server() as server:
            record.versions["Kubernetes"] = server.get_path("/version")["gitVersion"]
            for backend in dict.fromkeys(case[0] for case in CASES):
                with started(server, backend, spire) as signed, started(server, backend, None) as unsigned:
                    time.sleep(FIRST)
                    for pair in missing(record, backend, options.pairs):
                        figures = measure_pair(signed, unsigned, pair)
                        print(figures, flush=True)
                        record.rounds.append(figures)
                        record.when = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
                        if options.json is not None:
                            record.write(options.json)
    finally:
        spire.forget_controller()


def missing(record: records.Record, backend: str, pairs: int) -> Iterator[Object]:
    """Yield the pairs of a backend that the record does not have."""
    done = [(pair["backend"], pair["results"], pair["seconds"], pair["pair"]) for pair in record.rounds]
    for case in CASES:
        for number in range(pairs if case[1] == 1 else 3):
            if case[0] == backend and (*case, number) not in done:
                yield dict(zip(("backend", "results", "seconds", "pair"), (*case, number), strict=True))


def measure_pair(signed: tuple[Place, Running], unsigned: tuple[Place, Running], pair: Object) -> Object:
    """Measure two runs, the unsigned one first in every other pair."""
    sides = [("unsigned", unsigned), ("signed", signed)]
    figures = {
        side: measure(*controller, pair["results"], pair["seconds"], signed=side == "signed")
        for side, controller in (sides if pair["pair"] % 2 else reversed(sides))
    }
    return {**pair, **figures}


if __name__ == "__main__":
    main()
