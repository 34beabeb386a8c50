"""Copies a command's stdout and stderr into files, beside the container's log (``stdoutConfig``)."""

import os
import signal

_PIECE = 65_536
_OPEN = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC  # a FIFO must not block
STDOUT, STDERR = 1, 2


class Streams:
    """The streams of one command that are copied.

    Args:
        paths: The file of each stream, by its number; without those that are not copied.

    Attributes:
        actions: For `os.posix_spawn`: the command writes into pipes.
        open: How many streams the command, or a process it left behind, may still write to.
        error: Why a file could not be written; "" if all were.

    Raises:
        OSError: A file cannot be opened.
    """

    def __init__(self, paths: dict[int, str]) -> None:
        self.actions: list[tuple[int, int, int]] = []
        self.open = 0
        self.error = ""
        self._pipes: list[tuple[int, int, int, int]] = []
        for stream, path in paths.items():
            os.makedirs(os.path.dirname(path) or ".", exist_ok=True)  # noqa: PTH103, PTH120
            file = os.open(path, _OPEN, 0o644)
            reading, writing = os.pipe()
            self._pipes.append((reading, writing, file, stream))
            self.actions.append((os.POSIX_SPAWN_DUP2, writing, stream))

    def start(self) -> None:
        """Copy until the command, and all that it left behind, have ended.

        SIGCHLD tells the process about the end of each stream, as it does about that of the command.
        """
        from _thread import start_new_thread  # noqa: PLC0415 - few Steps

        self.open = len(self._pipes)
        for reading, writing, file, stream in self._pipes:
            os.close(writing)
            start_new_thread(self._copy, (reading, file, stream))

    def _copy(self, reading: int, file: int, stream: int) -> None:
        while piece := os.read(reading, _PIECE):
            for target in (stream, file):
                try:
                    _write_all(target, piece)
                except OSError as error:
                    # Go on reading: the command must not be stopped by SIGPIPE.
                    self.error = self.error or f"a copy of a stream cannot be written: {error.strerror}"
        os.close(file)
        os.close(reading)
        self.open -= 1
        os.kill(os.getpid(), signal.SIGCHLD)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
