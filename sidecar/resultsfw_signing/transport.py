"""Signs results that another backend delivers: reads the same files, and prints the signature alone.

For the container `resultsfw-signer`. Its log has the records start, signature and end, and no value.
"""

from resultsfw_sidecar.files import RefusedError
from resultsfw_sidecar.output import Output
from resultsfw_sidecar.transports import LogTransport
from resultsfw_sidecar.wire import TOO_LARGE
from resultsfw_transports.stored import measured, text_pieces

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from resultsfw_sidecar.files import File
    from resultsfw_sidecar.results import Result

HELD = 1_048_576
"""Bytes up to which a value is held in memory; Tekton's keys are made of such values only."""

_ATTEMPTS = 5  # to read a file that changes meanwhile


class Transport(LogTransport):
    """Informs the signer of each result and prints no record of any."""

    ceiling = 2**63 - 1  # a value is not held, so that whatever the backend delivers is signed

    def __init__(self) -> None:
        super().__init__()
        self.output = _SparseOutput()

    def collect(self, result: "Result") -> "Iterable[bytes]":
        """Informs the signer of what the results sidecar would deliver, refuse or report as absent."""
        try:
            if not self._sign(result):
                self.signer.leave_out(result)
        except RefusedError as refused:
            self.signer.refuse(result, refused.reason)
        return ()

    def _sign(self, result: "Result") -> bool:
        """Returns whether a Step wrote the result.

        Raises:
            RefusedError: It was written and cannot be delivered.
        """
        most = self._environment.max_result_size
        try:
            value = result.read(min(HELD, most))
        except RefusedError as refused:
            if refused.reason != TOO_LARGE:
                raise
        else:
            if value is not None:
                self.count(len(value))
                self.signer.deliver(result, value)
            return value is not None
        file = result.open(most)
        if file is None:
            return False
        try:
            size, digest = _measured_twice(file)
        finally:
            file.close()
        self.count(size)
        self.signer.store(result, size=size, digest=digest)
        return True


class _SparseOutput(Output):
    """Leaves out records without any bytes."""

    def line(self, pieces: "Iterable[bytes]") -> None:
        """Writes one line, if there is one."""
        found = tuple(pieces)
        if found:
            super().line(found)


def _measured_twice(file: "File") -> tuple[int, str]:
    """Returns size and digest of a file's text that was the same when it was read again.

    Raises:
        RefusedError: It is too large, not UTF-8, or is still being written.
    """
    for _ in range(_ATTEMPTS):
        found = measured(text_pieces(file))
        if found == measured(file.pieces()):
            return found
    raise file.changing()
