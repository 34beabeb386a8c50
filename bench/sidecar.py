"""Measures the results sidecar, beside another with Tekton's flags: `bench/sidecar.py --other PATH`.

Tekton's own reads only /tekton/run, so /tekton is created for it and removed afterwards, which needs root.
It prints nothing when it is ready: both get the same time to start, and the last `out` file is written at a
random moment of the polling interval.
"""

# ruff: noqa: INP001, T201

import argparse
import contextlib
import os
import platform
import random
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

SIDECAR = Path(__file__).resolve().parents[1] / "sidecar"
SOURCES = SIDECAR.parent / "resultsfw"
TEKTON = Path("/tekton")
SETTLE = 0.15  # seconds in which a sidecar starts, before the measurement
INTERVAL = 0.1  # Tekton's default polling interval
STEPS = 3

LOADS = {
    "1 small result": {"digest": b"sha256:0123"},
    "1,000 small results": {f"result-{number}": b"sha256:0123" for number in range(1000)},
    "1 result of 1.4 MB": {"big": b"x" * 1_400_000},
}
SMALL = next(iter(LOADS))


def source_text(size: int) -> bytes:
    """Return the beginning of our own sources: a text as compressible as a report or a log."""
    return b"".join(file.read_bytes() for file in sorted(SOURCES.rglob("*.py")))[:size]


TEXTS = {
    "a text of 100 KB": {"text": source_text(100_000)},
    "a text of 1 MB": {"text": source_text(1_000_000)},
}
"""Values that compression makes smaller."""


def values_of(load: str) -> dict[str, bytes]:
    """Return the values of a load, by the result's name."""
    return LOADS[load] if load in LOADS else TEXTS[load]


