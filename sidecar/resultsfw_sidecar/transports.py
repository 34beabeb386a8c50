"""Transports: how results leave the pod. The default is the sidecar's log.

A module that `RESULTSFW_TRANSPORT` names brings another one: its class `Transport`, a subclass of
`LogTransport`. Everything else is the same for all transports: which results are declared, which are refused,
and the records that say so.
"""

import os

from . import wire
from .compression import compress
from .files import RefusedError
from .output import STDOUT, Output, OutputError
from .results import Artifacts

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .results import Result
    from .settings import Environment
    from .stop import Stop


_ENCODED = 64  # bytes that a record has for encoding and size, rounded up


class Unsigned:
    """Signs nothing; where results are signed, `resultsfw_signing.signer` has a subclass.

    Args:
        fault: Why there is no signature although one is asked for.
    """

    def __init__(self, fault: str = "") -> None:
        self._fault = fault

    def start(self) -> None:
        """Prepares in the background; called when the sidecar is ready to wait for the Steps."""

    def deliver(self, result: "Result", value: bytes) -> None:
        """Takes note of a result that is delivered.

        Args:
            result: The result.
            value: The bytes that were read once, and are delivered.
        """

    def store(self, result: "Result", *, size: int, digest: str, encrypted: bool = False) -> None:
        """Takes note of a result that is delivered by reference.

        Args:
            result: The result.
            size: Bytes of the value.
            digest: SHA-256 of the stored bytes, in hexadecimal.
            encrypted: Whether these are the encrypted value.
        """

    def leave_out(self, result: "Result") -> None:
        """Takes note of a result that no Step wrote."""

    def refuse(self, result: "Result", reason: str) -> None:
        """Takes note of a result that was written and is not delivered."""

    def record(self, stop: "Stop") -> bytes:  # noqa: ARG002 - a signer waits
        """Returns the signature's record, or nothing; called once, after the last result."""
        return wire.signature_fault_line(self._fault) if self._fault else b""


class LogTransport:
    """Prints records to stdout as they come, with the values in them.

    Attributes:
        ceiling: Upper bound of the size limits of values, in bytes.
        output: Where records are written.
        signer: Is informed of each value that is delivered; the program sets it before `open`.
    """

    ceiling = wire.CEILING

    def __init__(self) -> None:
        self.output = Output()
        self.signer = Unsigned()
        self._collected = 0  # bytes of values

    def open(self, environment: "Environment", stop: "Stop") -> None:  # noqa: ARG002 - others need it
        """Prepares the transport before the Steps start, when time does not matter yet.

        Args:
            environment: The limits, and the transport's own variables.
            stop: Receives signals; used to wait.

        Raises:
            OutputError: The output cannot be written.
            SettingsError: A variable has an invalid value.
        """
        self._environment = environment
        try:
            os.fstat(STDOUT)
        except OSError as error:  # what we open next would become our stdout
            raise OutputError(f"stdout: {error.strerror}") from error

    def collect(self, result: "Result") -> "Iterable[bytes] | None":
        """Reads a result's value and returns its record.

        Returns:
            The record, in pieces; None if no Step wrote the result.

        Raises:
            RefusedError: The result was written and cannot be delivered.
            OutputError: The output cannot be written.
        """
        value = result.read(self._environment.max_result_size)
        if value is None:
            return None
        self.count(len(value))
        try:
            record = self.record(result, value)
        except RefusedError:
            self._collected -= len(value)
            raise
        self.signer.deliver(result, value)
        return record

    def record(self, result: "Result", value: bytes) -> "Iterable[bytes]":
        """Returns the record of a value, in pieces; the value is compressed if wire 2 is asked for.

        Raises:
            RefusedError: The transport cannot carry the value.
        """
        if self._environment.wire == wire.COMPRESSED:
            # As base64 it has four bytes for three. Escaped, the value itself is never shorter than it is.
            packed = compress(value, (len(value) - _ENCODED) * 3 // 4)
            if packed is not None:
                return wire.compressed_pieces(result.name, value, packed, result.of)
        return wire.value_pieces(result.name, value, result.of)

    def count(self, size: int) -> None:
        """Adds a value's size to that of the run.

        Raises:
            RefusedError: The sum exceeds the run's limit.
        """
        total, limit = self._collected + size, self._environment.max_run_size
        if total > limit:
            raise RefusedError(
                wire.RUN_TOO_LARGE,
                f"with its {size} bytes the run's results would have {total} bytes"
                f", their limit together is {limit} bytes",
                total,
                limit,
            )
        self._collected = total

    def deliver(self) -> str:
        """Delivers all records written so far; called after the last one.

        Returns:
            The container's termination message; usually empty.

        Raises:
            OutputError: The records could not be delivered.
        """
        self.output.flush()
        return ""


class TektonLogTransport(LogTransport):
    """Prints records in Tekton's format, for Tekton's controller."""

    def record(self, result: "Result", value: bytes) -> "Iterable[bytes]":
        """Returns the record of a value, in pieces, without a digest.

        Raises:
            RefusedError: It is provenance of artifacts that Tekton's controller could not read.
        """
        if isinstance(result, Artifacts):
            text = _compact(value)
            return wire.value_pieces(result.container, text, wire.TYPE_STEP_ARTIFACT, wire=wire.TEKTON)
        return wire.value_pieces(result.name, value, result.of, wire=wire.TEKTON)


def _compact(document: bytes) -> bytes:
    """Returns provenance of artifacts without blanks: Tekton's controller limits the line.

    Raises:
        RefusedError: It is not a JSON object. Tekton's own sidecar ends with an error then.
    """
    import json  # noqa: PLC0415 - 3 ms, for few runs

    try:
        decoded = json.loads(document)
        if not isinstance(decoded, dict | None):
            raise ValueError("not an object")  # noqa: TRY004, TRY301 - one error for all
        return json.dumps(decoded, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError) as error:
        raise RefusedError(wire.UNREADABLE, f"invalid artifacts: {error}") from None
