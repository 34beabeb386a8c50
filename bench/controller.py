"""Measures `resultsfw controller` on a real cluster, beside Tekton's controller: `bench/controller.py -h`.

It measures bare TaskRuns; `bench/pipelines.py` measures PipelineRuns. Both controllers use the same cluster
in turns: TaskRuns of two Steps for one, then for the other, for each backend and round. CPU and memory are
read from /proc, so both processes must run on this machine: ours is started here, Tekton's is given by its
pid. Times come from two watches.
"""

# ruff: noqa: INP001, T201

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measuring.bench_namespace import LABEL, BenchNamespace
from measuring.configmaps import OwnFlags, tekton_flags
from measuring.exclusive import exclusive
from measuring.processes import Process, own_controller
from measuring.run_times import RunTimes
from measuring.runs import taskrun
from resultsfw import PODS
from resultsfw.errors import ClusterError
from resultsfw.tekton.api.kinds import TASKRUNS

OURS = f"resultsfw.dev/bench-{os.getpid()}"
BACKENDS = ("termination-message", "sidecar-logs")


def measure(
    bench_namespace: BenchNamespace,
    process: Process,
    other: Process | None,
    options: argparse.Namespace,
    *,
    ours: bool,
) -> dict[str, Any]:
    """Measure one round of one controller."""
    label = uuid.uuid4().hex[:8]
    managed_by = OURS if ours else ""
    times = RunTimes(managed_by=managed_by)
    bench_namespace.watch(times, label, (TASKRUNS, PODS))
    names = [f"b-{label}-{number}" for number in range(options.runs)]
    sizes = [options.bytes] * options.steps
    runs = [
        taskrun(
            name,
            bench_namespace.namespace,
            {LABEL: label},
            sizes=sizes,
            image=options.step_image,
            managed_by=managed_by,
        )
        for name in names
    ]
    process.forget_peak()
    began, cpu = time.monotonic(), process.cpu()
    idle = other.cpu() if other else 0.0
    at_once = options.at_once or options.runs
    for start in range(0, options.runs, at_once):
        batch = runs[start : start + at_once]
        bench_namespace.create(TASKRUNS, batch)
        times.wait(start + len(batch), options.timeout, pipelines=False)
    wall = time.monotonic() - began
    time.sleep(2)  # work after the verdict counts, too
    figures = {
        "wall_s": wall,
        "cpu_ms": (process.cpu() - cpu) / options.runs * 1000,
        "other_cpu_ms": (other.cpu() - idle) / options.runs * 1000 if other else None,
        "peak_mb": process.peak(),
        **times.figures(),
    }
    bench_namespace.clear()
    return figures


def median(values: list[float]) -> float:
    """Return the median; not a number if there are no values."""
    return statistics.median(values) if values else float("nan")


def high(values: list[float]) -> float:
    """Return the 95th percentile; not a number if there are no values."""
    return sorted(values)[int(0.95 * (len(values) - 1))] if values else float("nan")


def table(rounds: list[dict[str, Any]]) -> str:
    """Return a Markdown table with a line for each backend and controller."""
    lines = [
        (
            "| backend | controller | CPU a TaskRun, ms | peak memory, MB | pod to first Step, ms "
            "| last Step to status, ms (95 %) | all done, s |"
        ),
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for backend in BACKENDS:
        for side in ("resultsfw", "Tekton"):
            selected = [
                figures for figures in rounds if (figures["backend"], figures["side"]) == (backend, side)
            ]
            if not selected:
                continue
            start = [value for figures in selected for value in figures["start_ms"]]
            status = [value for figures in selected for value in figures["status_ms"]]
            lines.append(
                f"| {backend} | {side} | {median([figures['cpu_ms'] for figures in selected]):.1f} "
                f"| {max(figures['peak_mb'] for figures in selected):.0f} | {median(start):.0f} "
                f"| {median(status):.0f} ({high(status):.0f}) "
                f"| {median([figures['wall_s'] for figures in selected]):.1f} |"
            )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kubeconfig", default=os.environ.get("RESULTSFW_KUBECONFIG"))
    parser.add_argument("--tekton-pid", type=int, help="pid of Tekton's controller on this machine")
    parser.add_argument("--runs", type=int, default=60, help="TaskRuns of a round")
    parser.add_argument("--at-once", type=int, default=0, help="TaskRuns that are created at once; 0: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--bytes", type=int, default=200, help="bytes of each result")
    parser.add_argument("--namespace", default="resultsfw-bench", help="for runs and our flags")
    parser.add_argument("--flags-namespace", default="tekton-pipelines", help="namespace of Tekton's flags")
    parser.add_argument("--step-image", default="busybox:1")
    parser.add_argument("--backend", action="append", choices=BACKENDS, help="default: both")
    parser.add_argument("--qps", type=int, default=200)
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("controller", nargs="*", help="options of resultsfw controller, after --")
    options = parser.parse_args()
    if not options.kubeconfig:
        parser.error("name a cluster by --kubeconfig or RESULTSFW_KUBECONFIG")
    return options


def main() -> None:
    """Measure while no other benchmark does."""
    options = arguments()
    with exclusive(options.namespace):
        run(options, BenchNamespace(options.kubeconfig, options.namespace, options.timeout))


def run(options: argparse.Namespace, bench_namespace: BenchNamespace) -> None:
    """Measure and print the table."""
    tekton = Process(options.tekton_pid) if options.tekton_pid else None
    rounds: list[dict[str, Any]] = []
    size = max(4096, 2 * options.bytes)
    command = ["--managed-by", OURS, "--namespace", options.namespace, "--kubeconfig", options.kubeconfig]
    command += ["--qps", str(options.qps), "--burst", str(2 * options.qps), *options.controller]
    path = Path(tempfile.gettempdir(), f"resultsfw-bench-{os.getpid()}.log")
    with ExitStack() as stack:
        own = OwnFlags(bench_namespace.cluster, options.namespace, {})
        ours, log = stack.enter_context(own_controller(path, command, python=sys.executable))
        theirs = (
            stack.enter_context(tekton_flags(bench_namespace.cluster, options.flags_namespace))
            if tekton
            else None
        )
        for backend in options.backend or BACKENDS:
            own.set(backend, size, log)
            if theirs is not None:
                theirs.set(backend, size)
            for number in range(options.rounds):
                for side in ("resultsfw", "Tekton") if tekton else ("resultsfw",):
                    mine = side == "resultsfw"
                    process, other = (ours, tekton) if mine else (tekton, ours)
                    assert process is not None  # noqa: S101 - a side is only named if there
                    figures = measure(bench_namespace, process, other, options, ours=mine)
                    rounds.append({"backend": backend, "side": side, "round": number, **figures})
                    print(
                        f"{backend} {side}: {figures['cpu_ms']:.1f} ms a run, {figures['peak_mb']:.0f} MB, "
                        f"{figures['wall_s']:.1f} s {figures['wrong'] or ''}",
                        file=sys.stderr,
                    )
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} processors, Python "
        f"{platform.python_version()}, Kubernetes {bench_namespace.version()}, {options.runs} TaskRuns of "
        f"{options.steps} Steps, {options.at_once or options.runs} at once, {options.rounds} rounds\n"
    )
    print(table(rounds))
    if options.json:
        options.json.write_text(json.dumps(rounds))


if __name__ == "__main__":
    try:
        main()
    except ClusterError as error:
        raise SystemExit(f"{error.subject}: {error.message}") from error
