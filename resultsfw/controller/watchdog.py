"""Name the runs that workers have been at for too long, before the liveness probe ends the process."""

import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Final

from resultsfw.controller.metrics import Metrics
from resultsfw.controller.workers import Key, Stall, Workers
from resultsfw.errors import ResultsError

__all__ = ["STALLED_AFTER", "Watchdog"]

log = logging.getLogger(__name__)

STALLED_AFTER: Final = 60.0
"""Seconds after which a worker that is at one run counts as stalled. A look takes milliseconds; one whose
requests are not answered ends after 30 s with an error."""

_FRAMES: Final = 12
"""Of the worker's stack, the innermost, that are logged."""

_LOOKS: Final = 12
"""How often it is looked within the time after which a worker counts as stalled."""


class Watchdog:
    """Watches the workers from a thread of its own.

    A run that stalls a worker is named in the log with the worker's stack, in a metric and on the run itself
    (`resultsfw.controller.failures.RunEnder.stalled`): when the liveness probe has restarted the process, the
    run waits behind all others, and a second process that it stalls ends it.

    Args:
        workers: By the kind of their runs.
        note: What writes to a run that it stalls this process, by kind.
        metrics: Shows the runs.
        seconds: After which a worker counts as stalled.
    """

    def __init__(
        self,
        workers: Mapping[str, Workers],
        note: Mapping[str, Callable[[Key, str], None]],
        metrics: Metrics,
        *,
        seconds: float = STALLED_AFTER,
    ) -> None:
        self._workers = workers
        self._note = note
        self._metrics = metrics
        self._seconds = seconds
        self._named: dict[tuple[str, Key], Stall] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin, on a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(1)

    def stalled(self) -> list[str]:
        """Return the runs that a worker is at for too long now, as sentences name them."""
        return [
            f"{kind} {stall.key[0]}/{stall.key[1]}"
            for kind, workers in self._workers.items()
            for stall in workers.at_work_for(self._seconds)
        ]

    def look(self) -> None:
        """Look at the workers once."""
        now = {
            (kind, stall.key): stall
            for kind, workers in self._workers.items()
            for stall in workers.at_work_for(self._seconds)
        }
        clock = time.monotonic()
        self._metrics.stalled_runs({(kind, *key): clock - one.since for (kind, key), one in now.items()})
        for (kind, key), stall in now.items():
            if self._named.get((kind, key)) is not stall:
                self._name(kind, stall)
        self._named = now

    def _name(self, kind: str, stall: Stall) -> None:
        message = f"a worker has been reconciling it for more than {self._seconds:.0f} s"
        frame = sys._current_frames().get(stall.thread)  # noqa: SLF001 - documented, for debuggers
        stack = "".join(traceback.format_stack(frame)[-_FRAMES:]) if frame is not None else ""
        log.error("%s %s/%s: %s; stack of the worker:\n%s", kind, *stall.key, message, stack)
        try:
            self._note[kind](
                stall.key, f"{message}, in more than one process; the controller's log has the stack"
            )
        except ResultsError as error:
            log.warning("%s %s/%s: could not record the stall on it: %s", kind, *stall.key, error.message)

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds / _LOOKS):
            try:
                self.look()
            except Exception:
                log.exception("the watchdog failed")
