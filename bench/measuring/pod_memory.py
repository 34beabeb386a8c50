"""Reads the peak memory of a pod's results sidecar from /proc, on the node itself."""

import threading
from pathlib import Path
from typing import Self

_PROGRAM = b"sidecarlogresults"


class SidecarPeak:
    """Reads VmHWM, the kernel's own peak, until the sidecar ends; a thread from `follow` on."""

    def __init__(self) -> None:
        self.megabytes = 0.0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def follow(self, pod_uid: str) -> None:
        """Look for the sidecar of a pod from now on; further calls change nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, args=(f"pod{pod_uid}/",))
            self._thread.start()

    def _watch(self, group: str) -> None:
        process: Path | None = None
        while not self._over.wait(0.005 if process else 0.05):
            if process is None:
                process = _find(group)
            elif not self._read(process):
                return

    def _read(self, process: Path) -> bool:
        """Read the peak so far; return whether the process is there."""
        try:
            lines = (process / "status").read_text().splitlines()
        except OSError:
            return False
        for line in lines:
            if line.startswith("VmHWM"):
                self.megabytes = max(self.megabytes, int(line.split()[1]) / 1024)
        return True


def _find(group: str) -> Path | None:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if _PROGRAM not in (process / "cmdline").read_bytes():
                continue
            # A container's runtime has its words, too, before it becomes the sidecar.
            if (process / "exe").resolve().name.startswith("python") and group in (
                process / "cgroup"
            ).read_text():
                return process
        except OSError:
            continue
    return None
