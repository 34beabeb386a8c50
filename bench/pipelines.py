"""Repeats TEP-0127's measurement on a real cluster, beside Tekton's controller: `bench/pipelines.py -h`.

PipelineRuns of three TaskRuns of two Steps, for each backend and size of results. Our controller and
Tekton's, given by its pid, take turns on the same cluster. CPU and memory are read from /proc, so both run
on this machine; ours is started here. Times come from watches. Every finished round is written to the file
of --json at once; --resume continues there. Tekton's flags are restored in any case.

The part `scale` is for nodes that run no containers (fakelet, KWOK), which --node-selector selects.
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
from measuring.bench_namespace import LABEL, BenchNamespace
from measuring.cases import SERIES, Case, Part, capabilities, left, max_result_size, plan
from measuring.configmaps import OwnFlags, TektonFlags, tekton_flags
from measuring.exclusive import exclusive
from measuring.options import pairs
from measuring.processes import Log, Process, own_controller
from measuring.run_times import RunTimes
from measuring.runs import TASKS, pipelinerun
from resultsfw import PODS, Capabilities
from resultsfw.cluster import CONFIG_MAPS
from resultsfw.errors import ResultsError
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

OURS = f"resultsfw.dev/bench-{os.getpid()}"
"""The ``managedBy`` of the runs, so that two benchmarks do not reconcile each other's runs."""
PARTS = {"table": ([20], 3), "series": ([5], 1), "scale": ([20, 333], 1)}
"""PipelineRuns and rounds of each part."""
SETTLE = 2.0
"""Seconds after the last verdict: the work after it counts, too."""