class Candidate:
    """A sidecar to measure."""

    def __init__(self, name: str, command: list[str], root: Path, variables: dict[str, str]) -> None:
        self.name = name
        self.command = command
        self.root = root
        self.variables = variables

    def prepare(self, load: str) -> None:
        """Create the folders of a pod whose Steps run and have written their results."""
        for folder in ("results", "steps", "run"):
            shutil.rmtree(self.root / folder, ignore_errors=True)
            (self.root / folder).mkdir(parents=True)
        for number in range(STEPS):
            (self.root / "run" / str(number)).mkdir()
        for name, value in values_of(load).items():
            (self.root / "results" / name).write_bytes(value)

    def end_steps(self, *, last: bool) -> None:
        """End the last Step, or all others."""
        for number in [STEPS - 1] if last else range(STEPS - 1):
            (self.root / "run" / str(number) / "out").touch()

    @contextlib.contextmanager
    def started(self, load: str, *flags: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start the sidecar, and kill it afterwards if it still runs."""
        command = [*self.command, "-results-dir", str(self.root / "results")]
        command += [
            "-result-names",
            ",".join(values_of(load)),
            "-step-names",
            "",
            "-step-results",
            "{}",
            *flags,
        ]
        process = subprocess.Popen(
            command,
            env={"PATH": os.environ["PATH"], **self.variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()


def read_all(process: subprocess.Popen[bytes], lines: int) -> float:
    """Read the log and return the time of its last byte."""
    assert process.stdout  # noqa: S101 - it is a pipe
    last, count = 0.0, 0
    while data := os.read(process.stdout.fileno(), 1 << 20):
        last = time.perf_counter()
        count += data.count(b"\n")
    if count < lines:
        raise SystemExit(f"{process.args!r}: {count} lines instead of {lines}")
    return last


def latency(load: str, candidate: Candidate) -> float:
    """Return the milliseconds from the last `out` file to the last byte printed."""
    candidate.prepare(load)
    with candidate.started(load) as process:
        candidate.end_steps(last=False)
        time.sleep(SETTLE + random.random() * INTERVAL)  # noqa: S311 - a delay
        begin = time.perf_counter()
        candidate.end_steps(last=True)
        return (read_all(process, len(LOADS[load])) - begin) * 1e3


def start_up(candidate: Candidate, load: str = SMALL) -> tuple[float, float]:
    """Return the milliseconds from start to the last byte if all Steps have ended, and those of CPU."""
    candidate.prepare(load)
    candidate.end_steps(last=False)
    candidate.end_steps(last=True)
    begin = time.perf_counter()
    with candidate.started(load) as process:
        passed = read_all(process, 1) - begin
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return passed * 1e3, (usage.ru_utime + usage.ru_stime) * 1e3


def cpu(load: str, candidate: Candidate) -> float:
    """Return the milliseconds of CPU of a run whose Steps have ended."""
    return start_up(candidate, load)[1]


def log_bytes(candidate: Candidate, load: str) -> float:
    """Return the KB that the sidecar prints."""
    candidate.prepare(load)
    candidate.end_steps(last=False)
    candidate.end_steps(last=True)
    with candidate.started(load) as process:
        printed, _ = process.communicate()
    return len(printed) / 1e3


def ready(candidate: Candidate) -> float:
    """Milliseconds from start to the line that says so; only ours prints one."""
    candidate.prepare(SMALL)
    begin = time.perf_counter()
    with candidate.started(SMALL) as process:
        assert process.stdout  # noqa: S101 - it is a pipe
        select.select([process.stdout], [], [])
        return (time.perf_counter() - begin) * 1e3


def peak(candidate: Candidate, load: str) -> float:
    """Return the peak resident memory in MB while it prints the load."""
    candidate.prepare(load)
    candidate.end_steps(last=False)
    candidate.end_steps(last=True)
    # A native sidecar goes on after it has printed. (rusage would include our own memory before exec.)
    with candidate.started(load, "-kubernetes-sidecar-mode", "true") as process:
        assert process.stdout  # noqa: S101 - it is a pipe
        left, end = sum(map(len, values_of(load).values())), b""
        while (left > 0 and b'"type":"end"' not in end) or select.select([process.stdout], [], [], SETTLE)[0]:
            data = os.read(process.stdout.fileno(), 1 << 20)
            left, end = left - len(data), (end + data)[-1000:]
        text = Path(f"/proc/{process.pid}/status").read_text()
        process.send_signal(signal.SIGTERM)
    return int(text.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


def waiting(candidates: list[Candidate], seconds: float) -> list[float]:
    """Return the percentage of a processor that each uses while it waits; all wait at the same time."""

    def used(process: subprocess.Popen[bytes]) -> float:
        threads = Path(f"/proc/{process.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9

    with contextlib.ExitStack() as stack:
        processes = []
        for candidate in candidates:
            candidate.prepare(SMALL)
            processes.append(stack.enter_context(candidate.started(SMALL)))
        time.sleep(SETTLE * 5)
        before = [used(process) for process in processes]
        time.sleep(seconds)
        after = [used(process) for process in processes]
    return [(late - early) / seconds * 100 for early, late in zip(before, after, strict=True)]


def median(values: list[float]) -> str:
    """Return the median and the maximum."""
    return f"{statistics.median(values):.1f} ({max(values):.1f})"


def table(candidates: list[Candidate], runs: int, seconds: float) -> str:
    """Measure everything and return a Markdown table."""

    def each(measure: Callable[[Candidate], float]) -> list[str]:
        return [median([measure(candidate) for _ in range(runs)]) for candidate in candidates]

    rows: dict[str, list[str]] = {}
    for load in LOADS:
        rows[f"last `out` to last byte, {load}, ms"] = each(partial(latency, load))
    starts = [[start_up(candidate) for _ in range(runs)] for candidate in candidates]
    rows["start to last byte, Steps already done, ms"] = [
        median([passed for passed, _ in measured]) for measured in starts
    ]
    rows["CPU of that whole run, ms"] = [median([cpu for _, cpu in measured]) for measured in starts]
    for load in TEXTS:
        rows[f"CPU of that run, {load}, ms"] = each(partial(cpu, load))
        rows[f"log, {load}, KB"] = [f"{log_bytes(candidate, load):.1f}" for candidate in candidates]
    rows["start to ready, ms"] = [
        median([ready(candidate) for _ in range(runs)]) if candidate.variables else "-"
        for candidate in candidates
    ]
    rows[f"CPU while waiting {seconds:g} s, % of a core"] = [
        f"{share:.3f}" for share in waiting(candidates, seconds)
    ]
    for load in (*LOADS, *TEXTS):
        rows[f"peak memory, {load}, MB"] = [f"{peak(candidate, load):.1f}" for candidate in candidates]
    lines = [
        [f"median of {runs} (worst)", *(candidate.name for candidate in candidates)],
        ["---", *("--:" for _ in candidates)],
    ]
    lines += [[name, *cells] for name, cells in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def ours(folder: Path, python: str) -> list[Candidate]:
    """Return our sidecar as a container starts it, and three variants."""
    zipapp = folder / "resultsfw-sidecar.pyz"
    subprocess.run([sys.executable, SIDECAR / "build_zipapp.py", zipapp], check=True)
    single = [python, "-IS", str(zipapp)]
    module = [python, "-S", "-m", "resultsfw_sidecar"]
    variants: list[tuple[str, list[str], dict[str, str]]] = [
        ("ours: zipapp", single, {}),
        ("ours: zipapp, polling", single, {"RESULTSFW_WATCH": "poll"}),
        ("ours: zipapp, wire 2", single, {"RESULTSFW_WIRE": "2"}),
        ("ours: module", module, {"PYTHONPATH": str(SIDECAR)}),
    ]
    common = {"RESULTSFW_WIRE": "1"}
    return [
        Candidate(name, command, root, {**common, "RESULTSFW_TEKTON_ROOT": str(root), **variables})
        for root, (name, command, variables) in zip(map(folder.joinpath, "0123"), variants, strict=True)
    ]


@contextlib.contextmanager
def tekton_folder() -> Iterator[None]:
    """Create /tekton, and remove it afterwards."""
    TEKTON.mkdir()  # fails if it exists: then it is not ours to remove
    try:
        yield
    finally:
        shutil.rmtree(TEKTON)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description="Measures the results sidecar; prints a Markdown table.")
    parser.add_argument("--other", help="path of another sidecar to measure, too")
    parser.add_argument("--runs", type=int, default=20, help="default: %(default)s")
    parser.add_argument("--wait", type=float, default=60, help="seconds of waiting; default: %(default)s")
    parser.add_argument("--python", default=sys.executable, help="Python for our sidecar; default: this one")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        candidates = ours(folder, options.python)
        if options.other:
            stack.enter_context(tekton_folder())
            candidates.append(Candidate(Path(options.other).name, [options.other], TEKTON, {}))
        processors = len(os.sched_getaffinity(0))
        print(f"Python {platform.python_version()}, Linux {platform.release()}, {processors} processors\n")
        print(table(candidates, options.runs, options.wait))


if __name__ == "__main__":
    main()
