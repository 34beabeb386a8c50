"""Processes that are measured: their CPU and memory from /proc, and our controller as one of them."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


class Process:
    """A process of this machine, or this one, whose CPU and memory are read from /proc."""

    def __init__(self, pid: int | None = None) -> None:
        self.folder = Path("/proc", "self" if pid is None else str(pid))

    def cpu(self) -> float:
        """Seconds of user and system time so far."""
        fields = (self.folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def peak(self) -> float:
        """Megabytes: the most that was resident since `forget_peak`."""
        lines = (self.folder / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024

    def forget_peak(self) -> None:
        """Count the peak from now on."""
        (self.folder / "clear_refs").write_text("5")


class Log:
    """What a process of ours has said."""

    def __init__(self, path: Path, process: "subprocess.Popen[bytes]") -> None:
        self._path, self._process = path, process

    def length(self) -> int:
        """Of what was said so far: where to listen from."""
        return len(self._path.read_text())

    def wait_for(self, words: str, since: int = 0) -> None:
        """Until it says so.

        Raises:
            SystemExit: It ended, or did not say so within a minute.
        """
        end = time.monotonic() + 60
        while words not in self._path.read_text()[since:]:
            if time.monotonic() > end or self._process.poll() is not None:
                raise SystemExit(f"the controller did not say {words!r}: {self._path.read_text()[-2000:]}")
            time.sleep(0.05)


@contextmanager
def own_controller(log: Path, options: Sequence[str], *, python: str) -> Iterator[tuple[Process, Log]]:
    """Our controller as a process, and its end.

    Args:
        log: The file for what it says.
        options: Of ``resultsfw controller``.
        python: Of an environment with the resultsfw that is to be measured.
    """
    # -P: not the resultsfw of the folder that one is in.
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
            said = Log(log, process)
            said.wait_for("this replica is the leader")
            yield Process(process.pid), said
        finally:
            process.terminate()
            process.wait(30)