class Bench:
    """Measures both controllers on one cluster."""

    def __init__(
        self, options: argparse.Namespace, bench_namespace: BenchNamespace, backends: dict[str, Capabilities]
    ) -> None:
        self.options, self.bench_namespace, self.records = options, bench_namespace, backends
        self.processes: dict[str, Process] = {}
        self.log: Log | None = None
        self.own: OwnFlags | None = None
        self.tekton: TektonFlags | None = None

    def measure(self, case: Case) -> dict[str, Any]:
        """Measure one round of one controller."""
        size, ours = max_result_size(case.bytes), case.side != "Tekton"
        if ours and self.own is not None:
            self.own.set(case.backend, size, self.log)
        elif self.tekton is not None:
            self.tekton.set(case.backend, size)
        label = uuid.uuid4().hex[:8]
        # Nodes that run no containers write results of any size.
        exact = self.records[case.backend].delivery == "value" and not self.options.node_selector
        times = RunTimes(case.backend, case.bytes if exact else None, OURS if ours else "")
        self.bench_namespace.watch(times, label, (PIPELINERUNS, TASKRUNS, PODS))
        runs = [
            pipelinerun(
                f"b-{label}-{number}",
                self.bench_namespace.namespace,
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
        requests, cpu, began = self.bench_namespace.requests(), process.cpu(), time.monotonic()
        self.bench_namespace.create(PIPELINERUNS, runs)
        times.wait(case.runs, self.options.timeout, pipelines=True)
        wall = time.monotonic() - began
        time.sleep(SETTLE)
        count = case.runs * TASKS
        figures = {
            "cpu_ms": round((process.cpu() - cpu) / count * 1000, 3),
            "peak_mb": round(process.peak(), 1),
            "wall_s": round(wall, 2),
            "requests": round((self.bench_namespace.requests() - requests - case.runs) / count, 2),
            **times.figures(),
        }
        self.bench_namespace.clear()
        return figures

    def warm_up(self, cases: list[Case]) -> None:
        """Run one PipelineRun for each backend and controller without measuring, to load all modules."""
        for backend, side in dict.fromkeys((case.backend, case.side) for case in cases):
            figures = self.measure(Case(part="", backend=backend, bytes=200, runs=1, round=0, side=side))
            if figures["wrong"]:
                raise SystemExit(f"{backend} {side}: {'; '.join(figures['wrong'])}")


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kubeconfig", default=os.environ.get("RESULTSFW_KUBECONFIG"))
    parser.add_argument("--tekton-pid", type=int, help="pid of Tekton's controller on this machine")
    parser.add_argument("--tekton-version", default="", help="for the record; default: from its ConfigMap")
    parser.add_argument("--tekton-namespace", default="tekton-pipelines")
    parser.add_argument("--python", default=sys.executable, help="Python with the resultsfw to be measured")
    parser.add_argument("--label", default="now", help="state of the code: now, before")
    parser.add_argument("--part", action="append", choices=PARTS, help="default: table and series")
    parser.add_argument("--runs", type=int, nargs="+", help="PipelineRuns of a round, which run at once")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--backend", action="append", help="default: the two that Tekton has, too")
    parser.add_argument("--bytes", type=int, nargs="+", help="bytes of a TaskRun's results together")
    parser.add_argument(
        "--flag", action="append", default=[], metavar="KEY=VALUE", help="further flags of our controller"
    )
    parser.add_argument("--namespace", default="resultsfw-bench-pipelines")
    parser.add_argument("--node-selector", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--step-image", default="busybox:1")
    parser.add_argument(
        "--qps", type=int, default=200, help="of our controller; start Tekton's with the same"
    )
    parser.add_argument("--timeout", type=float, default=600, help="most seconds of a round")
    parser.add_argument("--json", type=Path, help="write the figures to this file after every round")
    parser.add_argument("--resume", action="store_true", help="do only what is missing in that file")
    parser.add_argument("controller", nargs="*", help="options of resultsfw controller, after --")
    options = parser.parse_args()
    if not options.kubeconfig:
        parser.error("name a cluster by --kubeconfig or RESULTSFW_KUBECONFIG")
    for name in ("flag", "node_selector"):
        setattr(options, name, pairs(getattr(options, name)))
    return options


def parts_of(options: argparse.Namespace) -> list[Part]:
    """Return the parts, with the options in place of their defaults."""
    backends = options.backend or ["termination-message", "sidecar-logs"]
    found = []
    for name in options.part or ["table", "series"]:
        runs, rounds = PARTS[name]
        # Nodes that run no containers write only small results, in termination messages.
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
    """Return the options of our controller."""
    given = ["--managed-by", OURS, "--namespace", namespace, "--kubeconfig", options.kubeconfig]
    return [*given, "--qps", str(options.qps), "--burst", str(2 * options.qps), *options.controller]


def main() -> None:
    """Measure while no other benchmark does."""
    options = arguments()
    with exclusive(options.namespace):
        run(options, BenchNamespace(options.kubeconfig, options.namespace, options.timeout))


def run(options: argparse.Namespace, bench_namespace: BenchNamespace) -> None:
    """Measure the cases that are missing."""
    record = records.open_record(options.json, "cluster", options.label, resume=options.resume)
    parts = parts_of(options)
    backends = {name: capabilities(name, options.flag) for part in parts for name in part.backends}
    sides = ["resultsfw", "Tekton"] if options.tekton_pid else ["resultsfw"]
    cases = left(plan(parts, sides, backends), record.done())
    if not cases:
        raise SystemExit("all cases are measured")
    record.versions = {**records.versions(options.python), "Kubernetes": bench_namespace.version()}
    if options.tekton_pid:
        info = bench_namespace.cluster.get(CONFIG_MAPS, options.tekton_namespace, "pipelines-info")
        record.versions["Tekton"] = options.tekton_version or info["data"]["version"]
    log = Path(tempfile.gettempdir(), f"resultsfw-bench-{os.getpid()}.log")
    bench = Bench(options, bench_namespace, backends)
    with ExitStack() as stack:
        bench.own = OwnFlags(bench_namespace.cluster, options.namespace, options.flag)
        bench.processes["resultsfw"], bench.log = stack.enter_context(
            own_controller(log, controller_options(options, options.namespace), python=options.python)
        )
        stack.callback(bench_namespace.clear)  # before our controller ends, so that it can run its finalizers
        if options.tekton_pid:
            bench.processes["Tekton"] = Process(options.tekton_pid)
            bench.tekton = stack.enter_context(
                tekton_flags(bench_namespace.cluster, options.tekton_namespace)
            )
        bench.warm_up(cases)
        for number, case in enumerate(cases, 1):
            figures = bench.measure(case)
            record.add(case, figures)
            if options.json:
                record.write(options.json)
            print(
                f"{number}/{len(cases)} {case.part} {case.backend} {case.bytes} bytes, "
                f"{case.runs * TASKS} TaskRuns, {case.side}: {figures['cpu_ms']:.1f} ms a TaskRun, "
                f"{figures['peak_mb']:.0f} MB, {figures['requests']:.1f} requests, {figures['wall_s']:.1f} s",
                *figures["wrong"],
                file=sys.stderr,
            )


def stop(number: int, _: object) -> NoReturn:
    """Exit with cleanup, as at Ctrl-C."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    try:
        main()
    except ResultsError as error:
        raise SystemExit(f"{error.subject}: {error.message}") from error
