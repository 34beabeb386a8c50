"""Waits for files and signals: told by the kernel where it tells (dnotify), and looking again anyway."""

import fcntl
import os
import signal
import time

_FIRST, _LONGEST, _TOLD = 0.005, 0.1, 0.25
"""Seconds between looks: the first, the longest, and the longest where the kernel tells us of changes."""


class SkipError(Exception):
    """An earlier Step failed."""


class Folders:
    """Folders whose changes arrive as SIGIO, which must be blocked and taken with sigtimedwait.

    dnotify is old, but in every Linux kernel that distributions build, and costs no import.
    """

    def __init__(self) -> None:
        self._open: list[int] = []

    def watch(self, path: str) -> bool:
        """Be told of what appears or changes in a folder; says whether the kernel will tell."""
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
        """Watch no more."""
        for descriptor in self._open:
            os.close(descriptor)
        self._open.clear()


def exists(path: str, *, content: bool) -> bool:
    """Whether the file is there, and has content where that is asked for.

    Raises:
        OSError: It cannot be told.
    """
    try:
        facts = os.stat(path)  # noqa: PTH116 - pathlib costs 10 ms
    except FileNotFoundError:
        return False
    return facts.st_size > 0 or not content


def wait_for(path: str, *, content: bool) -> None:
    """Wait until a file is there, and has content where that is asked for.

    Raises:
        SkipError: ``PATH.err`` is there: an earlier Step failed.
        OSError: It cannot be told.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
    folders = Folders()
    told = folders.watch(os.path.dirname(path))  # noqa: PTH120
    pause = _FIRST
    try:
        while not exists(path, content=content):
            if exists(f"{path}.err", content=False):
                raise SkipError
            if told:
                signal.sigtimedwait({signal.SIGIO}, _TOLD)
            else:
                time.sleep(pause)
                pause = min(pause * 1.5, _LONGEST)
    finally:
        folders.close()
