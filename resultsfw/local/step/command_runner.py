"""Runs the Step's command in a process group of its own: forwards signals, kills it on timeout or cancel."""

import errno
import os
import signal
import time

from .streams import Streams
from .wait_files import Folders, exists

FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
_TAKEN = {*FORWARDED, signal.SIGCHLD, signal.SIGIO}
_PYTHON_IGNORES = (signal.SIGPIPE, signal.SIGXFSZ)
_CANCEL_POLL = 1.0
_BUSY_TRIES = 50

NOT_FOUND, NOT_EXECUTABLE = 127, 126


class StartError(Exception):
    """The command cannot be started.

    Attributes:
        status: The exit status that a shell would return.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TimeoutExceededError(Exception):
    """The Step exceeded its timeout; its processes were killed."""


class CancelledError(Exception):
    """The run was cancelled; the Step's processes were killed."""


def run(
    command: list[str],
    environment: dict[str, str],
    timeout: float,
    cancel_file: str,
    copies: dict[int, str] | None = None,
) -> int:
    """Run a command and wait for its end.

    Args:
        command: The command with its arguments.
        environment: The whole environment.
        timeout: Seconds; 0: no timeout.
        cancel_file: File that cancels the command once it exists with content.
        copies: Files into which streams are copied, by the stream's number. As in Tekton, the command has
            ended when nothing can write to these streams any more.

    Returns:
        The exit code; -1 after a signal, as Go's ``ExitStatus``.

    Raises:
        StartError: The command cannot be started, or a copy of a stream cannot be written.
        TimeoutExceededError: It exceeded the timeout.
        CancelledError: It was cancelled.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TAKEN)
    folders = Folders()
    folder = os.path.dirname(cancel_file)  # noqa: PTH120 - pathlib costs 10 ms
    cancellable = os.path.isdir(folder)  # noqa: PTH112
    if cancellable:
        folders.watch(folder)
    deadline = time.monotonic() + timeout if timeout > 0 else None
    try:
        streams = _streams(copies or {})
        child = _start(command, environment, before - _TAKEN, streams.actions)
        streams.start()
        has_ended, status = False, 0
        while True:
            if not has_ended:
                ended, status = os.waitpid(child, os.WNOHANG)
                has_ended = bool(ended)
            if has_ended and not streams.open:
                break
            if deadline is not None and time.monotonic() >= deadline:
                _kill(child, has_ended=has_ended)
                raise TimeoutExceededError
            if cancellable and exists(cancel_file, content=True):
                _kill(child, has_ended=has_ended)
                raise CancelledError
            _wait_for_signal(child, deadline, poll=cancellable)
    finally:
        folders.close()
    if streams.error:
        raise StartError(streams.error, 1)
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1


def _wait_for_signal(child: int, deadline: float | None, *, poll: bool) -> None:
    longest = _CANCEL_POLL if poll else None
    if deadline is not None:
        left = max(deadline - time.monotonic(), 0.0)
        longest = left if longest is None else min(left, longest)
    received = signal.sigwaitinfo(_TAKEN) if longest is None else signal.sigtimedwait(_TAKEN, longest)
    if received is not None and received.si_signo in FORWARDED:
        _signal(child, received.si_signo)


def _streams(copies: dict[int, str]) -> Streams:
    try:
        return Streams(copies)
    except OSError as error:
        raise StartError(f"a stream cannot be copied to {error.filename}: {error.strerror}", 1) from None


def _kill(child: int, *, has_ended: bool) -> None:
    """Kill the command's process group; processes that left the group are killed with the container."""
    _signal(child, signal.SIGKILL)
    if not has_ended:
        os.waitpid(child, 0)


def _signal(child: int, number: int) -> None:
    try:
        os.killpg(child, number)
    except ProcessLookupError:
        return  # it has ended


def _start(
    command: list[str],
    environment: dict[str, str],
    mask: set[signal.Signals] | set[int],
    actions: list[tuple[int, int, int]],
) -> int:
    file = find(command[0], environment.get("PATH", ""))
    if file is None:
        raise StartError(_command_not_found(command[0]), NOT_FOUND)
    if missing := missing_interpreter(file, environment.get("PATH", "")):
        raise StartError(missing, NOT_FOUND)
    for attempt in range(_BUSY_TRIES):
        try:
            return os.posix_spawn(
                file,
                command,
                environment,
                file_actions=actions,
                setpgroup=0,
                setsigmask=mask,
                setsigdef=_PYTHON_IGNORES,
            )
        except OSError as error:
            if error.errno == errno.ETXTBSY and attempt < _BUSY_TRIES - 1:
                time.sleep(0.01)  # a process that was forked while the file was written has it open
                continue
            raise StartError(_start_error(command[0], error), NOT_EXECUTABLE) from None
    raise AssertionError("unreachable")


def find(name: str, search: str) -> str | None:
    """Return the file of a command; ``None`` if there is none."""
    if "/" in name:
        return name if os.path.exists(name) else None  # noqa: PTH110 - pathlib costs 10 ms
    for folder in search.split(":"):
        file = os.path.join(folder or ".", name)  # noqa: PTH118
        if os.path.isfile(file) and os.access(file, os.X_OK):  # noqa: PTH113
            return file
    return None


def shell_for_ash(search: str) -> str:
    """Return the shell that runs scripts for ``ash``; empty where there is ``ash`` itself.

    bash, like ash, takes ``[[`` and ``==``, which other shells do not.
    """
    if find("ash", search):
        return ""
    return find("bash", search) or "/bin/sh"


def missing_interpreter(file: str, search: str) -> str | None:
    """Return a sentence if the interpreter of a script is not installed, else ``None``."""
    try:
        with open(file, "rb") as script:  # noqa: PTH123
            first = script.read(512).partition(b"\n")[0]
    except OSError:
        return None
    if not first.startswith(b"#!"):
        return None
    shebang = first.decode("utf-8", "replace").strip()
    words = shebang[2:].split()
    if not words:
        return None
    wanted = words[0]
    if os.path.basename(wanted) == "env" and len(words) > 1 and find(wanted, search):  # noqa: PTH119
        names = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
        wanted = names[0] if names else wanted
    if find(wanted, search):
        return None
    name = os.path.basename(wanted)  # noqa: PTH119
    return f'the Step asks for "{shebang}" and this machine has no {name}; install it or run on a cluster'


def _command_not_found(name: str) -> str:
    if "/" in name:
        return f'the Step runs "{name}", which is not on this machine but in its image: run on a cluster'
    return f'the Step runs "{name}" and this machine has no such command; install it or run on a cluster'


def _start_error(name: str, error: OSError) -> str:
    if error.errno == errno.E2BIG:
        return f'"{name}" cannot be started: its arguments and environment are too long for this machine'
    if error.errno == errno.ENOEXEC:
        return f'"{name}" cannot be started: neither a program of this machine nor a script with "#!"'
    return f'"{name}" cannot be started: {error.strerror}'
