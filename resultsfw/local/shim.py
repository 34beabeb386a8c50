"""Starts, reaps and kills the processes of containers; it outlives the kubelet only to clean up.

A program of its own (``python -I -S shim.py PARENT [FOLDER]...``), standard library only. As a
container runtime's shim does on a node, it is the subreaper of every process of every container, however
these fork. When the kubelet's end of the pipe closes or the process PARENT ends, even by SIGKILL, it
kills all of them and removes the folders.

It reads one JSON object per line:
``{"start": ID, "file", "argv", "env", "cwd", "log", "blocked", "settling"}``,
``{"signal": ID, "number"}``. It writes: ``{"started": ID, "pid"}``, ``{"failed": ID, "why"}``,
``{"ended": ID, "status"}`` with a wait status. A container has ended when its first process has; its other
processes are killed before that event, as the kernel does with a PID namespace.
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
"""Environment variable that shows the container of a process which left its session and its parent."""

_PR_SET_CHILD_SUBREAPER = 36
_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)
_CLEANUP_SECONDS = 5.0
_PIECE = 65_536
_SETTLING_POLL = 0.02
_STARVED_SECONDS = 10.0
"""Seconds by which the time to settle is longer at most, as long as a process is not asleep."""


def main(parent: int, folders: list[str]) -> int:
    """Serve until the pipe closes, then clean up; returns the exit status."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the terminal sends them to the kubelet, which decides
    _become_subreaper()
    shim = Shim()
    try:
        shim.serve(parent)
    finally:
        shim.kill_all()
        for folder in folders:
            remove(folder)
    return 0


class Shim:
    """Holds the running containers."""

    def __init__(self) -> None:
        self._pids: dict[int, str] = {}
        self._ids: dict[str, int] = {}
        self._settled_at: dict[int, float] = {}
        self._deferred: dict[int, int] = {}
        self._buffer = b""

    def serve(self, parent: int) -> None:
        """Serve requests and send events until the pipe closes, the parent ends or SIGTERM arrives."""
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(0, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            # A child of the parent may hold the pipe open long after the parent died.
            watched = _pidfd(parent)
            if watched is not None:
                selector.register(watched, selectors.EVENT_READ)
            while True:
                pause = _SETTLING_POLL if self._deferred else None
                ready = {key.fd for key, _ in selector.select(pause)}
                if watched in ready:
                    return
                if woken in ready and signal.SIGTERM in os.read(woken, _PIECE):
                    return
                self._reap()
                self._send_deferred()
                if 0 in ready and not self._read():
                    return

    def _read(self) -> bool:
        piece = os.read(0, _PIECE)
        *lines, self._buffer = (self._buffer + piece).split(b"\n")
        for line in lines:
            request = json.loads(line)
            if "start" in request:
                self._start(request)
            else:
                self._signal(request["signal"], request["number"])
        return bool(piece)

    def _start(self, request: dict[str, Any]) -> None:
        name = request["start"]
        log = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            os.chdir(request["cwd"])
            pid = os.posix_spawn(
                request["file"],
                request["argv"],
                {**request["env"], MARK: name},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, request["log"], log, 0o644),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=request.get("blocked", ()),
                setsigdef=(*_PYTHON_IGNORES, signal.SIGINT, signal.SIGHUP),
            )
        except (OSError, ValueError) as error:
            _send_event({"failed": name, "why": getattr(error, "strerror", None) or str(error)})
            return
        finally:
            os.chdir("/")
        self._pids[pid], self._ids[name] = name, pid
        settling = request.get("settling", 0)
        self._settled_at[pid] = time.monotonic() + settling if settling else float("-inf")
        _send_event({"started": name, "pid": pid})

    def _signal(self, name: str, number: int) -> None:
        pid = self._ids.get(name)
        if pid is None:
            return
        if number == signal.SIGKILL:
            _kill(pid)  # its other processes are killed when this one is reaped
            return
        # In a container it has pid 1, and the kernel would drop a signal before it has a handler.
        if number == signal.SIGTERM and not self._is_settled(pid):
            self._deferred[pid] = number
            return
        _signal_group(pid, number)

    def _is_settled(self, pid: int) -> bool:
        """Return whether a process has a handler for SIGTERM, or had the time to install one.

        On a busy machine a process may need longer. One that sleeps is not about to install a handler.
        """
        late = time.monotonic() - self._settled_at[pid]
        if late >= _STARVED_SECONDS or _handles(pid, signal.SIGTERM):
            return True
        return late >= 0 and ((stat := _stat(pid)) is None or stat[0] == b"S")

    def _send_deferred(self) -> None:
        """Send the signals for which their processes have a handler by now, or had the time for one."""
        for pid in [pid for pid in self._deferred if self._is_settled(pid)]:
            _signal_group(pid, self._deferred.pop(pid))

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
                del self._ids[name], self._settled_at[pid]
                self._deferred.pop(pid, None)
                self._kill_rest(name, pid)
                _send_event({"ended": name, "status": status})

    def _kill_rest(self, name: str, session: int) -> None:
        """Kill the remaining processes of a container, which are all descendants of this process by now."""
        until = time.monotonic() + _CLEANUP_SECONDS
        while time.monotonic() < until:
            left = [pid for pid in children() if pid not in self._pids and belongs(pid, name, session)]
            if not left:
                return
            for pid in left:
                _kill(pid)
            for pid in left:
                _await(pid, until)

    def kill_all(self) -> None:
        """Kill all descendants of this process."""
        until = time.monotonic() + _CLEANUP_SECONDS
        while time.monotonic() < until and (left := list(children())):
            for pid in left:
                _kill(pid)
            for pid in left:
                _await(pid, until)


