"""Report runs that stall a worker before the liveness probe restarts the process."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from resultsfw.controller.controller import Controller, Running
from resultsfw.controller.metrics import Metrics
from resultsfw.controller.requests import Request
from resultsfw.errors import ResultsError
from resultsfw.operations.debug import stack_of

__all__ = ["STALLED_AFTER", "Watchdog"]

log = logging.getLogger(__name__)

STALLED_AFTER: Final = 60.0
"""Seconds of one reconciliation after which its worker counts as stalled. A reconciliation takes
milliseconds; one whose requests are not answered fails after 30 s."""

_CHECKS: Final = 12
"""Checks within the time after which a worker counts as stalled."""


class Watchdog:
    """Checks the workers of all controllers, on a thread of its own.

    A run that stalls a worker is reported in the log with the worker's stack, in a metric, and on the run
    itself (`resultsfw.controller.failures.RunFailer.record_stall`). When the liveness probe has restarted the
    process, the run waits behind all others; if it stalls a second process, it is marked as failed.

    Args:
        controllers: By the kind of their runs.
        record_stall: Writes to a run that it stalls this process, by kind.
        metrics: Export the runs.
        seconds: See `STALLED_AFTER`.
    """

    def __init__(
        self,
        controllers: Mapping[str, Controller],
        record_stall: Mapping[str, Callable[[Request, str], None]],
        metrics: Metrics,
        *,
        seconds: float = STALLED_AFTER,
    ) -> None:
        self._controllers = controllers
        self._record_stall = record_stall
        self._metrics = metrics
        self._seconds = seconds
        self._reported: dict[tuple[str, Request], Running] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread."""
        self._stopped.set()
        if self._thread.ident is not None:
            self._thread.join(1)

    def stalled(self) -> list[str]:
        """Return the runs that stall a worker now, as "KIND NAMESPACE/NAME"."""
        return [
            f"{kind} {running.request[0]}/{running.request[1]}"
            for kind, controller in self._controllers.items()
            for running in controller.running_longer_than(self._seconds)
        ]

    def check(self) -> None:
        """Check the workers once."""
        stalled = {
            (kind, running.request): running
            for kind, controller in self._controllers.items()
            for running in controller.running_longer_than(self._seconds)
        }
        now = time.monotonic()
        self._metrics.stalled_runs(
            {(kind, *request): now - running.since for (kind, request), running in stalled.items()}
        )
        for (kind, request), running in stalled.items():
            if self._reported.get((kind, request)) is not running:
                self._report(kind, running)
        self._reported = stalled

    def _report(self, kind: str, running: Running) -> None:
        message = f"a worker has been reconciling it for more than {self._seconds:.0f} s"
        stack = "\n".join(stack_of(running.thread))
        log.error("%s %s/%s: %s; stack of the worker:\n%s", kind, *running.request, message, stack)
        try:
            self._record_stall[kind](
                running.request, f"{message}, in more than one process; the controller's log has the stack"
            )
        except ResultsError as error:
            log.warning(
                "%s %s/%s: could not record the stall on it: %s", kind, *running.request, error.message
            )

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds / _CHECKS):
            try:
                self.check()
            except Exception:
                log.exception("the watchdog failed")
