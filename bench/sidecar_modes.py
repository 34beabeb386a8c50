"""Measures the results sidecar on a cluster: plain beside native, by log and by ConfigMap.

    python bench/sidecar_modes.py times --runs 20 --namespace bench-modes
    python bench/sidecar_modes.py losses --runs 20 --namespace bench-modes --on-node

It needs RESULTSFW_KUBECONFIG and the images in the variables RESULTSFW_*_IMAGE. It starts one controller
for each transport, with flags and runs of its own, in a namespace that it creates and removes. Steps read
the time from /proc/uptime, so the node must be this machine; with `--on-node` its sidecars are killed from
here.
"""

# ruff: noqa: INP001, T201

import argparse
import contextlib
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resultsfw.cluster import CONFIG_MAPS, PODS, Kind, Object
from resultsfw.errors import AlreadyExistsError, NotFoundError
from resultsfw.kube import KubeCluster, connect
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS

NAMESPACES = Kind("", "v1", "namespaces", "Namespace")
SIDECAR = "sidecar-tekton-log-results"
RUN_TIMEOUT = 180.0
CONCURRENT_RUNS = 6

NET_IMAGE = os.environ.get("RESULTSFW_SIDECAR_NET_IMAGE", "docker.io/resultsfw/sidecar-net:0.1.0")

FLAGS = {
    "message": {"results-from": "termination-message"},
    "plain": {"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: plain"},
    "native": {"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: native"},
    **{
        f"config-map-{mode}": {
            "results-from": "config-map",
            "config.config-map": f"sidecar: {mode}\nimage: {NET_IMAGE}",
        }
        for mode in ("plain", "native")
    },
}

UPTIME = "cut -d ' ' -f 1 /proc/uptime"


@dataclass(frozen=True, slots=True)
class Case:
    """An interruption of a run while its second Step runs.

    Attributes:
        second: Script of the second Step. The first Step has written the result "early".
        interrupt: Interrupts the run once the second Step runs; ``None``: the Step itself does.
        spec: Further fields of the TaskRun's spec.
        step: Further fields of the second Step.
        task: Further fields of the Task.
    """

    second: str
    interrupt: Callable[["Bench", Object], None] | None = None
    spec: dict[str, Any] | None = None
    step: dict[str, Any] | None = None
    task: dict[str, Any] | None = None


class Bench:
    """A namespace with one controller for each transport."""

    def __init__(self, namespace: str, transports: list[str]) -> None:
        self.cluster = KubeCluster(connect(os.environ["RESULTSFW_KUBECONFIG"]))
        self.namespace = namespace
        self.transports = transports

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start the controllers, and stop them and remove the namespaces afterwards."""
        started = []
        for transport in self.transports:
            name = f"{self.namespace}-{transport}"
            for namespace in {self.namespace, name}:
                with contextlib.suppress(AlreadyExistsError):
                    self.cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
            flags = {"metadata": {"name": "feature-flags", "namespace": name}, "data": FLAGS[transport]}
            with contextlib.suppress(AlreadyExistsError):
                self.cluster.create(CONFIG_MAPS, flags)
            command = [sys.executable, "-m", "resultsfw.cli", "controller", "--no-leader-elect"]
            command += ["--kubeconfig", os.environ["RESULTSFW_KUBECONFIG"], "--listen", "127.0.0.1:0"]
            command += ["--namespace", name, "--managed-by", f"resultsfw.dev/{name}"]
            for part in ("entrypoint", "shell", "nop", "sidecar"):
                if image := os.environ.get(f"RESULTSFW_{part.upper()}_IMAGE"):
                    command += [f"--{part}-image", image]
            log = Path(f"/tmp/{name}.log").open("w", encoding="utf-8")  # noqa: S108, SIM115 - for people
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        try:
            time.sleep(4)  # until they are ready; the first runs are not measured
            yield
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                process.wait(40)
            for namespace in {
                self.namespace,
                *(f"{self.namespace}-{transport}" for transport in self.transports),
            }:
                self.cluster.delete(NAMESPACES, "", namespace)

    def submit(self, transport: str, name: str, task: Object, **spec: Any) -> None:
        """Create a run for the controller of a transport."""
        self.cluster.create(
            TASKRUNS,
            {
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "managedBy": f"resultsfw.dev/{self.namespace}-{transport}",
                    "serviceAccountName": "default",
                    "taskSpec": task,
                    **spec,
                },
            },
        )

    def until(self, name: str, holds: Callable[[Object], bool], pause: float = 0.02) -> Object:
        """Return the run as soon as a condition holds."""
        end = time.monotonic() + RUN_TIMEOUT
        while not holds(run := self.cluster.get(TASKRUNS, self.namespace, name)):
            if time.monotonic() > end:
                raise TimeoutError(f"{name}: {run.get('status', {}).get('conditions')}")
            time.sleep(pause)
        return run

    def remove(self, name: str) -> None:
        """Delete a run, and its pod with it."""
        with contextlib.suppress(NotFoundError):
            self.cluster.delete(TASKRUNS, self.namespace, name)


# Times.


def a_task(*scripts: str, results: tuple[str, ...], **more: Any) -> Object:
    """Return a Task of busybox Steps."""
    return {
        "results": [{"name": name, "type": "string"} for name in results],
        "steps": [
            {"name": f"s{number}", "image": "busybox:1", "script": f"#!/bin/sh\n{script}"}
            for number, script in enumerate(scripts)
        ],
        **more,
    }


def uptime() -> float:
    """Return the seconds of the clock that the Steps read."""
    return float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])


def one_time(bench: Bench, transport: str, name: str) -> tuple[float, float, float]:
    """Return the seconds to the first Step, from the last Step's end to the status, and in all."""
    task = a_task(
        f"{UPTIME} > $(results.began.path)",
        f"sleep 1; {UPTIME} > $(results.ended.path)",
        results=("began", "ended"),
    )
    created = uptime()
    bench.submit(transport, name, task)
    run = bench.until(name, is_done)
    done = uptime()
    values = {result["name"]: float(result["value"]) for result in run["status"]["results"]}
    bench.remove(name)
    return values["began"] - created, done - values["ended"], done - created


