"""Writes records to stdout in pieces, or keeps them, with count and digest of what was written."""

import os
import select

from .digest import sha256

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterable

STDOUT = 1

_HOLD = 65_536  # bytes held back, so that a thousand small results are a few writes


class OutputError(Exception):
    """Nobody reads what we write, or it cannot be written; the cause says why."""


class Output:
    """Lines on their way to a file.

    Attributes:
        count: Lines so far.
        begun: Whether the last line has no end yet.
    """

    def __init__(self, file: int = STDOUT) -> None:
        self.count = 0
        self.begun = False
        self._file = file
        self._digest = sha256()
        self._held = bytearray()

    @property
    def digest(self) -> str:
        """SHA-256 of all bytes so far, in hexadecimal."""
        return self._digest.hexdigest()

    def line(self, pieces: "Iterable[bytes]") -> None:
        """Writes one line, which may come in pieces; the last has its end.

        Raises:
            OutputError: It cannot be written.
        """
        for piece in pieces:
            self.begun = True
            self._digest.update(piece)
            self._held += piece
            if len(self._held) >= _HOLD:
                self.flush()
        self.begun = False
        self.count += 1

    def flush(self) -> None:
        """Writes what is held back.

        Raises:
            OutputError: It cannot be written.
        """
        with memoryview(self._held) as data:
            at = 0
            while at < len(data):
                try:
                    at += os.write(self._file, data[at:])
                except BlockingIOError:  # someone who shares the pipe made it non-blocking
                    poll = select.poll()
                    poll.register(self._file, select.POLLOUT)
                    poll.poll()
                except OSError as error:
                    raise OutputError(f"stdout: {error.strerror}") from error
        self._held.clear()


class Kept(Output):
    """Lines that are kept until they are all there, to be sent as one."""

    @property
    def data(self) -> bytes:
        """All so far."""
        return bytes(self._held)

    def flush(self) -> None:
        """Nothing: they are kept."""
