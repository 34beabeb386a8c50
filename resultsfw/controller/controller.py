"""Reconcile runs on worker threads: requeue after failures, and mark as failed what cannot be reconciled."""

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, NamedTuple, Protocol

from resultsfw.controller.failures import Failure
from resultsfw.controller.requests import Request, RequestQueue
from resultsfw.errors import ClusterError, ConflictError, NotFoundError, ResultsError, UnreadableObjectError
from resultsfw.lifetime import ClosedError, Lifetime

__all__ = ["Controller", "LiveReconciler", "MarkFailed", "Reconciler", "Running"]

log = logging.getLogger(__name__)

MarkFailed = Callable[[Request, Failure, str], bool]
"""Writes the final status of a run that cannot be reconciled; returns whether it was written.
See `resultsfw.controller.failures.RunFailer.mark_failed`."""

CONFLICT_DELAY: Final = 0.05
"""Seconds until a run is reconciled after a conflict: the watch brings what somebody else wrote."""

MAX_FAILURES: Final = 15
"""Failures in a row, of a kind that retrying hardly mends, after which a run is marked as failed. With their
delays they take about two minutes."""

_BUGS: Final = (BaseException,)
"""What a bug that one run's input triggers may raise: anything, on a worker thread, which it would end."""


class Reconciler(Protocol):
    """Reconciles runs of one kind."""

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Reconcile one run; return the seconds after which to requeue it, ``None`` for not at all."""
        ...


class LiveReconciler:
    """Delegates to the reconciler for the flags in effect. Safe for threads.

    A reconciliation that has begun finishes with the flags it began with, and keeps their extensions open.
    """

    def __init__(self) -> None:
        self._current: tuple[Reconciler, Lifetime] | None = None

    def swap(self, reconciler: Reconciler, lifetime: Lifetime) -> None:
        """Use this reconciler from now on.

        Args:
            reconciler: For the new flags.
            lifetime: Of what it uses. The previous one may be closed once this method has returned.
        """
        self._current = reconciler, lifetime

    def reconcile(self, namespace: str, name: str) -> float | None:
        """See `Reconciler`; the workers start once there are flags in effect."""
        while (current := self._current) is not None:
            reconciler, lifetime = current
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(lifetime.use())
                except ClosedError:
                    if current is self._current:
                        raise
                    continue  # it was swapped just now
                return reconciler.reconcile(namespace, name)
        raise RuntimeError("no feature flags are in effect yet")


class Running(NamedTuple):
    """A reconciliation in progress: the run, its start by the monotonic clock, the worker's thread."""

    request: Request
    since: float
    thread: int


