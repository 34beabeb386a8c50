"""Checks what is promised about time: `bench/promises.py` exits with 1 where a promise is broken.

Tests assert no time, since a busy machine would break them; this is for an idle one. Each figure is the best
of several: what it can do, not what a disturbed moment made of it.
"""

# ruff: noqa: INP001, T201

import os
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


def main() -> int:
    """Measure each promise; return the exit status."""
    broken = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        zipapp, _, module = sidecar.ours(folder, sys.executable)
        promises: list[tuple[str, float, Callable[[], float]]] = [
            ("the sidecar starts, as a zipapp, and prints", 180, lambda: sidecar.start_up(zipapp)[0]),
            ("the sidecar prints after the last Step", 500, lambda: sidecar.latency(sidecar.SMALL, zipapp)),
            ("the same, as a module", 500, lambda: sidecar.latency(sidecar.SMALL, module)),
            ("the entrypoint sees the file it waits for", 1000, lambda: entrypoint_wakes(folder)),
        ]
        for promise, most, measure in promises:
            best = min(measure() for _ in range(RUNS))
            broken += best > most
            print(f"{'BROKEN' if best > most else 'kept':6}  {best:7.1f} of {most:g} ms  {promise}")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
