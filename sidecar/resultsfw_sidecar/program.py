"""The sidecar's work: watch the Steps, then print every declared result once.

In Tekton's wire nothing can be said of a result that was refused: it is left out, the reason goes to the
termination message, and the exit status is 1. Its reader takes such a result for one never written.
"""

import os

from . import wire
from .files import RefusedError
from .output import STDOUT, Output, OutputError
from .results import Result, declared
from .settings import Environment, Flags, SettingsError
from .stop import Stop
from .watch import Watch, WatchError

DONE = 0
FAILED = 1

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
    sidecar = Sidecar(variables, stop)
    try:
        sidecar.run(arguments)
    except (SettingsError, WatchError) as error:
        sidecar.fail(error.reason, str(error))
    except OutputError as error:
        sidecar.complaints.append(str(error))  # where should a record go?
    except Exception as error:  # noqa: BLE001 - whatever it is, the reader must hear of it
        sidecar.fail(wire.INTERNAL, f"{type(error).__name__}: {error}{_where(error)}")
    if sidecar.complaints:
        _leave_message(variables, sidecar.complaints)
    if sidecar.native:
        stop.wait_until_requested()  # Kubernetes would start us again
    return FAILED if sidecar.complaints else DONE


class Sidecar:
    """One run of the sidecar.

    Attributes:
        complaints: What did not go well, for people; any makes the exit status 1.
        native: Whether to stay until SIGTERM.
    """

    def __init__(self, variables: dict[bytes, bytes], stop: Stop) -> None:
        self.complaints: list[str] = []
        self.native = False
        self._variables = variables
        self._stop = stop
        # Whoever set it to anything reads our records, so an error in the variables can be told.
        tekton = variables.get(wire.ENV_WIRE.encode(), b"") in (b"", str(wire.TEKTON).encode())
        self._wire = wire.TEKTON if tekton else wire.WIRE
        self._output = Output()
        self._printed = 0  # bytes of values

    def run(self, arguments: list[bytes]) -> None:
        """Watches and prints.

        Raises:
            SettingsError: A flag or a variable makes no sense.
            WatchError: The Steps cannot be watched.
            OutputError: Nobody reads.
        """
        try:
            os.fstat(STDOUT)
        except OSError as error:  # what we open next would become our stdout
            raise OutputError(f"stdout: {error.strerror}") from error
        environment = Environment(self._variables)
        flags = Flags(arguments)
        self.native = flags.native
        watch = Watch(environment.root + b"/run", environment.interval, poll=environment.poll)
        self._record(wire.start_line(environment.pod, watch.kind))
        self._output.flush()
        why = watch.wait(self._stop)
        for result in declared(environment.root, flags):
            self._print(result, environment)
        self._record(wire.end_line(environment.pod, self._output.count, self._output.digest, why))
        self._output.flush()

    def fail(self, reason: str, message: str) -> None:
        """Tells of our own failure."""
        self.complaints.append(f"{reason}: {message}")
        try:
            if self._output.begun:
                self._output.line([b"\n"])  # a broken line must not take this one with it
            self._record(wire.error_line(reason, message))
            self._output.flush()
        except OutputError:
            pass

    def _print(self, result: Result, environment: Environment) -> None:
        try:
            value = self._value(result, environment)
        except RefusedError as error:
            self._record(
                wire.refused_line(
                    result.name, result.of, error.reason, str(error), size=error.size, limit=error.limit
                )
            )
            if self._wire == wire.TEKTON:
                self.complaints.append(f"{result.name}: {error.reason}: {error}")
            return
        if value is None:
            self._record(wire.absent_line(result.name, result.of))
        else:
            self._output.line(wire.value_pieces(result.name, value, result.of, wire=self._wire))

    def _value(self, result: Result, environment: Environment) -> bytes | None:
        value = result.read(environment.max_result_size)
        if value is None:
            return None
        total = self._printed + len(value)
        limit = environment.max_run_size
        if total > limit:
            raise RefusedError(
                wire.RUN_TOO_LARGE,
                f"with its {len(value)} bytes the run's results would have {total} bytes"
                f", their limit together is {limit} bytes",
                total,
                limit,
            )
        self._printed = total
        return value

    def _record(self, line: bytes) -> None:
        if self._wire != wire.TEKTON:
            self._output.line([line])


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
