"""Waits for files: the kernel reports changes (dnotify), and a slow poll covers what it does not report."""

import fcntl
import os
import signal
import time

_FIRST_PAUSE, _LONGEST_PAUSE, _NOTIFIED_PAUSE = 0.005, 0.1, 0.25
"""Seconds between polls: the first and the longest pause, and the pause if the kernel reports changes."""


class SkipError(Exception):
    """An earlier Step failed."""


class Folders:
    """Folders whose changes cause SIGIO, which the caller must block and receive with sigtimedwait.

    dnotify is old, but every distribution's Linux kernel has it, and it needs no import.
    """

    def __init__(self) -> None:
        self._open: list[int] = []

    def watch(self, path: str) -> bool:
        """Watch for files that are created or changed in a folder; return whether the kernel reports them."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.fcntl(
                descriptor,
                fcntl.F_NOTIFY,
                fcntl.DN_CREATE | fcntl.DN_RENAME | fcntl.DN_MODIFY | fcntl.DN_MULTISHOT,
            )
        except OSError:
            os.close(descriptor)
            return False
        self._open.append(descriptor)
        return True

    def close(self) -> None:
        """Stop watching."""
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()


def exists(path: str, *, content: bool) -> bool:
    """Return whether a file exists and, with ``content``, is not empty.

    Raises:
        OSError: The file cannot be examined.
    """
    try:
        facts = os.stat(path)  # noqa: PTH116 - pathlib costs 10 ms
    except FileNotFoundError:
        return False
    return facts.st_size > 0 or not content


def wait_for(path: str, *, content: bool) -> None:
    """Wait until a file exists and, with ``content``, is not empty.

    Raises:
        SkipError: ``PATH.err`` exists: an earlier Step failed.
        OSError: The file cannot be examined.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
    folders = Folders()
    notified = folders.watch(os.path.dirname(path))  # noqa: PTH120
    pause = _FIRST_PAUSE
    try:
        while not exists(path, content=content):
            if exists(f"{path}.err", content=False):
                raise SkipError
            if notified:
                signal.sigtimedwait({signal.SIGIO}, _NOTIFIED_PAUSE)
            else:
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
    finally:
        folders.close()
