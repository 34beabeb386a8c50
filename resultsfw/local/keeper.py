"""Starts, reaps and ends the processes of containers, for a kubelet that it outlives just to clean up.

A program of its own (``python -I -S keeper.py PARENT [FOLDER]...``), standard library only. It is what a
container runtime's shim is on a node: the subreaper below which every process of every container stays,
however it forks. When the kubelet's end of the pipe closes or the process PARENT ends, be it by SIGKILL, it
kills them all and removes the folders.

It reads one JSON object a line: ``{"start": ID, "file", "argv", "env", "cwd", "log", "blocked"}``,
``{"signal": ID, "number"}``. It writes: ``{"started": ID, "pid"}``, ``{"failed": ID, "why"}``,
``{"ended": ID, "status"}`` with a wait status. A container has ended when its first process has; what is
left of it is killed before that is said, as the kernel does with a PID namespace.
"""

import contextlib
import json
import os
import selectors
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

MARK = "RESULTSFW_CONTAINER"
"""Variable that tells whose a process is, when it left its session and its parent."""

_PR_SET_CHILD_SUBREAPER = 36
_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)
_LAST_SECONDS = 5.0
_PIECE = 65_536


def main(parent: int, folders: list[str]) -> int:
    """Serve until the pipe closes, then leave nothing behind; returns the exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for those in front of the terminal
    _become_subreaper()
    keeper = Keeper()
    try:
        keeper.serve(parent)
    finally:
        keeper.end_all()
        for folder in folders:
            remove(folder)
    return 0


class Keeper:
    """The containers that run."""

    def __init__(self) -> None:
        self._pids: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._buffer = b""

    def serve(self, parent: int) -> None:
        """Do what is asked, tell what happens, until the pipe closes, the parent ends or SIGTERM comes."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            # A fork of the parent's may hold the pipe open when the parent is long dead.
            watched = _pidfd(parent)
            if watched is not None:
                selector.register(watched, selectors.EVENT_READ)
            while True:
                ready = {key.fd for key, _ in selector.select()}
                if watched in ready:
                    return
                if woken in ready and signal.SIGTERM in os.read(woken, _PIECE):
                    return
                self._reap()
                if 0 in ready and not self._read():
                    return

    def _read(self) -> bool:
        piece = os.read(0, _PIECE)
        *lines, self._buffer = (self._buffer + piece).split(b"\n")
        for line in lines:
            asked = json.loads(line)
            if "start" in asked:
                self._start(asked)
            else:
                self._signal(asked["signal"], asked["number"])
        return bool(piece)

    def _start(self, asked: dict[str, Any]) -> None:
        name = asked["start"]
        log = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            os.chdir(asked["cwd"])
            pid = os.posix_spawn(
                asked["file"],
                asked["argv"],
                {**asked["env"], MARK: name},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, asked["log"], log, 0o644),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=asked.get("blocked", ()),
                setsigdef=(*_PYTHON_IGNORES, signal.SIGINT, signal.SIGHUP),
            )
        except (OSError, ValueError) as error:
            _tell({"failed": name, "why": getattr(error, "strerror", None) or str(error)})
            return
        finally:
            os.chdir("/")
        self._pids[pid], self._ids[name] = name, pid
        _tell({"started": name, "pid": pid})

    def _signal(self, name: str, number: int) -> None:
        pid = self._ids.get(name)
        if pid is None:
            return
        if number == signal.SIGKILL:
            _kill(pid)  # the rest of it follows when this one is reaped
            return
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.killpg(pid, number)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            name = self._pids.pop(pid, None)
            if name is not None:
                del self._ids[name]
                self._end_rest(name, pid)
                _tell({"ended": name, "status": status})

    def _end_rest(self, name: str, session: int) -> None:
        """Kill what a container left behind: by now each of its trees hangs below us."""
        until = time.monotonic() + _LAST_SECONDS
        while time.monotonic() < until:
            left = [pid for pid in children() if pid not in self._pids and belongs(pid, name, session)]
            if not left:
                return
            for pid in left:
                _kill(pid)
            for pid in left:
                _await(pid, until)

    def end_all(self) -> None:
        """Kill everything below us."""
        until = time.monotonic() + _LAST_SECONDS
        while time.monotonic() < until and (left := list(children())):
            for pid in left:
                _kill(pid)
            for pid in left:
                _await(pid, until)


def children() -> Iterator[int]:
    """Our own children, adopted ones too."""
    me = os.getpid()
    try:
        with open(f"/proc/self/task/{me}/children", "rb") as listed:  # noqa: PTH123 - pathlib costs 10 ms
            yield from (int(pid) for pid in listed.read().split())
            return
    except OSError:
        pass  # a kernel without CONFIG_PROC_CHILDREN
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            facts = _facts(int(entry))
            if facts and int(facts[1]) == me:
                yield int(entry)


def belongs(pid: int, name: str, session: int) -> bool:
    """Whether a process is of that container: by its session, or by the mark in its environment."""
    facts = _facts(pid)
    if facts is None or facts[0] == b"Z":
        return False
    if int(facts[3]) == session:
        return True
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:  # noqa: PTH123
            return f"{MARK}={name}".encode() in environ.read().split(b"\0")
    except OSError:
        return False


def _facts(pid: int) -> list[bytes] | None:
    """State, parent, process group and session of a process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123
            return stat.read().rpartition(b")")[2].split()
    except OSError:
        return None


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _await(pid: int, until: float) -> None:
    """Reap a killed process; not for longer than until then, as one in the kernel may not die at once."""
    pause = 0.0005
    while time.monotonic() < until:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            return
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def _tell(event: dict[str, Any]) -> None:
    data = memoryview(json.dumps(event).encode() + b"\n")
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        pass  # no one listens any more; the closed pipe will end us


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None  # an old kernel, or it is dead already: then the pipe tells


def _become_subreaper() -> None:
    try:
        import ctypes  # noqa: PLC0415 - where there is no ctypes, processes that leave their session escape

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass


def remove(folder: str) -> None:
    """Remove a folder with all that is in it, folders that forbid it too; what cannot be removed stays."""
    import shutil  # noqa: PLC0415 - once, at the end

    if os.path.islink(folder):  # noqa: PTH114
        os.unlink(folder)  # noqa: PTH108
        return
    for path, names, _ in os.walk(folder):
        for name in names:
            inner = f"{path}/{name}"
            if not os.path.islink(inner):  # noqa: PTH114
                with contextlib.suppress(OSError):
                    os.chmod(inner, 0o700)  # noqa: PTH101
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