def times(bench: Bench, runs: int) -> None:
    """Measure runs one after another, the transports in turn, and print the table."""
    taken: dict[str, list[tuple[float, float, float]]] = {transport: [] for transport in bench.transports}
    for number in range(runs + 1):
        for transport in random.sample(bench.transports, len(bench.transports)):
            measured = one_time(bench, transport, f"{transport}-{number}")
            print(transport, *(f"{seconds:.2f}" for seconds in measured), file=sys.stderr, flush=True)
            if number:
                taken[transport].append(measured)
    print("| s, best, median, worst of", runs, "| to first Step | last Step's end to status | whole run |")
    print("|---|--:|--:|--:|")
    for transport in bench.transports:
        columns = zip(*taken[transport], strict=True)
        cells = (
            f"{min(column):.2f}, {statistics.median(column):.2f}, {max(column):.2f}" for column in columns
        )
        print(f"| {transport} |", " | ".join(cells), "|")


# Losses.

LATE = "printf late > $(results.late.path)"
ON_TERM = f"trap '{LATE}; exit 143' TERM; touch /workspace/on; sleep 60 & wait"
SLOW = f"trap 'sleep 3; {LATE}; exit 143' TERM; touch /workspace/on; sleep 60 & wait"


def _cancel(bench: Bench, run: Object) -> None:
    bench.cluster.patch(
        TASKRUNS, bench.namespace, run["metadata"]["name"], {"spec": {"status": "TaskRunCancelled"}}
    )


def _delete(grace: int | None) -> Callable[[Bench, Object], None]:
    def delete(bench: Bench, run: Object) -> None:
        bench.cluster.delete(PODS, bench.namespace, run["status"]["podName"], grace_seconds=grace)

    return delete


def _kill_sidecar(bench: Bench, run: Object) -> None:
    """Kill the sidecar from the node, as the kernel does when memory is short."""
    uid = bench.cluster.get(PODS, bench.namespace, run["status"]["podName"])["metadata"]["uid"]
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"RESULTSFW_POD_UID={uid}".encode() in (folder / "environ").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)


def _kill_sidecar_late(bench: Bench, run: Object) -> None:
    time.sleep(random.uniform(0.8, 2.0))  # noqa: S311 - no secret
    _kill_sidecar(bench, run)


