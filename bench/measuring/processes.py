"""Measures CPU and memory of processes from /proc, and starts our controller as one of them."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A process of this machine, by default this one, whose CPU and memory are read from /proc."""

    def __init__(self, pid: int | None = None) -> None:
        self.folder = Path("/proc", "self" if pid is None else str(pid))

    def cpu(self) -> float:
        """Return the seconds of user and system time so far."""
        fields = (self.folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def peak(self) -> float:
        """Return the peak of resident memory since `forget_peak`, in megabytes."""
        lines = (self.folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def forget_peak(self) -> None:
        """Count the peak from now on."""
        (self.folder / "clear_refs").write_text("5")


class Log:
    """The log of a process."""

    def __init__(self, path: Path, process: "subprocess.Popen[bytes]") -> None:
        self._path, self._process = path, process

    def length(self) -> int:
        """Return the length of the log so far."""
        return len(self._path.read_text())

    def wait_for(self, words: str, since: int = 0) -> None:
        """Wait until the log contains some text.

        Raises:
            SystemExit: The process ended, or a minute has passed.
        """
        end = time.monotonic() + 60
        while words not in self._path.read_text()[since:]:
            if time.monotonic() > end or self._process.poll() is not None:
                raise SystemExit(f"the controller did not log {words!r}: {self._path.read_text()[-2000:]}")
            time.sleep(0.05)


@contextmanager
def own_controller(log: Path, options: Sequence[str], *, python: str) -> Iterator[tuple[Process, Log]]:
    """Start our controller as a process, and terminate it afterwards.

    Args:
        log: File for its log.
        options: Options of ``resultsfw controller``.
        python: Python of an environment with the resultsfw to be measured.
    """
    # -P: not the resultsfw of the current directory.
    command = [
        python,
        "-P",
        "-m",
        "resultsfw.cli",
        "controller",
        "--no-leader-elect",
        "--listen",
        "127.0.0.1:0",
    ]
    with log.open("w") as file, subprocess.Popen([*command, *options], stderr=file) as process:
        try:
            output = Log(log, process)
            output.wait_for("this replica is the leader")
            yield Process(process.pid), output
        finally:
            process.terminate()
            process.wait(30)
