"""The sidecar's work: watch the Steps, then print every declared result once.

In Tekton's wire nothing can be said of a result that was refused: it is left out, the reason goes to the
termination message, and the exit status is 1. Its reader takes such a result for one never written.
"""

import os

from . import wire
from .files import RefusedError
from .output import OutputError
from .results import Result, blocked, declared
from .settings import Environment, Flags, SettingsError
from .stop import Stop
from .watch import SignalWatch, Watch, WatchError
from .ways import TektonWay, Way

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from types import ModuleType

DONE = 0
FAILED = 1

FETCH = b"fetch"
"""The only argument of a process that brings values into a pod; its way's module says how."""

_TERMINATION_BYTES = 4096  # what the kubelet keeps of a termination message


def run(arguments: list[bytes], variables: dict[bytes, bytes], stop: Stop) -> int:
    """Runs the sidecar.

    Args:
        arguments: The flags.
        variables: The environment.
        stop: Where signals are noticed.

    Returns:
        The exit status.
    """
    if arguments == [FETCH]:
        return _fetch(variables, stop)
    sidecar = Sidecar(variables, stop)
    try:
        sidecar.run(arguments)
    except (SettingsError, WatchError) as error:
        sidecar.fail(error.reason, str(error))
    except OutputError as error:
        sidecar.fail(wire.UNDELIVERED, str(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the reader must hear of it
        sidecar.fail(wire.INTERNAL, f"{type(error).__name__}: {error}{_where(error)}")
    if sidecar.complaints or sidecar.message:
        _leave_message(variables, sidecar.complaints or [sidecar.message])
    if sidecar.native:
        # Kubernetes starts us again when we end, and asks us to stop when the Steps' containers have ended.
        # One that has not, long after its Step recorded its end, is made known by that restart.
        stop.wait_until_requested(sidecar.linger)
    return FAILED if sidecar.complaints else DONE


class Sidecar:
    """One run of the sidecar.

    Attributes:
        complaints: What did not go well, for people; any makes the exit status 1.
        message: What to leave for the reader, where all went well; mostly nothing.
        native: Whether to stay until SIGTERM.
        linger: Seconds to stay for at most; none: as long as it takes.
    """

    def __init__(self, variables: dict[bytes, bytes], stop: Stop) -> None:
        self.complaints: list[str] = []
        self.message = ""
        self.native = False
        self.linger: float | None = None
        self._variables = variables
        self._stop = stop
        # Whoever set it to anything reads our records, so an error in the variables can be told.
        tekton = variables.get(wire.ENV_WIRE.encode(), b"") in (b"", str(wire.TEKTON).encode())
        self._wire = wire.TEKTON if tekton else wire.WIRE
        self._way = TektonWay() if tekton else Way()
        self._opened = False

    def run(self, arguments: list[bytes]) -> None:
        """Watches and prints.

        Raises:
            SettingsError: A flag or a variable makes no sense.
            WatchError: The Steps cannot be watched.
            OutputError: Nobody reads.
        """
        self._way = _other_way(self._variables) or self._way
        environment = Environment(self._variables, self._way.ceiling)
        flags = Flags(arguments)
        self.native = flags.native
        self._way.open(environment, self._stop)
        self._opened = True
        watch = _watch(environment)
        self._record(wire.start_line(environment.pod, watch.kind))
        self._way.output.flush()
        why = watch.wait(self._stop, lambda: blocked(environment.root, flags))
        for result in declared(environment.root, flags):
            self._pass_on(result)
        output = self._way.output
        self._record(wire.end_line(environment.pod, output.count, output.digest, why))
        self.message = self._way.deliver()
        self.linger = environment.linger

    def fail(self, reason: str, message: str) -> None:
        """Tells of our own failure."""
        self.complaints.append(f"{reason}: {message}")
        try:
            if self._way.output.begun:
                self._way.output.line([b"\n"])  # a broken line must not take this one with it
            self._record(wire.error_line(reason, message))
            if self._opened:
                self._way.deliver()
            else:
                self._way.output.flush()
        except OutputError:
            pass  # the termination message says it

    def _pass_on(self, result: Result) -> None:
        try:
            record = self._way.take(result)
        except RefusedError as error:
            self._record(
                wire.refused_line(
                    result.name, result.of, error.reason, str(error), size=error.size, limit=error.limit
                )
            )
            if self._wire == wire.TEKTON:
                self.complaints.append(f"{result.name}: {error.reason}: {error}")
            return
        if record is None:
            self._record(wire.absent_line(result.name, result.of))
        else:
            self._way.output.line(record)

    def _record(self, line: bytes) -> None:
        if self._wire != wire.TEKTON:
            self._way.output.line([line])


def _watch(environment: Environment) -> Watch | SignalWatch:
    """How the Steps' end is noticed."""
    if environment.signal:
        return SignalWatch()
    return Watch(environment.root + b"/run", environment.interval, poll=environment.poll)


def _fetch(variables: dict[bytes, bytes], stop: Stop) -> int:
    """Brings values into the pod, by the way that the environment names."""
    try:
        complaints: list[str] = _module(variables).fetch(variables, stop)
    except Exception as error:  # noqa: BLE001 - whatever it is, the run must end by it
        complaints = [f"{type(error).__name__}: {error}{_where(error)}"]
    if complaints:
        _leave_message(variables, complaints)
    return FAILED if complaints else DONE


def _module(variables: dict[bytes, bytes]) -> "ModuleType":
    """The module that the environment names."""
    from importlib import import_module  # noqa: PLC0415 - only where it is needed

    return import_module(variables.get(wire.ENV_WAY.encode(), b"").decode("utf-8", "backslashreplace"))


def _other_way(variables: dict[bytes, bytes]) -> Way | None:
    """The way that the environment names, if it does."""
    name = variables.get(wire.ENV_WAY.encode(), b"").decode("utf-8", "backslashreplace")
    if not name:
        return None
    try:
        way = _module(variables).Way()
    except Exception as error:
        message = f"{wire.ENV_WAY}: {name!a} is no way out of here: {type(error).__name__}: {error}"
        raise SettingsError(wire.BAD_ENVIRONMENT, message) from error
    if not isinstance(way, Way):
        raise SettingsError(wire.BAD_ENVIRONMENT, f"{wire.ENV_WAY}: {name!a} has no Way")
    return way


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})" if trace else ""


def _leave_message(variables: dict[bytes, bytes], complaints: list[str]) -> None:
    """Leaves a message for `kubectl describe`, where the kubelet has made the file for it."""
    path = variables.get(wire.ENV_TERMINATION_LOG.encode()) or b"/dev/termination-log"
    text = "\n".join(complaints).encode("utf-8", "backslashreplace")[:_TERMINATION_BYTES]
    try:
        file = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.write(file, text)
    except OSError:
        pass
    finally:
        os.close(file)