CASES = {
    "Step out of memory": Case(
        f"{LATE}; tail /dev/zero", step={"computeResources": {"limits": {"memory": "24Mi"}}}
    ),
    "cancelled": Case(ON_TERM, _cancel),
    "cancelled, Step takes 3 s to end": Case(SLOW, _cancel),
    "timeout": Case(ON_TERM, spec={"timeout": "12s"}),
    "pod deleted": Case(ON_TERM, _delete(None)),
    "pod deleted, Step takes 3 s to end": Case(SLOW, _delete(None)),
    "pod deleted by force": Case(ON_TERM, _delete(0)),
    "evicted by the kubelet": Case(
        f"dd if=/dev/zero of=/full/file bs=1M count=20; {ON_TERM}",
        step={"volumeMounts": [{"name": "full", "mountPath": "/full"}]},
        task={"volumes": [{"name": "full", "emptyDir": {"sizeLimit": "1Mi"}}]},
    ),
    "sidecar killed while a Step runs": Case(f"sleep 4; {LATE}", _kill_sidecar),
    "sidecar killed as the last Step ends": Case(f"sleep 3; {LATE}", _kill_sidecar_late),
}


@dataclass(frozen=True, slots=True)
class Loss:
    """The outcome of one run: which results arrived, whether a loss was reported, and the seconds it took."""

    arrived: frozenset[str]
    reason: str
    reported: bool
    seconds: float


def one_loss(bench: Bench, transport: str, name: str, case: Case) -> Loss:
    """Interrupt a run during its second Step and return the outcome."""
    task = a_task(
        "printf early > $(results.early.path)", case.second, results=("early", "late"), **(case.task or {})
    )
    task["steps"][1] |= case.step or {}
    bench.submit(transport, name, task, **(case.spec or {}))

    def second_runs(run: Object) -> bool:
        steps = run.get("status", {}).get("steps") or [{}]
        return "terminated" in steps[0] or is_done(run)

    run = bench.until(name, second_runs, 0.1)
    time.sleep(1.2)  # the second Step polls for the first one's end once a second
    interrupted = time.monotonic()
    if case.interrupt is not None:
        case.interrupt(bench, run)
    run = bench.until(name, is_done, 0.1)
    took = time.monotonic() - interrupted
    conditions = {condition["type"]: condition for condition in run["status"]["conditions"]}
    verdict = conditions["Succeeded"]
    arrived = frozenset(result["name"] for result in run["status"].get("results", ()))
    # Either results are the reason, or the message of another reason goes on with "results: ...".
    reported = verdict["reason"].startswith("TaskRunResult") or "results: " in verdict["message"]
    bench.remove(name)
    return Loss(arrived, verdict["reason"], reported, took)


def losses(bench: Bench, runs: int, cases: list[str]) -> None:
    """Interrupt runs, several at once, and print the table of their outcomes."""
    print("| case | transport | early arrived | late arrived | ended as | loss reported | to status, s |")
    print("|---|---|--:|--:|---|--:|--:|")
    with ThreadPoolExecutor(CONCURRENT_RUNS) as pool:
        for number, name in enumerate(cases):
            jobs = [
                (
                    transport,
                    pool.submit(one_loss, bench, transport, f"c{number}-{transport}-{run}", CASES[name]),
                )
                for run in range(runs)
                for transport in bench.transports
            ]
            for transport in bench.transports:
                done = [job.result() for other, job in jobs if other == transport]
                early, late = (sum(name in loss.arrived for loss in done) for name in ("early", "late"))
                reasons = ", ".join(sorted({loss.reason for loss in done}))
                missing = [loss for loss in done if len(loss.arrived) < len(("early", "late"))]
                reported = sum(loss.reported for loss in missing)
                median = statistics.median(loss.seconds for loss in done)
                worst = max(loss.seconds for loss in done)
                counts = f"{early}/{runs} | {late}/{runs} | {reasons} | {reported}/{len(missing)}"
                print(f"| {name} | {transport} | {counts} | {median:.1f} ({worst:.1f}) |", flush=True)


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["times", "losses"])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--namespace", default="bench-modes")
    parser.add_argument("--transports", nargs="+", choices=list(FLAGS), default=[])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=[])
    parser.add_argument("--on-node", action="store_true")
    options = parser.parse_args()
    bench = Bench(
        options.namespace,
        options.transports or (list(FLAGS) if options.what == "times" else ["plain", "native"]),
    )
    with bench.running():
        if options.what == "times":
            times(bench, options.runs)
        else:
            cases = options.cases or [case for case in CASES if options.on_node or "killed" not in case]
            losses(bench, options.runs, cases)


if __name__ == "__main__":
    main()
