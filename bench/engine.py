"""Repeats TEP-0127's measurement on the engine with no cluster: `bench/engine.py -h`.

PipelineRuns of three TaskRuns of two Steps, for each backend and so many bytes of results. Every round has a
process of its own, which is engine, store, kubelet and reconcilers in one: its CPU and memory are measured,
and beside them the CPU of what it started, the Steps and sidecars. Every round that ended is in the file of
--json at once; --resume goes on there.
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
from measuring.runs import TASKS, pipelinerun
from measuring.seen import Seen
from resultsfw import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.local import Engine
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.taskrun.reconciler import Reconciler

PARTS = {"table": ([20], 3), "series": ([5], 2)}
"""PipelineRuns and rounds of each part."""
BACKENDS = ["termination-message", "sidecar-logs", "config-map"]
"""Those that need nothing but the engine."""


def measure(case: Case, flags: dict[str, str], timeout: float) -> dict[str, Any]:
    """One round, in this process."""
    sizes = {"results-from": case.backend, "max-result-size": str(max_result_size(case.bytes))}
    core = ResultsManager.from_flags({**flags, **sizes})
    by_value = core.backend(case.backend).capabilities.delivery == "value"
    seen = Seen(case.backend, case.bytes if by_value else None)
    with _engine(core, Seen()) as engine:  # not counted: now all modules are loaded
        engine.submit(pipelinerun("warm", "default", {}, size=case.bytes, image="none"))
        engine.run_until_done(timeout)
    with _engine(core, seen) as engine:
        cpu, children, began = time.process_time(), _children(), time.monotonic()
        for number in range(case.runs):
            engine.submit(pipelinerun(f"b-{number}", "default", {}, size=case.bytes, image="none"))
        engine.run_until_done(timeout)
        seen.wait(case.runs, timeout, pipelines=True)
        wall, used = time.monotonic() - began, time.process_time() - cpu
    count = case.runs * TASKS
    return {
        "cpu_ms": round(used / count * 1000, 3),
        # Told by the kernel when a process is waited for: all are when the engine has ended.
        "pods_cpu_ms": round((_children() - children) / count * 1000, 3),
        "peak_mb": round(Process().peak(), 1),
        "wall_s": round(wall, 2),
        **seen.figures(),
    }


def _engine(core: ResultsManager, seen: Seen) -> Engine:
    return Engine(
        lambda cluster: Reconciler(core, cluster),
        on_event=seen.event,
        pipelines=lambda cluster: PipelineReconciler(core, cluster),
    )


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def apart(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """One round in a process of its own."""
    task = json.dumps({"case": asdict(case), "flags": options.flag, "timeout": options.timeout})
    command = [options.python, __file__, "--one", task]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if ran.returncode:
        raise SystemExit(f"{case}: the round ended with status {ran.returncode}")
    told: dict[str, Any] = json.loads(ran.stdout)
    return told


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", default=sys.executable, help="with the resultsfw to be measured")
    parser.add_argument("--label", default="now", help="of what is measured, for the page: now, before")
    parser.add_argument("--part", action="append", choices=PARTS, help="default: both")
    parser.add_argument("--runs", type=int, nargs="+", help="PipelineRuns of a round, all at once")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--backend", action="append", help=f"default: {', '.join(BACKENDS)}")
    parser.add_argument("--bytes", type=int, nargs="+", help="of a TaskRun's results, together")
    parser.add_argument("--flag", action="append", default=[], metavar="KEY=VALUE", help="of feature-flags")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for one round")
    parser.add_argument("--json", type=Path, help="what was measured; written after every round")
    parser.add_argument("--resume", action="store_true", help="do what is missing in that file")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # a round: this program calls itself
    options = parser.parse_args()
    options.flag = pairs(options.flag)
    return options


def main() -> None:
    """Measure what is not measured yet."""
    options = arguments()
    if options.one:
        task = json.loads(options.one)
        print(json.dumps(measure(Case(**task["case"]), task["flags"], task["timeout"])))
        return
    record = records.opened(options.json, "engine", options.label, resume=options.resume)
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
        told = apart(case, options)
        record.add(case, told)
        if options.json:
            record.write(options.json)
        print(
            f"{number}/{len(cases)} {case.part} {case.backend} {case.bytes} bytes, {case.runs * TASKS} "
            f"TaskRuns: {told['cpu_ms']:.1f} ms a TaskRun, pods {told['pods_cpu_ms']:.1f} ms, "
            f"{told['peak_mb']:.0f} MB, {told['wall_s']:.1f} s",
            *told["wrong"],
            file=sys.stderr,
        )


if __name__ == "__main__":
    try:
        main()
    except ResultsError as error:
        raise SystemExit(f"{error.subject}: {error.message}") from error
