"""Measures `resultsfw controller` on a real cluster, beside Tekton's controller: `bench/controller.py -h`.

Bare TaskRuns; `bench/pipelines.py` measures PipelineRuns. Both controllers work on the same cluster, in
turns: so many TaskRuns of two Steps for the one, then for the other, for each backend, and again. CPU and
memory are read from /proc, so both processes must run on this machine: ours is started here, Tekton's is
named by its pid. What happened when is what two watches saw.
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

from measuring.alone import alone
from measuring.configmaps import OwnFlags, tekton_flags
from measuring.place import LABEL, Place
from measuring.processes import Process, own_controller
from measuring.runs import taskrun
from measuring.seen import Seen
from resultsfw import PODS
from resultsfw.errors import ClusterError
from resultsfw.tekton.api.kinds import TASKRUNS

OURS = f"resultsfw.dev/bench-{os.getpid()}"
BACKENDS = ("termination-message", "sidecar-logs")


def measure(
    place: Place, process: Process, other: Process | None, options: argparse.Namespace, *, ours: bool
) -> dict[str, Any]:
    """One round for one side."""
    label = uuid.uuid4().hex[:8]
    managed_by = OURS if ours else ""
    seen = Seen(managed_by=managed_by)
    place.watch(seen, label, (TASKRUNS, PODS))
    names = [f"b-{label}-{number}" for number in range(options.runs)]
    sizes = [options.bytes] * options.steps
    runs = [
        taskrun(
            name,
            place.namespace,
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
        place.create(TASKRUNS, batch)
        seen.wait(start + len(batch), options.timeout, pipelines=False)
    wall = time.monotonic() - began
    time.sleep(2)  # what is done after the verdict counts too
    told = {
        "wall_s": wall,
        "cpu_ms": (process.cpu() - cpu) / options.runs * 1000,
        "other_cpu_ms": (other.cpu() - idle) / options.runs * 1000 if other else None,
        "peak_mb": process.peak(),
        **seen.figures(),
    }
    place.clear()
    return told


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
            "| backend | controller | CPU a TaskRun, ms | peak memory, MB | pod to first Step, ms "
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
    parser.add_argument("--namespace", default="resultsfw-bench", help="for runs and for our flags")
    parser.add_argument("--flags-namespace", default="tekton-pipelines", help="where Tekton's flags are")
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
    """Measure, alone."""
    options = arguments()
    with alone(options.namespace):
        run(options, Place(options.kubeconfig, options.namespace, options.timeout))


def run(options: argparse.Namespace, place: Place) -> None:
    """Measure, and print the table."""
    tekton = Process(options.tekton_pid) if options.tekton_pid else None
    rounds: list[dict[str, Any]] = []
    size = max(4096, 2 * options.bytes)
    command = ["--managed-by", OURS, "--namespace", options.namespace, "--kubeconfig", options.kubeconfig]
    command += ["--qps", str(options.qps), "--burst", str(2 * options.qps), *options.controller]
    path = Path(tempfile.gettempdir(), f"resultsfw-bench-{os.getpid()}.log")
    with ExitStack() as stack:
        own = OwnFlags(place.cluster, options.namespace, {})
        ours, log = stack.enter_context(own_controller(path, command, python=sys.executable))
        theirs = stack.enter_context(tekton_flags(place.cluster, options.flags_namespace)) if tekton else None
        for backend in options.backend or BACKENDS:
            own.set(backend, size, log)
            if theirs is not None:
                theirs.set(backend, size)
            for number in range(options.rounds):
                for side in ("resultsfw", "Tekton") if tekton else ("resultsfw",):
                    mine = side == "resultsfw"
                    process, other = (ours, tekton) if mine else (tekton, ours)
                    assert process is not None  # noqa: S101 - a side is only named if there
                    told = measure(place, process, other, options, ours=mine)
                    rounds.append({"backend": backend, "side": side, "round": number, **told})
                    print(
                        f"{backend} {side}: {told['cpu_ms']:.1f} ms a run, {told['peak_mb']:.0f} MB, "
                        f"{told['wall_s']:.1f} s {told['wrong'] or ''}",
                        file=sys.stderr,
                    )
    print(
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} processors, Python "
        f"{platform.python_version()}, Kubernetes {place.version()}, {options.runs} TaskRuns of "
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
