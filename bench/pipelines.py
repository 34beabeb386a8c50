"""Repeats TEP-0127's measurement on a real cluster, beside Tekton's controller: `bench/pipelines.py -h`.

PipelineRuns of three TaskRuns of two Steps, for each backend and so many bytes of results; ours and, named
by its pid, Tekton's controller take turns on the same cluster. CPU and memory are read from /proc, so both
run on this machine: ours is started here. What happened when is what watches saw. Every round that ended is
in the file of --json at once; --resume goes on there. Tekton's flags are put back whatever happens.

The part `scale` is for nodes that run nothing (fakelet, KWOK): --node-selector says which.
"""

# ruff: noqa: INP001, T201

import argparse
import os
import signal
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

from measuring import records
from measuring.alone import alone
from measuring.cases import SERIES, Case, Part, capabilities, left, max_result_size, plan
from measuring.configmaps import OwnFlags, TektonFlags, tekton_flags
from measuring.options import pairs
from measuring.place import LABEL, Place
from measuring.processes import Log, Process, own_controller
from measuring.runs import TASKS, pipelinerun
from measuring.seen import Seen
from resultsfw import PODS, Capabilities
from resultsfw.cluster import CONFIG_MAPS
from resultsfw.errors import ResultsError
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

OURS = f"resultsfw.dev/bench-{os.getpid()}"
"""Two benchmarks at once do not take each other's runs."""
PARTS = {"table": ([20], 3), "series": ([5], 1), "scale": ([20, 333], 1)}
"""PipelineRuns and rounds of each part."""
SETTLE = 2.0
"""Seconds after the last verdict: what is done after it counts too."""


