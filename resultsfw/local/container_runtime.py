"""Starts and signals the processes of containers through the shim, which is their parent process."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from resultsfw.local import shim
from resultsfw.local.process_spec import ProcessSpec

__all__ = ["ContainerRuntime", "Runtime"]

SHIM: Final = Path(__file__).with_name("shim.py")
_SHIM_TIMEOUT: Final = 10.0
"""Seconds that the shim has to kill all processes; it needs milliseconds."""


class Runtime(Protocol):
    """Starts and signals the processes of containers, and reports what becomes of them as events."""

    def start(self, name: str, spec: ProcessSpec, log: Path) -> None:
        """Start a process under a unique name."""
        ...

    def signal(self, name: str, number: int) -> None:
        """Signal a process and its group, unless it has ended."""
        ...


class ContainerRuntime:
    """Runs the shim, so that no process of a container outlives this process.

    Args:
        folders: Folders that the shim removes when this process ends, however it ends.
        on_event: Called on another thread with each event of the shim (see `resultsfw.local.shim`), and
            with ``{}`` after the last one.
    """

    def __init__(self, folders: Sequence[Path], on_event: Callable[[dict[str, Any]], None]) -> None:
        self._on_event = on_event
        self._shim = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SHIM), str(os.getpid()), *map(str, folders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            start_new_session=True,  # Ctrl-C must not reach the shim: the kubelet stops the containers
        )
        self._folders = folders
        self._pids: dict[str, int] = {}
        self._lock = threading.Lock()
        self._shim_ended = False
        self._reader = threading.Thread(target=self._read, name="resultsfw-shim", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Return the pid of the shim."""
        return self._shim.pid

    def start(self, name: str, spec: ProcessSpec, log: Path) -> None:
        """Start a process under a unique name."""
        request = {
            "start": name,
            "file": spec.file,
            "argv": spec.argv,
            "env": spec.env,
            "cwd": spec.cwd,
            "log": str(log),
            "blocked": spec.blocked,
            "settling": spec.settling,
        }
        if not self._send(request):
            self._on_event({"failed": name, "why": "the shim, the parent of all containers, has ended"})

    def signal(self, name: str, number: int) -> None:
        """Signal a process and its group, unless it has ended."""
        self._send({"signal": name, "number": number})

    def close(self) -> None:
        """Kill the processes that still run, remove the folders and end the shim."""
        with self._lock:
            self._close_stdin()
        try:
            self._shim.wait(_SHIM_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._shim.kill()
            self._shim.wait()
        self._reader.join()
        if self._shim.returncode:
            self._clean_up()
        if self._shim.stdout is not None:
            self._shim.stdout.close()

    def _clean_up(self) -> None:
        """Kill the processes and remove the folders in place of a shim that was killed."""
        until = time.monotonic() + _SHIM_TIMEOUT
        while time.monotonic() < until and (left := self._remaining()):
            for pid in left:  # repeatedly: a process may have forked meanwhile
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        for folder in self._folders:
            shim.remove(str(folder))

    def _remaining(self) -> list[int]:
        """Return the processes whose session or environment shows that they are of a container."""
        pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
        return [
            pid
            for pid in pids
            if any(shim.belongs(pid, name, session) for name, session in self._pids.items())
        ]

    def _close_stdin(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it ended before
            if self._shim.stdin is not None:
                self._shim.stdin.close()

    def _send(self, request: dict[str, Any]) -> bool:
        """Send a request to the shim; return whether that was possible."""
        data = json.dumps(request).encode() + b"\n"
        with self._lock:
            stdin = self._shim.stdin
            # A child that was being forked may hold the pipe open when the shim itself is dead.
            if self._shim_ended or stdin is None or stdin.closed:
                return False
            try:
                stdin.write(data)
                stdin.flush()
            except BrokenPipeError:
                return False
        return True

    def _read(self) -> None:
        stdout = self._shim.stdout
        if stdout is not None:
            for line in stdout:
                event = json.loads(line)
                if "started" in event:
                    self._pids[event["started"]] = event["pid"]
                else:
                    self._pids.pop(event.get("ended", ""), None)
                self._on_event(event)
        with self._lock:
            self._shim_ended = True
        self._on_event({})
