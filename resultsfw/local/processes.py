"""This side of the keeper: starts it, asks of it, hears from it, and sees it end."""

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
from typing import Any, Final

from resultsfw.local import keeper
from resultsfw.local.environment import Start

__all__ = ["KeeperProcesses"]

KEEPER: Final = Path(__file__).with_name("keeper.py")
_PATIENCE: Final = 10.0
"""Seconds the keeper gets to end everything; it needs milliseconds."""


class KeeperProcesses:
    """Processes of containers, kept by a process of their own so that they cannot outlive this one.

    Args:
        folders: Removed when this process ends, however it ends.
        tell: Called on another thread with each event of the keeper (see `resultsfw.local.keeper`), and
            with ``{}`` when there will be no more.
    """

    def __init__(self, folders: Sequence[Path], tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell = tell
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER), str(os.getpid()), *map(str, folders)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            start_new_session=True,  # so that Ctrl-C reaches us and not it: we decide how things end
        )
        self._folders = folders
        self._pids: dict[str, int] = {}
        self._lock = threading.Lock()
        self._gone = False
        self._reader = threading.Thread(target=self._read, name="resultsfw-keeper", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Of the keeper."""
        return self._keeper.pid

    def start(self, name: str, start: Start, log: Path) -> None:
        """Start a process under a name that no other has."""
        asked = {
            "start": name,
            "file": start.file,
            "argv": start.argv,
            "env": start.env,
            "cwd": start.cwd,
            "log": str(log),
            "blocked": start.blocked,
        }
        if not self._ask(asked):
            self._tell({"failed": name, "why": "the process that keeps containers is gone"})

    def signal(self, name: str, number: int) -> None:
        """Signal a process and its group; one that ended is left alone."""
        self._ask({"signal": name, "number": number})

    def close(self) -> None:
        """Kill what still runs, remove the folders, end the keeper."""
        with self._lock:
            self._close_stdin()
        try:
            self._keeper.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        self._reader.join()
        if self._keeper.returncode:
            self._clean_up()
        if self._keeper.stdout is not None:
            self._keeper.stdout.close()

    def _clean_up(self) -> None:
        """The keeper was killed: do its last work, as far as we can tell who its processes are."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and (left := self._left()):
            for pid in left:  # again and again: one may just have forked
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        for folder in self._folders:
            keeper.remove(str(folder))

    def _left(self) -> list[int]:
        """Processes of containers, as far as their session or their environment tells."""
        pids = [int(folder.name) for folder in Path("/proc").glob("[0-9]*")]
        return [pid for pid in pids if any(keeper.belongs(pid, *of) for of in self._pids.items())]

    def _close_stdin(self) -> None:
        with contextlib.suppress(BrokenPipeError):  # it ended before us
            if self._keeper.stdin is not None:
                self._keeper.stdin.close()

    def _ask(self, asked: dict[str, Any]) -> bool:
        """Whether the keeper could be asked."""
        data = json.dumps(asked).encode() + b"\n"
        with self._lock:
            stdin = self._keeper.stdin
            # A child that it was just forking may hold the pipe open when the keeper itself is dead.
            if self._gone or stdin is None or stdin.closed:
                return False
            try:
                stdin.write(data)
                stdin.flush()
            except BrokenPipeError:
                return False
        return True

    def _read(self) -> None:
        stdout = self._keeper.stdout
        if stdout is not None:
            for line in stdout:
                event = json.loads(line)
                if "started" in event:
                    self._pids[event["started"]] = event["pid"]
                else:
                    self._pids.pop(event.get("ended", ""), None)
                self._tell(event)
        with self._lock:
            self._gone = True
        self._tell({})