class Controller:
    """Workers that reconcile the runs of a queue. Subclasses know the runs.

    Args:
        name: Of the worker threads.
        queue: The requests.
        reconciler: Reconciles one run.
        mark_failed: Marks a run as failed that cannot be reconciled.
        threads: How many workers.
    """

    def __init__(
        self,
        name: str,
        queue: RequestQueue,
        reconciler: Reconciler,
        mark_failed: MarkFailed,
        *,
        threads: int,
    ) -> None:
        self.queue = queue
        self._reconciler = reconciler
        self._mark_failed = mark_failed
        self._lock = threading.Lock()
        self._running: dict[Request, Running] = {}
        self._failures: Counter[Request] = Counter()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self) -> None:
        """Start the workers."""
        for thread in self._threads:
            thread.start()

    @property
    def is_healthy(self) -> bool:
        """Whether every worker that was started is alive."""
        return all(thread.is_alive() for thread in self._threads if thread.ident is not None)

    @property
    def workers(self) -> int:
        """How many workers there are."""
        return len(self._threads)

    def running_longer_than(self, seconds: float) -> list[Running]:
        """Return the reconciliations that have taken more than so many seconds."""
        until = time.monotonic() - seconds
        with self._lock:
            return [running for running in self._running.values() if running.since < until]

    def running_seconds(self) -> list[float]:
        """Return the seconds that each reconciliation in progress has taken."""
        now = time.monotonic()
        with self._lock:
            return [now - running.since for running in self._running.values()]

    # What subclasses know.

    def needs_reconcile(self, request: Request) -> bool:
        """Return whether anything is left to do for a run."""
        raise NotImplementedError

    def exists(self, request: Request) -> bool:
        """Return whether a run is known, and not known to be deleted."""
        raise NotImplementedError

    def defect(self, request: Request) -> str:
        """Return why a run cannot be reconciled; "" if it can."""
        raise NotImplementedError

    def log_context(self, request: Request) -> AbstractContextManager[object]:
        """Return a context within which log lines have the run's fields."""
        raise NotImplementedError

    def describe(self, request: Request) -> str:
        """Return a run's name for the log."""
        raise NotImplementedError

    def record_result(self, result: str) -> None:
        """Count a reconciliation: "done", "conflict", "retry", "failed" or "bug"."""
        raise NotImplementedError

    # The workers.

    def _work(self) -> None:
        while (request := self.queue.get()) is not None:
            with self._lock:
                self._running[request] = Running(request, time.monotonic(), threading.get_ident())
            try:
                self._process(request)
            except _BUGS:  # pragma: no cover - a worker survives even a bug in its own error handling
                log.exception("could not reconcile %s", self.describe(request))
            finally:
                with self._lock:
                    self._running.pop(request, None)
                self.queue.done(request)

    def _process(self, request: Request) -> None:
        if not self.needs_reconcile(request):
            self._forget(request)
            return
        with self.log_context(request):
            if defect := self.defect(request):
                why = f"[User error] the run {'/'.join(request)} cannot be reconciled: {defect}"
                self.record_result(self._fail(request, Failure.UNREADABLE, why))
                return
            self.record_result(self._reconcile(request))

    def _reconcile(self, request: Request) -> str:
        try:
            requeue_after = self._reconciler.reconcile(*request)
        except ConflictError:
            self.queue.add_after(request, CONFLICT_DELAY)
            return "conflict"
        except UnreadableObjectError as error:
            return self._fail(request, Failure.UNREADABLE, f"[User error] {error.message}")
        except ResultsError as error:
            if isinstance(error, NotFoundError) and not self.exists(request):
                return "done"
            if not (isinstance(error, ClusterError) and error.retryable):
                return self._unexpected(request, error)
            self._failures.pop(request, None)
            delay = self.queue.add_rate_limited(request)
            if error.retry_within is not None and error.retry_within < delay:
                delay = error.retry_within
                self.queue.add_after(request, delay)
            log.warning("%s: %s; requeued after %.3f s", error.subject or "request", error.message, delay)
            return "retry"
        except _BUGS as error:
            return self._bug(request, error)
        self._forget(request)
        if requeue_after is not None:
            self.queue.add_after(request, requeue_after)
        return "done"

    def _forget(self, request: Request) -> None:
        """Reset the failures of a run that was reconciled, or is finished."""
        self._failures.pop(request, None)
        self.queue.forget(request)

    def _fails_repeatedly(self, request: Request) -> bool:
        """Count a failure that retrying hardly mends; return whether there were too many in a row."""
        self._failures[request] += 1
        return self._failures[request] >= MAX_FAILURES

    def _unexpected(self, request: Request, error: ResultsError) -> str:
        """Requeue a run after an error that retrying hardly mends, or mark it as failed."""
        if self._fails_repeatedly(request):
            message = f"the controller could not reconcile this run ({error.code}): {error.message}"
            return self._fail(request, Failure.FAULT, message, "failed")
        delay = self.queue.add_rate_limited(request)
        log.error("%s: %s; requeued after %.3f s", error.subject or "request", error.message, delay)
        return "failed"

    def _bug(self, request: Request, error: BaseException) -> str:
        """Requeue a run after a bug that it triggered, or mark it as failed."""
        # Endless recursion recurs each time, and takes the most worker time from other runs.
        if self._fails_repeatedly(request) or isinstance(error, RecursionError):
            log.error("%s: internal error", self.describe(request), exc_info=error)
            message = (
                f"an internal error of the controller prevents it from reconciling this run "
                f"({type(error).__name__}); please report it with the traceback in the controller's log"
            )
            return self._fail(request, Failure.FAULT, message, "bug")
        delay = self.queue.add_rate_limited(request)
        log.error("%s: internal error; requeued after %.3f s", self.describe(request), delay, exc_info=error)
        return "bug"

    def _fail(self, request: Request, failure: Failure, message: str, result: str = "failed") -> str:
        """Mark a run as failed, or requeue it; return the result to count."""
        try:
            if self._mark_failed(request, failure, message):
                log.error("%s was marked as failed: %s", self.describe(request), message)
                self._forget(request)
                return result
            delay = self.queue.add_rate_limited(request)
        except ConflictError:
            self.queue.add_after(request, CONFLICT_DELAY)
            return "conflict"
        except NotFoundError:
            self._forget(request)
            return result
        except _BUGS as error:
            delay = self.queue.add_rate_limited(request)
            why = error.message if isinstance(error, ResultsError) else type(error).__name__
            log.warning("%s cannot be marked as failed: %s", self.describe(request), why)
        log.error("%s: %s; requeued after %.3f s", self.describe(request), message, delay)
        return result
