"""Measures `resultsfw controller` on a real cluster, beside Tekton's controller: `bench/controller.py -h`.

Both work on the same cluster, in turns: so many TaskRuns of two Steps for the one, then for the other, for
each backend, and again. CPU and memory are read from /proc, so both processes must run on this machine:
ours is started here, Tekton's is named by its pid. What happened when is what two watches saw.
"""

# ruff: noqa: INP001, T201

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resultsfw import PODS, Kind
from resultsfw.cluster import CONFIG_MAPS, Object
from resultsfw.errors import ClusterError, NotFoundError
from resultsfw.kube import KubeCluster, RateLimit, connect
from resultsfw.kube.listing import events_of, open_watch, pages
from resultsfw.tekton.kinds import TASKRUNS
from resultsfw.tekton.reconciler import is_done

NAMESPACES = Kind("", "v1", "namespaces", "Namespace")
OURS = "resultsfw.dev/bench"
LABEL = "bench.resultsfw.dev/round"
TICKS = os.sysconf("SC_CLK_TCK")
BACKENDS = ("termination-message", "sidecar-logs")


class Process:
    """A process whose CPU and memory are read from /proc."""

    def __init__(self, pid: int) -> None:
        self.folder = Path("/proc", str(pid))

    def cpu(self) -> float:
        """Seconds of user and system time so far."""
        fields = (self.folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak(self) -> float:
        """Megabytes: the most that was resident since `forget_peak`."""
        lines = (self.folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def forget_peak(self) -> None:
        """Count the peak from now on."""
        (self.folder / "clear_refs").write_text("5")


class Seen:
    """What two watches saw of one round's runs: when each got its first Step, its last, its verdict."""

    def __init__(self, cluster: KubeCluster, namespace: str, label: str) -> None:
        self.made: dict[str, float] = {}
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.done: dict[str, float] = {}
        self.reasons: dict[str, str] = {}
        self._cluster, self._namespace, self._selector = cluster, namespace, f"{LABEL}={label}"
        self._changed = threading.Condition()
        for kind in (TASKRUNS, PODS):
            version = next(iter(pages(cluster.connection, kind, namespace, self._selector)))[1]
            threading.Thread(target=self._watch, args=(kind, version), daemon=True).start()

    def wait(self, count: int, seconds: float) -> None:
        """Until so many runs have their verdict."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.done) >= count, seconds):
                raise SystemExit(f"after {seconds:.0f} s only {len(self.done)} of {count} runs are over")

    def _watch(self, kind: Kind, version: str) -> None:
        stream = open_watch(
            self._cluster.connection, kind, self._namespace, self._selector, version, silence=600
        )
        for change, obj in events_of(stream, kind.plural):
            if change in ("ADDED", "MODIFIED"):
                with self._changed:
                    (self._on_pod if kind is PODS else self._on_run)(obj, time.monotonic())
                    self._changed.notify()

    def _on_run(self, obj: Object, now: float) -> None:
        name = obj["metadata"]["name"]
        if name not in self.done and is_done(obj):
            self.done[name] = now
            self.reasons[name] = obj["status"]["conditions"][0]["reason"]

    def _on_pod(self, obj: Object, now: float) -> None:
        name = obj["metadata"]["labels"]["tekton.dev/taskRun"]
        states = [
            one["state"]
            for one in obj["status"].get("containerStatuses") or ()
            if one["name"].startswith("step-")
        ]
        if name not in self.first and any("waiting" not in state for state in states):
            self.first[name] = now
        if name not in self.last and states and all("terminated" in state for state in states):
            self.last[name] = now


def taskrun(name: str, namespace: str, label: str, options: argparse.Namespace, *, ours: bool) -> Object:
    """A run whose Steps write a result each."""
    results = [f"result-{number}" for number in range(options.steps)]
    script = "#!/bin/sh\nhead -c {size} /dev/zero | tr '\\0' x > $(results.{result}.path)\n"
    steps = [
        {
            "name": f"step-{number}",
            "image": options.step_image,
            "script": script.format(size=options.bytes, result=result),
        }
        for number, result in enumerate(results)
    ]
    spec: Object = {
        "taskSpec": {
            "results": [{"name": result, "type": "string"} for result in results],
            "steps": steps,
        }
    }
    if ours:
        spec["managedBy"] = OURS
    metadata = {"name": name, "namespace": namespace, "labels": {LABEL: label}}
    return {"metadata": metadata, "spec": spec}


@contextmanager
def flags(cluster: KubeCluster, namespace: str, backend: str, size: int) -> Iterator[None]:
    """The ConfigMap with this backend, and afterwards as it was."""
    before = cluster.get(CONFIG_MAPS, namespace, "feature-flags").get("data") or {}
    data: dict[str, Any] = {"results-from": backend, "max-result-size": str(max(4096, 2 * size))}
    cluster.patch(CONFIG_MAPS, namespace, "feature-flags", {"data": data})
    try:
        yield
    finally:
        data = {key: before.get(key) for key in data}
        cluster.patch(CONFIG_MAPS, namespace, "feature-flags", {"data": data})


@contextmanager
def own_controller(options: argparse.Namespace, log: Path) -> Iterator[Process]:
    """Our controller as a process, and its end."""
    command = [sys.executable, "-m", "resultsfw.cli", "controller", "--managed-by", OURS]
    command += ["--no-leader-elect", "--listen", "127.0.0.1:0", "--namespace", options.flags_namespace]
    command += ["--qps", str(options.qps), "--burst", str(2 * options.qps)]
    command += ["--kubeconfig", options.kubeconfig, *options.controller]
    with log.open("w") as file, subprocess.Popen(command, stderr=file) as process:
        try:
            await_line(log, "this replica works", process)
            yield Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)


def await_line(log: Path, words: str, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Until the log says so."""
    end = time.monotonic() + 60
    while words not in log.read_text():
        if time.monotonic() > end or (process is not None and process.poll() is not None):
            raise SystemExit(f"the controller did not say {words!r}: {log.read_text()[-2000:]}")
        time.sleep(0.05)


def measure(
    cluster: KubeCluster, process: Process, other: Process | None, options: argparse.Namespace, *, ours: bool
) -> dict[str, Any]:
    """One round for one side."""
    label = uuid.uuid4().hex[:8]
    seen = Seen(cluster, options.namespace, label)
    names = [f"b-{label}-{number}" for number in range(options.runs)]
    process.forget_peak()
    began, cpu = time.monotonic(), process.cpu()
    idle = other.cpu() if other else 0.0

    def create(name: str) -> None:
        seen.made[name] = time.monotonic()
        cluster.create(TASKRUNS, taskrun(name, options.namespace, label, options, ours=ours))

    at_once = options.at_once or options.runs
    with ThreadPoolExecutor(4) as threads:
        for start in range(0, options.runs, at_once):
            batch = names[start : start + at_once]
            list(threads.map(create, batch))
            seen.wait(start + len(batch), options.timeout)
        wall = time.monotonic() - began
        time.sleep(2)  # what is done after the verdict counts too
        told = {
            "wall_s": wall,
            "cpu_ms": (process.cpu() - cpu) / options.runs * 1000,
            "other_cpu_ms": (other.cpu() - idle) / options.runs * 1000 if other else None,
            "peak_mb": process.peak(),
            "start_ms": [(seen.first[n] - seen.made[n]) * 1000 for n in names if n in seen.first],
            "status_ms": [(seen.done[n] - seen.last[n]) * 1000 for n in names if n in seen.last],
            "wrong": sorted({reason for reason in seen.reasons.values() if reason != "Succeeded"}),
        }
        list(threads.map(lambda name: remove(cluster, options.namespace, name), names))
    await_no_pods(cluster, options)
    return told


def remove(cluster: KubeCluster, namespace: str, name: str) -> None:
    """Delete a run; its pod goes with it."""
    try:
        cluster.delete(TASKRUNS, namespace, name)
    except NotFoundError:
        return


def await_no_pods(cluster: KubeCluster, options: argparse.Namespace) -> None:
    """Until the garbage collector is done: the next round must not pay for it."""
    end = time.monotonic() + options.timeout
    while cluster.list(PODS, options.namespace):
        if time.monotonic() > end:
            raise SystemExit("the pods of the last round do not go away")
        time.sleep(1)


def median(values: list[float]) -> float:
    """The middle one; not a number of none."""
    return statistics.median(values) if values else float("nan")


def high(values: list[float]) -> float:
    """The one that 95 of 100 do not pass."""
    return sorted(values)[int(0.95 * (len(values) - 1))] if values else float("nan")


def table(rounds: list[dict[str, Any]]) -> str:
    """Markdown: a line for each backend and side."""
    lines = [
        (
            "| backend | controller | CPU a TaskRun, ms | peak memory, MB | created to first Step, ms "
            "| last Step to status, ms (95 %) | all done, s |"
        ),
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for backend in BACKENDS:
        for side in ("resultsfw", "Tekton"):
            mine = [one for one in rounds if one["backend"] == backend and one["side"] == side]
            if not mine:
                continue
            start = [value for one in mine for value in one["start_ms"]]
            status = [value for one in mine for value in one["status_ms"]]
            lines.append(
                f"| {backend} | {side} | {median([one['cpu_ms'] for one in mine]):.1f} "
                f"| {max(one['peak_mb'] for one in mine):.0f} | {median(start):.0f} "
                f"| {median(status):.0f} ({high(status):.0f}) "
                f"| {median([one['wall_s'] for one in mine]):.1f} |"
            )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kubeconfig", default=os.environ.get("RESULTSFW_KUBECONFIG"))
    parser.add_argument("--tekton-pid", type=int, help="of Tekton's controller, where it runs here")
    parser.add_argument("--runs", type=int, default=60, help="of a round")
    parser.add_argument("--at-once", type=int, default=0, help="0: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--bytes", type=int, default=200, help="of each result")
    parser.add_argument("--namespace", default="resultsfw-bench")
    parser.add_argument("--flags-namespace", default="tekton-pipelines")
    parser.add_argument("--step-image", default="busybox:1")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="default: both")
    parser.add_argument("--qps", type=int, default=200)
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    parser.add_argument("controller", nargs="*", help="options of resultsfw controller, behind --")
    options = parser.parse_args()
    if not options.kubeconfig:
        parser.error("name a cluster by --kubeconfig or RESULTSFW_KUBECONFIG")
    return options


def main() -> None:
    """Measure, and print the table."""
    options = arguments()
    cluster = KubeCluster(connect(options.kubeconfig, limit=RateLimit(1000, 1000)))
    try:
        cluster.get(NAMESPACES, "", options.namespace)
    except NotFoundError:
        cluster.create(NAMESPACES, {"metadata": {"name": options.namespace}})
    tekton = Process(options.tekton_pid) if options.tekton_pid else None
    rounds: list[dict[str, Any]] = []
    log = Path(tempfile.gettempdir(), f"resultsfw-bench-{os.getpid()}.log")
    with own_controller(options, log) as ours:
        for backend in options.backend or BACKENDS:
            with flags(cluster, options.flags_namespace, backend, options.bytes):
                await_line(log, f"in force: results-from={backend}")
                time.sleep(2)  # Tekton's controller does not tell when it has taken over the flags
                for number in range(options.rounds):
                    for side in ("resultsfw", "Tekton") if tekton else ("resultsfw",):
                        mine = side == "resultsfw"
                        process, other = (ours, tekton) if mine else (tekton, ours)
                        assert process is not None  # noqa: S101 - for mypy: a side is only named if there
                        told = measure(cluster, process, other, options, ours=mine)
                        rounds.append({"backend": backend, "side": side, "round": number, **told})
                        print(
                            f"{backend} {side}: {told['cpu_ms']:.1f} ms a run, {told['peak_mb']:.0f} MB, "
                            f"{told['wall_s']:.1f} s {told['wrong'] or ''}",
                            file=sys.stderr,
                        )
    version = cluster.connection.json("GET", "/version", subject="version")["gitVersion"]
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} processors, Python "
        f"{platform.python_version()}, Kubernetes {version}, {options.runs} TaskRuns of {options.steps} "
        f"Steps, {options.at_once or options.runs} at once, {options.rounds} rounds\n"
    )
    print(table(rounds))
    if options.json:
        options.json.write_text(json.dumps(rounds))


if __name__ == "__main__":
    try:
        main()
    except ClusterError as error:
        raise SystemExit(f"{error.subject}: {error.message}") from error
