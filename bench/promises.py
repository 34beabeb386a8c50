"""Checks what is promised about time: `bench/promises.py` exits with 1 where a promise is broken.

Tests assert no time, since a busy machine would break them; this is for an idle one. Each figure is the best
of several: what it can do, not what a disturbed moment made of it.
"""

# ruff: noqa: INP001, T201

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable  # noqa: TC003 - of a variable
from pathlib import Path

import sidecar

ENTRYPOINT = Path(__file__).resolve().parents[1] / "resultsfw" / "local" / "entrypoint.py"
RUNS = 5


def entrypoint_wakes(folder: Path) -> float:
    """Milliseconds from the file that the entrypoint waits for to its end; Tekton's polls once a second."""
    root = Path(tempfile.mkdtemp(dir=folder))
    (root / "run" / "0").mkdir(parents=True)
    awaited, status = root / "go", root / "run" / "0" / "status"
    options = ["-wait_file", awaited, "-post_file", root / "run" / "0" / "out", "-step_metadata_dir", status]
    options += ["-termination_path", root / "message", "-entrypoint", "true", "--"]
    environment = {"PATH": os.environ["PATH"], "RESULTSFW_TEKTON_ROOT": str(root)}
    with subprocess.Popen([sys.executable, "-I", "-S", ENTRYPOINT, *options], env=environment) as process:
        time.sleep(sidecar.SETTLE * 2)
        begin = time.perf_counter()
        awaited.touch()
        if process.wait() != 0:
            raise SystemExit(f"{ENTRYPOINT} ended with status {process.returncode}")
        return (time.perf_counter() - begin) * 1e3


def seconds_of_cpu(*arguments: str) -> float:
    """Seconds of CPU that a Python process takes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def help_in_starts() -> float:
    """CPU of ``resultsfw --help``, in that of an interpreter that does nothing: a machine's speed cancels."""
    return seconds_of_cpu("-m", "resultsfw", "--help") / seconds_of_cpu("-c", "pass")


def main() -> int:
    """Measure each promise; return the exit status."""
    broken = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        zipapp, *_, module = sidecar.ours(folder, sys.executable)
        small = sidecar.SMALL
        promises: list[tuple[str, float, str, Callable[[], float]]] = [
            ("the sidecar starts, as a zipapp, and prints", 180, "ms", lambda: sidecar.start_up(zipapp)[0]),
            ("the sidecar prints after the last Step", 500, "ms", lambda: sidecar.latency(small, zipapp)),
            ("the same, as a module", 500, "ms", lambda: sidecar.latency(small, module)),
            ("the entrypoint sees the file it waits for", 1000, "ms", lambda: entrypoint_wakes(folder)),
            ("resultsfw --help prints", 200, "ms", lambda: seconds_of_cpu("-m", "resultsfw", "--help") * 1e3),
            ("the same, in starts of an interpreter", 10, "x", help_in_starts),
        ]
        for promise, most, unit, measure in promises:
            best = min(measure() for _ in range(RUNS))
            broken += best > most
            print(f"{'BROKEN' if best > most else 'kept':6}  {best:7.1f} of {most:g} {unit}  {promise}")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
