"""Repeats TEP-0127's measurement on the local engine: `bench/engine.py -h`.

PipelineRuns of three TaskRuns of two Steps, for each backend and size of results. Each round runs in a
process of its own, with engine, store, kubelet and reconcilers. Its CPU and memory are measured, and
separately the CPU of the Steps and sidecars. Every finished round is written to the file of --json at once;
--resume continues there.
"""

# ruff: noqa: INP001, T201

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from measuring import records
from measuring.cases import SERIES, Case, Part, capabilities, left, max_result_size, plan
from measuring.options import pairs
from measuring.processes import Process
from measuring.run_times import RunTimes
from measuring.runs import TASKS, pipelinerun
from resultsfw import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.local import Engine
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.taskrun.reconciler import Reconciler

PARTS = {"table": ([20], 3), "series": ([5], 2)}
"""PipelineRuns and rounds of each part."""
BACKENDS = ["termination-message", "sidecar-logs", "config-map"]
"""Backends that need nothing but the engine."""


def measure(case: Case, flags: dict[str, str], timeout: float) -> dict[str, Any]:
    """Measure one round in this process."""
    sizes = {"results-from": case.backend, "max-result-size": str(max_result_size(case.bytes))}
    core = ResultsManager.from_flags({**flags, **sizes})
    by_value = core.backend(case.backend).capabilities.delivery == "value"
    times = RunTimes(case.backend, case.bytes if by_value else None)
    with _engine(core, RunTimes()) as engine:  # not measured: it loads all modules
        engine.submit(pipelinerun("warm", "default", {}, size=case.bytes, image="none"))
        engine.run_until_done(timeout)
    with _engine(core, times) as engine:
        cpu, children, began = time.process_time(), _children(), time.monotonic()
        for number in range(case.runs):
            engine.submit(pipelinerun(f"b-{number}", "default", {}, size=case.bytes, image="none"))
        engine.run_until_done(timeout)
        times.wait(case.runs, timeout, pipelines=True)
        wall, used = time.monotonic() - began, time.process_time() - cpu
    count = case.runs * TASKS
    return {
        "cpu_ms": round(used / count * 1000, 3),
        # The kernel counts a process once it was waited for: all were when the engine has ended.
        "pods_cpu_ms": round((_children() - children) / count * 1000, 3),
        "peak_mb": round(Process().peak(), 1),
        "wall_s": round(wall, 2),
        **times.figures(),
    }


def _engine(core: ResultsManager, times: RunTimes) -> Engine:
    return Engine(
        lambda cluster: Reconciler(core, cluster),
        on_event=times.event,
        pipelines=lambda cluster: PipelineReconciler(core, cluster),
    )


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_in_process(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one round in a process of its own."""
    task = json.dumps({"case": asdict(case), "flags": options.flag, "timeout": options.timeout})
    command = [options.python, __file__, "--one", task]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{case}: the round ended with status {ran.returncode}")
    figures: dict[str, Any] = json.loads(ran.stdout)
    return figures


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="Python with the resultsfw to be measured")
    parser.add_argument("--label", default="now", help="state of the code: now, before")
    parser.add_argument("--part", action="append", choices=PARTS, help="default: both")
    parser.add_argument("--runs", type=int, nargs="+", help="PipelineRuns of a round, which run at once")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--backend", action="append", help=f"default: {', '.join(BACKENDS)}")
    parser.add_argument("--bytes", type=int, nargs="+", help="bytes of a TaskRun's results together")
    parser.add_argument(
        "--flag", action="append", default=[], metavar="KEY=VALUE", help="further feature flags"
    )
    parser.add_argument("--timeout", type=float, default=600, help="most seconds of a round")
    parser.add_argument("--json", type=Path, help="write the figures to this file after every round")
    parser.add_argument("--resume", action="store_true", help="do only what is missing in that file")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a round: this program calls itself
    options = parser.parse_args()
    options.flag = pairs(options.flag)
    return options


def main() -> None:
    """Measure the cases that are missing."""
    options = arguments()
    if options.one:
        task = json.loads(options.one)
        print(json.dumps(measure(Case(**task["case"]), task["flags"], task["timeout"])))
        return
    record = records.open_record(options.json, "engine", options.label, resume=options.resume)
    chosen = options.backend or BACKENDS
    parts = [
        Part(
            name=name,
            backends=chosen,
            sizes=options.bytes or (SERIES if name == "series" else SERIES[:1]),
            runs=options.runs or PARTS[name][0],
            rounds=options.rounds or PARTS[name][1],
        )
        for name in options.part or PARTS
    ]
    cases = left(
        plan(parts, ["resultsfw"], {name: capabilities(name, options.flag) for name in chosen}),
        record.done(),
    )
    record.versions = records.versions(options.python)
    for number, case in enumerate(cases, 1):
        figures = measure_in_process(case, options)
        record.add(case, figures)
        if options.json:
            record.write(options.json)
        print(
            f"{number}/{len(cases)} {case.part} {case.backend} {case.bytes} bytes, {case.runs * TASKS} "
            f"TaskRuns: {figures['cpu_ms']:.1f} ms a TaskRun, pods {figures['pods_cpu_ms']:.1f} ms, "
            f"{figures['peak_mb']:.0f} MB, {figures['wall_s']:.1f} s",
            *figures["wrong"],
            file=sys.stderr,
        )


if __name__ == "__main__":
    try:
        main()
    except ResultsError as error:
        raise SystemExit(f"{error.subject}: {error.message}") from error