def children() -> Iterator[int]:
    """Yield the pids of this process's children, including adopted ones."""
    own_pid = os.getpid()
    try:
        with open(f"/proc/self/task/{own_pid}/children", "rb") as listed:  # noqa: PTH123 - pathlib costs 10 ms
            yield from (int(pid) for pid in listed.read().split())
            return
    except OSError:
        pass  # a kernel without CONFIG_PROC_CHILDREN
    for entry in os.listdir("/proc"):  # noqa: PTH208
        if entry.isdigit():
            stat = _stat(int(entry))
            if stat and int(stat[1]) == own_pid:
                yield int(entry)


def belongs(pid: int, name: str, session: int) -> bool:
    """Return whether a process belongs to a container, by its session or by `MARK` in its environment."""
    stat = _stat(pid)
    if stat is None or stat[0] == b"Z":
        return False
    if int(stat[3]) == session:
        return True
    try:
        with open(f"/proc/{pid}/environ", "rb") as environ:  # noqa: PTH123
            return f"{MARK}={name}".encode() in environ.read().split(b"\0")
    except OSError:
        return False


def _stat(pid: int) -> list[bytes] | None:
    """Return state, parent, process group and session of a process; ``None`` if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
            return file.read().rpartition(b")")[2].split()
    except OSError:
        return None


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended
        os.killpg(pid, number)


def _handles(pid: int, number: int) -> bool:
    """Return whether a process catches or ignores a signal. Blocked it may be only while a shell forks."""
    try:
        with open(f"/proc/{pid}/status", "rb") as status:  # noqa: PTH123
            lines = [line.split() for line in status if line[:6] in (b"SigCgt", b"SigIgn")]
    except OSError:
        return True  # it has ended
    return any(int(mask, 16) >> (number - 1) & 1 for _, mask in lines)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _await(pid: int, until: float) -> None:
    """Reap a killed process, waiting until ``until`` at most: in a system call it may not die at once."""
    pause = 0.0005
    while time.monotonic() < until:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            return
        time.sleep(pause)
        pause = min(pause * 2, 0.05)


def _send_event(event: dict[str, Any]) -> None:
    data = memoryview(json.dumps(event).encode() + b"\n")
    try:
        while data:
            data = data[os.write(1, data) :]
    except OSError:
        pass  # the kubelet has closed the pipe, which ends this process


def _pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None  # an old kernel, or it is dead: then only the closed pipe tells


def _become_subreaper() -> None:
    try:
        import ctypes  # noqa: PLC0415 - without ctypes, processes that leave their session escape

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except (ImportError, OSError, AttributeError):
        pass


def remove(folder: str) -> None:
    """Remove a folder with its content, even from read-only folders; what cannot be removed stays."""
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