class Bench:
    """Both sides on one cluster."""

    def __init__(self, options: argparse.Namespace, place: Place, backends: dict[str, Capabilities]) -> None:
        self.options, self.place, self.records = options, place, backends
        self.processes: dict[str, Process] = {}
        self.log: Log | None = None
        self.own: OwnFlags | None = None
        self.tekton: TektonFlags | None = None

    def measure(self, case: Case) -> dict[str, Any]:
        """One round for one side."""
        size, ours = max_result_size(case.bytes), case.side != "Tekton"
        if ours and self.own is not None:
            self.own.set(case.backend, size, self.log)
        elif self.tekton is not None:
            self.tekton.set(case.backend, size)
        label = uuid.uuid4().hex[:8]
        # Nodes that run nothing write what they like.
        exact = self.records[case.backend].by == "value" and not self.options.node_selector
        seen = Seen(case.backend, case.bytes if exact else None, OURS if ours else "")
        self.place.watch(seen, label, (PIPELINERUNS, TASKRUNS, PODS))
        runs = [
            pipelinerun(
                f"b-{label}-{number}",
                self.place.namespace,
                {LABEL: label},
                size=case.bytes,
                image=self.options.step_image,
                managed_by=OURS if ours else "",
                node_selector=self.options.node_selector,
            )
            for number in range(case.runs)
        ]
        process = self.processes[case.side]
        process.forget_peak()
        asked, cpu, began = self.place.requests(), process.cpu(), time.monotonic()
        self.place.create(PIPELINERUNS, runs)
        seen.wait(case.runs, self.options.timeout, pipelines=True)
        wall = time.monotonic() - began
        time.sleep(SETTLE)
        count = case.runs * TASKS
        told = {
            "cpu_ms": round((process.cpu() - cpu) / count * 1000, 3),
            "peak_mb": round(process.peak(), 1),
            "wall_s": round(wall, 2),
            "requests": round((self.place.requests() - asked - case.runs) / count, 2),
            **seen.figures(),
        }
        self.place.clear()
        return told

    def warm_up(self, cases: list[Case]) -> None:
        """One PipelineRun for each backend and side that is not counted: now all modules are loaded."""
        for backend, side in dict.fromkeys((case.backend, case.side) for case in cases):
            told = self.measure(Case(part="", backend=backend, bytes=200, runs=1, round=0, side=side))
            if told["wrong"]:
                raise SystemExit(f"{backend} {side}: {'; '.join(told['wrong'])}")


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kubeconfig", default=os.environ.get("RESULTSFW_KUBECONFIG"))
    parser.add_argument("--tekton-pid", type=int, help="of Tekton's controller, where it runs here")
    parser.add_argument("--tekton-version", default="", help="for the record; default: as it says itself")
    parser.add_argument("--tekton-namespace", default="tekton-pipelines")
    parser.add_argument("--python", default=sys.executable, help="with the resultsfw to be measured")
    parser.add_argument("--label", default="now", help="of what is measured, for the page: now, before")
    parser.add_argument("--part", action="append", choices=PARTS, help="default: table and series")
    parser.add_argument("--runs", type=int, nargs="+", help="PipelineRuns of a round, all at once")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--backend", action="append", help="default: those two that Tekton has, too")
    parser.add_argument("--bytes", type=int, nargs="+", help="of a TaskRun's results, together")
    parser.add_argument("--flag", action="append", default=[], metavar="KEY=VALUE", help="of our ConfigMap")
    parser.add_argument("--namespace", default="resultsfw-bench-pipelines")
    parser.add_argument("--node-selector", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--step-image", default="busybox:1")
    parser.add_argument("--qps", type=int, default=200, help="of ours; start Tekton's with the same")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one round")
    parser.add_argument("--json", type=Path, help="what was measured; written after every round")
    parser.add_argument("--resume", action="store_true", help="do what is missing in that file")
    parser.add_argument("controller", nargs="*", help="options of resultsfw controller, behind --")
    options = parser.parse_args()
    if not options.kubeconfig:
        parser.error("name a cluster by --kubeconfig or RESULTSFW_KUBECONFIG")
    for name in ("flag", "node_selector"):
        setattr(options, name, pairs(getattr(options, name)))
    return options


def parts_of(options: argparse.Namespace) -> list[Part]:
    """The parts, with what was asked for in place of their own."""
    backends = options.backend or ["termination-message", "sidecar-logs"]
    found = []
    for name in options.part or ["table", "series"]:
        runs, rounds = PARTS[name]
        # What nodes that run nothing say is small, and in termination messages.
        few = backends[:1] if name == "scale" and not options.backend else backends
        sizes = options.bytes or (SERIES if name == "series" else SERIES[:1])
        found.append(
            Part(
                name=name,
                backends=few,
                sizes=sizes,
                runs=options.runs or runs,
                rounds=options.rounds or rounds,
            )
        )
    return found


def controller_options(options: argparse.Namespace, namespace: str) -> list[str]:
    """Of ours."""
    given = ["--managed-by", OURS, "--namespace", namespace, "--kubeconfig", options.kubeconfig]
    return [*given, "--qps", str(options.qps), "--burst", str(2 * options.qps), *options.controller]


def main() -> None:
    """Measure, alone."""
    options = arguments()
    with alone(options.namespace):
        run(options, Place(options.kubeconfig, options.namespace, options.timeout))


def run(options: argparse.Namespace, place: Place) -> None:
    """Measure what is not measured yet."""
    record = records.opened(options.json, "cluster", options.label, resume=options.resume)
    parts = parts_of(options)
    backends = {name: capabilities(name, options.flag) for part in parts for name in part.backends}
    sides = ["resultsfw", "Tekton"] if options.tekton_pid else ["resultsfw"]
    cases = left(plan(parts, sides, backends), record.done())
    if not cases:
        raise SystemExit("there is nothing left to measure")
    record.versions = {**records.versions(options.python), "Kubernetes": place.version()}
    if options.tekton_pid:
        info = place.cluster.get(CONFIG_MAPS, options.tekton_namespace, "pipelines-info")
        record.versions["Tekton"] = options.tekton_version or info["data"]["version"]
    log = Path(tempfile.gettempdir(), f"resultsfw-bench-{os.getpid()}.log")
    bench = Bench(options, place, backends)
    with ExitStack() as stack:
        bench.own = OwnFlags(place.cluster, options.namespace, options.flag)
        bench.processes["resultsfw"], bench.log = stack.enter_context(
            own_controller(log, controller_options(options, options.namespace), python=options.python)
        )
        stack.callback(place.clear)  # before ours ends, so that what it keeps outside goes too
        if options.tekton_pid:
            bench.processes["Tekton"] = Process(options.tekton_pid)
            bench.tekton = stack.enter_context(tekton_flags(place.cluster, options.tekton_namespace))
        bench.warm_up(cases)
        for number, case in enumerate(cases, 1):
            told = bench.measure(case)
            record.add(case, told)
            if options.json:
                record.write(options.json)
            print(
                f"{number}/{len(cases)} {case.part} {case.backend} {case.bytes} bytes, "
                f"{case.runs * TASKS} TaskRuns, {case.side}: {told['cpu_ms']:.1f} ms a TaskRun, "
                f"{told['peak_mb']:.0f} MB, {told['requests']:.1f} requests, {told['wall_s']:.1f} s",
                *told["wrong"],
                file=sys.stderr,
            )


def stop(number: int, _: object) -> NoReturn:
    """End as by Ctrl-C, so that everything is put back."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        main()
    except ResultsError as error:
        raise SystemExit(f"{error.subject}: {error.message}") from error
