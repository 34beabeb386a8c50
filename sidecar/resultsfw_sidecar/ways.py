"""How results leave the pod: by the log, unless a module named in the environment knows another way.

Such a module has a class `Way`, a subclass of this one. Everything else is the same for all: which results
there are, what is refused, the records that say so.
"""

import os

from . import wire
from .files import RefusedError
from .output import STDOUT, Output, OutputError

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .results import Result
    from .settings import Environment
    from .stop import Stop


class Way:
    """The way by log: records go to stdout as they come, values in them.

    Attributes:
        ceiling: Bytes that values may have at most.
        output: Where records go.
    """

    ceiling = wire.CEILING

    def __init__(self) -> None:
        self.output = Output()
        self._taken = 0  # bytes of values

    def open(self, environment: "Environment", stop: "Stop") -> None:  # noqa: ARG002 - others need it
        """Gets ready, before the Steps have begun: what takes time is best done now.

        Args:
            environment: Limits, and the variables of this way's own.
            stop: Where signals are noticed; to wait with.

        Raises:
            OutputError: Nobody will read.
            SettingsError: A variable makes no sense.
        """
        self._environment = environment
        try:
            os.fstat(STDOUT)
        except OSError as error:  # what we open next would become our stdout
            raise OutputError(f"stdout: {error.strerror}") from error

    def take(self, result: "Result") -> "Iterable[bytes] | None":
        """Takes a result's value.

        Returns:
            Its record, in pieces; none if no Step wrote it.

        Raises:
            RefusedError: It was written and cannot be passed on.
            OutputError: It cannot be passed on for want of somebody to take it.
        """
        value = result.read(self._environment.max_result_size)
        if value is None:
            return None
        self.count(len(value))
        return self.record(result, value)

    def record(self, result: "Result", value: bytes) -> "Iterable[bytes]":
        """The record of a value, in pieces."""
        return wire.value_pieces(result.name, value, result.of)

    def count(self, size: int) -> None:
        """Counts a value's bytes.

        Raises:
            RefusedError: With it the run has too many.
        """
        total, limit = self._taken + size, self._environment.max_run_size
        if total > limit:
            raise RefusedError(
                wire.RUN_TOO_LARGE,
                f"with its {size} bytes the run's results would have {total} bytes"
                f", their limit together is {limit} bytes",
                total,
                limit,
            )
        self._taken = total

    def deliver(self) -> str:
        """Makes sure that all records so far are where they are read; called after the last one.

        Returns:
            What to leave as the container's termination message; mostly nothing.

        Raises:
            OutputError: They are not.
        """
        self.output.flush()
        return ""


class TektonWay(Way):
    """The way by log in Tekton's wire, for its reader."""

    def record(self, result: "Result", value: bytes) -> "Iterable[bytes]":
        """The record of a value, in pieces, without a digest."""
        return wire.value_pieces(result.name, value, result.of, wire=wire.TEKTON)
