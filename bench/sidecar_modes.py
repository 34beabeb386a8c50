"""Measures the results sidecar on a cluster: plain beside native, by log and by ConfigMap.

    python bench/sidecar_modes.py times --runs 20 --namespace bench-modes
    python bench/sidecar_modes.py losses --runs 20 --namespace bench-modes --on-node

Needs RESULTSFW_KUBECONFIG and the images named by the variables RESULTSFW_*_IMAGE. Starts one controller for
each way, with flags and runs of its own, in a namespace that it makes and removes. Steps tell the time by
/proc/uptime, so the node must be this machine; `--on-node` says that its sidecars can be killed from here.
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
PATIENCE = 180.0
AT_ONCE = 6

NET_IMAGE = os.environ.get("RESULTSFW_SIDECAR_NET_IMAGE", "resultsfw/sidecar-net:0.1.0")

FLAGS = {
    "message": {"results-from": "termination-message"},
    "plain": {"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: plain"},
    "native": {"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: native"},
    **{
        f"config-map-{way}": {
            "results-from": "config-map",
            "config.config-map": f"sidecar: {way}\nimage: {NET_IMAGE}",
        }
        for way in ("plain", "native")
    },
}

UPTIME = "cut -d ' ' -f 1 /proc/uptime"


@dataclass(frozen=True, slots=True)
class Case:
    """A way for a run to be cut off while its second Step runs.

    Attributes:
        second: The second Step's script. The first has written the result "early".
        strike: What happens to the run as soon as the second Step runs; none: the Step itself does it.
        more: Of the TaskRun's spec and of its second Step.
    """

    second: str
    strike: Callable[["Bench", Object], None] | None = None
    spec: dict[str, Any] | None = None
    step: dict[str, Any] | None = None
    task: dict[str, Any] | None = None


class Bench:
    """A namespace, and a controller for each way in it."""

    def __init__(self, namespace: str, ways: list[str]) -> None:
        self.cluster = KubeCluster(connect(os.environ["RESULTSFW_KUBECONFIG"]))
        self.namespace = namespace
        self.ways = ways

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Controllers that see the cluster, and end after."""
        started = []
        for way in self.ways:
            name = f"{self.namespace}-{way}"
            for one in {self.namespace, name}:
                with contextlib.suppress(AlreadyExistsError):
                    self.cluster.create(NAMESPACES, {"metadata": {"name": one}})
            flags = {"metadata": {"name": "feature-flags", "namespace": name}, "data": FLAGS[way]}
            with contextlib.suppress(AlreadyExistsError):
                self.cluster.create(CONFIG_MAPS, flags)
            command = [sys.executable, "-m", "resultsfw.cli", "controller", "--no-leader-elect"]
            command += ["--kubeconfig", os.environ["RESULTSFW_KUBECONFIG"], "--listen", "127.0.0.1:0"]
            command += ["--namespace", name, "--managed-by", f"resultsfw.dev/{name}"]
            for part in ("entrypoint", "shell", "nop", "sidecar"):
                if image := os.environ.get(f"RESULTSFW_{part.upper()}_IMAGE"):
                    command += [f"--{part}-image", image]
            log = Path(f"/tmp/{name}.log").open("w", encoding="utf-8")  # noqa: S108, SIM115 - for a person
            started.append(subprocess.Popen(command, stdout=log, stderr=log))
        try:
            time.sleep(4)  # the first runs are not measured anyway
            yield
        finally:
            for process in started:
                process.send_signal(signal.SIGTERM)
            for process in started:
                process.wait(40)
            for one in {self.namespace, *(f"{self.namespace}-{way}" for way in self.ways)}:
                self.cluster.delete(NAMESPACES, "", one)

    def submit(self, way: str, name: str, task: Object, **spec: Any) -> None:
        """Create a run of that way."""
        self.cluster.create(
            TASKRUNS,
            {
                "metadata": {"name": name, "namespace": self.namespace},
                "spec": {
                    "managedBy": f"resultsfw.dev/{self.namespace}-{way}",
                    "serviceAccountName": "default",
                    "taskSpec": task,
                    **spec,
                },
            },
        )

    def until(self, name: str, holds: Callable[[Object], bool], pause: float = 0.02) -> Object:
        """The run as soon as it is so."""
        end = time.monotonic() + PATIENCE
        while not holds(run := self.cluster.get(TASKRUNS, self.namespace, name)):
            if time.monotonic() > end:
                raise TimeoutError(f"{name}: {run.get('status', {}).get('conditions')}")
            time.sleep(pause)
        return run

    def remove(self, name: str) -> None:
        """With its pod."""
        with contextlib.suppress(NotFoundError):
            self.cluster.delete(TASKRUNS, self.namespace, name)


# Times.


def a_task(*scripts: str, results: tuple[str, ...], **more: Any) -> Object:
    """A Task of busybox Steps."""
    return {
        "results": [{"name": name, "type": "string"} for name in results],
        "steps": [
            {"name": f"s{number}", "image": "busybox:1", "script": f"#!/bin/sh\n{script}"}
            for number, script in enumerate(scripts)
        ],
        **more,
    }


def uptime() -> float:
    """Seconds, as the Steps read them."""
    return float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])


