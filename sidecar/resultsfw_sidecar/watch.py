"""Waits until the Steps have ended: every run folder holds `out`, or one holds `out.err`.

In a pod without Tekton's entrypoint there are no run folders. There SIGTERM says it: the kubelet sends it to
a native sidecar when the pod's containers have ended.
"""

# ruff: noqa: PTH112, PTH116, PTH208
# Paths are bytes here, and pathlib would cost the start-up 3 ms.

import os

from . import wire
from .inotify import Inotify
from .stop import Stop

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Callable

SAFETY = 1.0  # seconds between two checks even where inotify works: a check costs 20 microseconds


class WatchError(Exception):
    """The Steps cannot be watched; the message says why. Waiting would be for ever.

    Attributes:
        reason: `wire.NO_RUN_FOLDER`.
    """

    reason = wire.NO_RUN_FOLDER


class SignalWatch:
    """Nothing to watch: SIGTERM means that the Steps have ended.

    Attributes:
        kind: `wire.WATCH_SIGNAL`.
    """

    kind = wire.WATCH_SIGNAL

    def wait(self, stop: Stop, _blocked: "Callable[[], bool]") -> str:
        """Waits for the signal; returns `wire.WHY_STOPPED`, for nobody here knows more."""
        stop.wait_until_requested()
        return wire.WHY_STOPPED


class Watch:
    """A watch over all run folders.

    Attributes:
        kind: `wire.WATCH_INOTIFY` or `wire.WATCH_POLL`.
    """

    def __init__(self, run: bytes, interval: float, *, poll: bool) -> None:
        """Begins to watch.

        Args:
            run: The folder of the run folders 0, 1, ...; they are volumes, there before we start.
            interval: Seconds between two checks where inotify does not work.
            poll: Do not try inotify.

        Raises:
            WatchError: There are no run folders.
        """
        try:
            names = [name for name in os.listdir(run) if name.isdigit()]
        except OSError as error:
            raise WatchError(f"{os.fsdecode(run)}: {error.strerror}") from None
        folders = (run + b"/" + name for name in sorted(names, key=int))
        self._running = [folder for folder in folders if os.path.isdir(folder)]
        if not self._running:
            raise WatchError(f"{os.fsdecode(run)} has no folder of any Step")
        self._inotify = None if poll else Inotify.of(self._running)
        self.kind = wire.WATCH_INOTIFY if self._inotify else wire.WATCH_POLL
        self._interval = SAFETY if self._inotify else interval

    def wait(self, stop: Stop, blocked: "Callable[[], bool]") -> str:
        """Waits for the end.

        Args:
            stop: Where signals are noticed.
            blocked: Whether a Step that has ended left what will keep a later Step from ending; asked when
                a Step has ended.

        Returns:
            `wire.WHY_STEPS_DONE`, `wire.WHY_STEP_FAILED`, `wire.WHY_STEP_BLOCKED`, or `wire.WHY_STOPPED` if
            we were asked to stop.

        Raises:
            WatchError: A run folder cannot be looked into.
        """
        while True:
            # Read before the check: files that existed when the signal came are found.
            stopped = stop.requested
            try:
                running = len(self._running)
                why = self._check()
                if why is None and len(self._running) < running and blocked():
                    why = wire.WHY_STEP_BLOCKED
            except OSError as error:
                if not stopped:
                    path = os.fsdecode(error.filename or b"")
                    raise WatchError(f"{path}: {error.strerror}") from None
                why = None
            if why or stopped:
                return why or wire.WHY_STOPPED
            # A file made between the check and this wait has left its event already.
            if self._inotify:
                stop.wait(self._interval, self._inotify.file)
                self._inotify.drain()
            else:
                stop.wait(self._interval)

    def _check(self) -> str | None:
        for folder in tuple(self._running):
            if _exists(folder + b"/out.err"):
                return wire.WHY_STEP_FAILED
            if _exists(folder + b"/out"):
                self._running.remove(folder)
        return None if self._running else wire.WHY_STEPS_DONE


def _exists(path: bytes) -> bool:
    # os.path.exists takes a folder that we may not look into for one without the file.
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    return True
