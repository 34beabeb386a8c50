"""Runs the sidecar: waits for the Steps, then delivers every declared result once.

Tekton's format has no record for a refused result: it is left out, the reason goes to the termination
message, and the exit status is 1. Tekton's controller then treats the result as never written.
"""

import os

from . import wire
from .files import RefusedError
from .output import OutputError
from .results import Result, blocked, declared
from .settings import Environment, Flags, SettingsError
from .stop import Stop
from .transports import LogTransport, TektonLogTransport, Unsigned
from .watch import SignalWatch, Watch, WatchError

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from types import ModuleType

DONE = 0
FAILED = 1

FETCH = b"fetch"
"""The only argument of a process that fetches values into the pod; its transport's module says how."""

_TERMINATION_BYTES = 4096  # what the kubelet keeps of a termination message


def run(arguments: list[bytes], variables: dict[bytes, bytes], stop: Stop) -> int:
    """Runs the sidecar.

    Args:
        arguments: The flags.
        variables: The environment.
        stop: Receives signals.

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
    except Exception as error:  # noqa: BLE001 - every failure must be reported to the reader
        sidecar.fail(wire.INTERNAL, f"{type(error).__name__}: {error}{_where(error)}")
    if sidecar.complaints or sidecar.message:
        _leave_message(variables, sidecar.complaints or [sidecar.message])
    if sidecar.native:
        # Kubernetes restarts a native sidecar that ends, and sends SIGTERM when the Steps' containers have
        # ended. If a Step's container still runs long after its `out` file appeared, that restart shows it.
        stop.wait_until_requested(sidecar.linger)
    return FAILED if sidecar.complaints else DONE


class Sidecar:
    """One run of the sidecar.

    Attributes:
        complaints: Failures, for people; with any the exit status is 1.
        message: The termination message if all went well; usually empty.
        native: Whether to wait for SIGTERM after the delivery.
        linger: Seconds to wait at most; None: without limit.
    """

    def __init__(self, variables: dict[bytes, bytes], stop: Stop) -> None:
        self.complaints: list[str] = []
        self.message = ""
        self.native = False
        self.linger: float | None = None
        self._variables = variables
        self._stop = stop
        # With any other value the reader understands our records, so even an error in the variables is
        # reported.
        tekton = variables.get(wire.ENV_WIRE.encode(), b"") in (b"", str(wire.TEKTON).encode())
        self._wire = wire.TEKTON if tekton else wire.WIRE
        self._transport = TektonLogTransport() if tekton else LogTransport()
        self._opened = False

    def run(self, arguments: list[bytes]) -> None:
        """Waits for the Steps and delivers their results.

        Raises:
            SettingsError: A flag or a variable has an invalid value.
            WatchError: The Steps cannot be watched.
            OutputError: The output cannot be written.
        """
        self._transport = _named_transport(self._variables) or self._transport
        environment = Environment(self._variables, self._transport.ceiling)
        flags = Flags(arguments)
        self.native = flags.native
        signer = self._transport.signer = _signer(environment)
        self._transport.open(environment, self._stop)
        self._opened = True
        watch = _watch(environment)
        self._record(wire.start_line(environment.pod, watch.kind, wire=environment.wire))
        self._transport.output.flush()
        signer.start()
        why = watch.wait(self._stop, lambda: blocked(environment.root, flags))
        for result in declared(environment.root, flags, task_artifacts=environment.task_artifacts):
            self._pass_on(result)
        if signature := signer.record(self._stop):
            self._record(signature)
        output = self._transport.output
        end = wire.end_line(environment.pod, output.count, output.digest, why, wire=environment.wire)
        self._record(end)
        self.message = self._transport.deliver()
        self.linger = environment.linger

    def fail(self, reason: str, message: str) -> None:
        """Reports a failure of the sidecar itself."""
        self.complaints.append(f"{reason}: {message}")
        try:
            if self._transport.output.begun:
                self._transport.output.line([b"\n"])  # a broken line must not take this one with it
            self._record(wire.error_line(reason, message))
            if self._opened:
                self._transport.deliver()
            else:
                self._transport.output.flush()
        except OutputError:
            pass  # the termination message reports it

    def _pass_on(self, result: Result) -> None:
        try:
            record = self._transport.collect(result)
        except RefusedError as error:
            self._transport.signer.refuse(result, error.reason)
            self._record(
                wire.refused_line(
                    result.name, result.of, error.reason, str(error), size=error.size, limit=error.limit
                )
            )
            if self._wire == wire.TEKTON:
                self.complaints.append(f"{result.name}: {error.reason}: {error}")
            return
        if record is None:
            self._transport.signer.leave_out(result)
            self._record(wire.absent_line(result.name, result.of))
        else:
            self._transport.output.line(record)

    def _record(self, line: bytes) -> None:
        if self._wire != wire.TEKTON:
            self._transport.output.line([line])


def _watch(environment: Environment) -> Watch | SignalWatch:
    """Returns the watch that notices the end of the Steps."""
    if environment.signal:
        return SignalWatch()
    return Watch(environment.root + b"/run", environment.interval, poll=environment.poll)


def _fetch(variables: dict[bytes, bytes], stop: Stop) -> int:
    """Fetches values into the pod through the transport that the environment names."""
    try:
        complaints: list[str] = _module(variables).fetch(variables, stop)
    except Exception as error:  # noqa: BLE001 - every failure must end the run
        complaints = [f"{type(error).__name__}: {error}{_where(error)}"]
    if complaints:
        _leave_message(variables, complaints)
    return FAILED if complaints else DONE


def _signer(environment: Environment) -> Unsigned:
    """Returns what signs the results, if the environment asks for that.

    Raises:
        SettingsError: The variable has an invalid value.
    """
    text = environment.variables.get(wire.ENV_SIGNING.encode(), b"").decode("utf-8", "backslashreplace")
    if not text:
        return Unsigned()
    if environment.wire == wire.TEKTON:
        raise SettingsError(wire.BAD_ENVIRONMENT, f"{wire.ENV_SIGNING}: Tekton's format has no record for it")
    from importlib import import_module  # noqa: PLC0415 - only where it is needed

    try:
        module = import_module("resultsfw_signing.signer")
    except ImportError as error:
        return Unsigned(f"NoLibrary: {error}: the container needs the image sidecar-signed")
    signer: Unsigned = module.make_signer(text, environment)
    return signer


def _module(variables: dict[bytes, bytes]) -> "ModuleType":
    """Imports the transport's module that the environment names."""
    from importlib import import_module  # noqa: PLC0415 - only where it is needed

    return import_module(variables.get(wire.ENV_TRANSPORT.encode(), b"").decode("utf-8", "backslashreplace"))


def _named_transport(variables: dict[bytes, bytes]) -> LogTransport | None:
    """Returns the transport that the environment names, if it names one."""
    name = variables.get(wire.ENV_TRANSPORT.encode(), b"").decode("utf-8", "backslashreplace")
    if not name:
        return None
    try:
        transport = _module(variables).Transport()
    except Exception as error:
        message = f"{wire.ENV_TRANSPORT}: {name!a} cannot be imported: {type(error).__name__}: {error}"
        raise SettingsError(wire.BAD_ENVIRONMENT, message) from error
    if not isinstance(transport, LogTransport):
        raise SettingsError(
            wire.BAD_ENVIRONMENT,
            f"{wire.ENV_TRANSPORT}: {name!a} has no class Transport which is a LogTransport",
        )
    return transport


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno})" if trace else ""


def _leave_message(variables: dict[bytes, bytes], complaints: list[str]) -> None:
    """Leaves a message for `kubectl describe`, if the kubelet created the file for it."""
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