def one_time(bench: Bench, way: str, name: str) -> tuple[float, float, float]:
    """Seconds from creation to the first Step, from the last one's end to the status, and of it all."""
    task = a_task(
        f"{UPTIME} > $(results.began.path)",
        f"sleep 1; {UPTIME} > $(results.ended.path)",
        results=("began", "ended"),
    )
    created = uptime()
    bench.submit(way, name, task)
    run = bench.until(name, is_done)
    seen = uptime()
    values = {one["name"]: float(one["value"]) for one in run["status"]["results"]}
    bench.remove(name)
    return values["began"] - created, seen - values["ended"], seen - created


def times(bench: Bench, runs: int) -> None:
    """One run after the other, the ways in turn."""
    taken: dict[str, list[tuple[float, float, float]]] = {way: [] for way in bench.ways}
    for number in range(runs + 1):
        for way in random.sample(bench.ways, len(bench.ways)):
            one = one_time(bench, way, f"{way}-{number}")
            print(way, *(f"{seconds:.2f}" for seconds in one), file=sys.stderr, flush=True)
            if number:
                taken[way].append(one)
    print("| s, best, median, worst of", runs, "| to first Step | last Step's end to status | whole run |")
    print("|---|--:|--:|--:|")
    for way in bench.ways:
        columns = zip(*taken[way], strict=True)
        cells = (f"{min(one):.2f}, {statistics.median(one):.2f}, {max(one):.2f}" for one in columns)
        print(f"| {way} |", " | ".join(cells), "|")


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
    """SIGKILL from the node, as the kernel does it for memory."""
    uid = bench.cluster.get(PODS, bench.namespace, run["status"]["podName"])["metadata"]["uid"]
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"RESULTSFW_POD_UID={uid}".encode() in (folder / "environ").read_bytes():
                os.kill(int(folder.name), signal.SIGKILL)


def _kill_sidecar_late(bench: Bench, run: Object) -> None:
    time.sleep(random.uniform(0.8, 2.0))  # noqa: S311 - no secret
    _kill_sidecar(bench, run)


TOLD = ("not whole", "could not be read", "cannot be used", "nothing is known of")

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
    """What came of one run: which results arrived, whether a missing one was told, and how long it took."""

    arrived: frozenset[str]
    reason: str
    told: bool
    seconds: float


def one_loss(bench: Bench, way: str, name: str, case: Case) -> Loss:
    """Take a run to its second Step, strike, and see what comes."""
    task = a_task(
        "printf early > $(results.early.path)", case.second, results=("early", "late"), **(case.task or {})
    )
    task["steps"][1] |= case.step or {}
    bench.submit(way, name, task, **(case.spec or {}))

    def second_runs(run: Object) -> bool:
        steps = run.get("status", {}).get("steps") or [{}]
        return "terminated" in steps[0] or is_done(run)

    run = bench.until(name, second_runs, 0.1)
    time.sleep(1.2)  # the second Step polls for the first one's end once a second
    struck = time.monotonic()
    if case.strike is not None:
        case.strike(bench, run)
    run = bench.until(name, is_done, 0.1)
    took = time.monotonic() - struck
    (verdict,) = [one for one in run["status"]["conditions"] if one["type"] == "Succeeded"]
    arrived = frozenset(one["name"] for one in run["status"].get("results", ()))
    told = any(words in verdict["message"] for words in TOLD)
    bench.remove(name)
    return Loss(arrived, verdict["reason"], told, took)


def losses(bench: Bench, runs: int, cases: list[str]) -> None:
    """Several runs at once; what is counted is no time."""
    print("| case | way | early arrived | late arrived | ended as | missing told | to status, s |")
    print("|---|---|--:|--:|---|--:|--:|")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for number, name in enumerate(cases):
            jobs = [
                (way, pool.submit(one_loss, bench, way, f"c{number}-{way}-{run}", CASES[name]))
                for run in range(runs)
                for way in bench.ways
            ]
            for way in bench.ways:
                done = [job.result() for other, job in jobs if other == way]
                early, late = (sum(which in one.arrived for one in done) for which in ("early", "late"))
                reasons = ", ".join(sorted({one.reason for one in done}))
                missing = [one for one in done if len(one.arrived) < len(("early", "late"))]
                told = sum(one.told for one in missing)
                median = statistics.median(one.seconds for one in done)
                worst = max(one.seconds for one in done)
                counts = f"{early}/{runs} | {late}/{runs} | {reasons} | {told}/{len(missing)}"
                print(f"| {name} | {way} | {counts} | {median:.1f} ({worst:.1f}) |", flush=True)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["times", "losses"])
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--namespace", default="bench-modes")
    parser.add_argument("--transports", nargs="+", choices=list(FLAGS), default=[])
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=[])
    parser.add_argument("--on-node", action="store_true")
    given = parser.parse_args()
    bench = Bench(
        given.namespace, given.ways or (list(FLAGS) if given.what == "times" else ["plain", "native"])
    )
    with bench.running():
        if given.what == "times":
            times(bench, given.runs)
        else:
            cases = given.cases or [one for one in CASES if given.on_node or "killed" not in one]
            losses(bench, given.runs, cases)


if __name__ == "__main__":
    main()
