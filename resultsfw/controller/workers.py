"""Threads that look at runs: none twice at once, failures with growing pauses, no look for our own writes."""

import contextlib
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from operator import itemgetter
from typing import Final, NamedTuple, Protocol

from resultsfw.controller.failures import Failure
from resultsfw.errors import ClusterError, ConflictError, NotFoundError, ResultsError, UnreadableObjectError
from resultsfw.workqueue import WorkQueue

__all__ = ["End", "Key", "Reconciler", "Stall", "Workers"]

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""A run: namespace and name."""

IsOwn = Callable[[str, str, str], bool]

End = Callable[[Key, Failure, str], bool]
"""Ends a run by name; whether that was to be done. See `resultsfw.controller.failures.RunEnder.end`."""

CONFLICT_PAUSE: Final = 0.05
"""Seconds until a look after a conflict: the watch brings what somebody else wrote."""

TRIES: Final = 15
"""Looks in a row that may fail for what does not come right by itself: with their pauses, about two minutes.
Then the run is ended by name."""

_FAULTS: Final = (Exception, SystemExit)
"""What code that one run's input leads astray may raise; SystemExit would end the thread without a word."""


class Reconciler(Protocol):
    """What brings runs forward."""

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take a run one step further; seconds until it wants to look again by itself."""
        ...


class Stall(NamedTuple):
    """A run that a worker is at: since when, in seconds of the monotonic clock, and the worker's thread."""

    key: Key
    since: float
    thread: int


class Workers:
    """A queue of runs and the threads that empty it. What is a run, and which are ours, its heirs know.

    Args:
        name: Of the threads.
        threads: How many.

    Attributes:
        queue: Runs to look at.
        reconciler: Looks at one; to be set before `work`.
        end: Ends a run that no look brings forward; ``None``: such a run is tried for ever.
        stalled_pause: Seconds that a run waits which stalled another process: the runs of others come first.
        is_own: Whether the run of this namespace and name has this version from a look of ours, who knew
            all that was before: then there is nothing new to be seen in it.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.queue: WorkQueue[Key] = WorkQueue(tenant=itemgetter(0))
        self.is_own: IsOwn = lambda *_: False
        self.end: End | None = None
        self.stalled_pause = 30.0
        self.reconciler: Reconciler
        self._lock = threading.Lock()
        self._at_work: dict[Key, list[str]] = {}
        self._stalls: dict[Key, Stall] = {}
        self._lasting: Counter[Key] = Counter()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]

    def work(self) -> None:
        """Begin to look at runs."""
        for thread in self._threads:
            thread.start()

    @property
    def works(self) -> bool:
        """Whether every worker that was started is there."""
        return all(thread.is_alive() for thread in self._threads if thread.ident is not None)

    def at_work_for(self, seconds: float) -> list[Stall]:
        """Return the runs that a worker has been at for more than so many seconds."""
        until = time.monotonic() - seconds
        with self._lock:
            return [one for one in self._stalls.values() if one.since < until]

    def news(self, key: Key, version: str, *, stalled: bool = False) -> None:
        """A run of ours was seen at this version: look at it, unless a look of ours left it there.

        Args:
            key: The run.
            version: Its resourceVersion.
            stalled: It stalled another process: the runs of others come first.
        """
        with self._lock:
            if (seen := self._at_work.get(key)) is not None:
                # The watch is often faster than the answer to the write that it tells of.
                seen.append(version)
                return
        if not self.is_own(*key, version):
            self.queue.add_after(key, self.stalled_pause if stalled else 0)

    # What heirs say.

    def wants(self, key: Key) -> bool:
        """Whether there is anything to be looked for in a run."""
        raise NotImplementedError

    def exists(self, key: Key) -> bool:
        """Whether a run was seen, and not its end."""
        raise NotImplementedError

    def defect(self, key: Key) -> str:
        """Why no reconciler can work on a run; "" where one can."""
        del key
        return ""

    def told(self, key: Key) -> AbstractContextManager[object]:
        """What the log says beside everything that a look at the run logs."""
        del key
        return contextlib.nullcontext()

    def name(self, key: Key) -> str:
        """As the log calls a run where its look has a fault of ours."""
        return f"run {key[0]}/{key[1]}"

    def looked(self, result: str) -> None:
        """What came of a look: "done", "conflict", "retry", "failed" or "bug"."""

    # The work.

    def _work(self) -> None:
        while (key := self.queue.get()) is not None:
            with self._lock:
                self._at_work[key] = []
                self._stalls[key] = Stall(key, time.monotonic(), threading.get_ident())
            try:
                self._look(key)
            except _FAULTS:  # pragma: no cover - a worker outlives even a fault in its own error handling
                log.exception("could not reconcile %s", self.name(key))
            finally:
                with self._lock:
                    seen = self._at_work.pop(key)
                    self._stalls.pop(key, None)
                if not all(self.is_own(*key, version) for version in seen):
                    self.queue.add(key)
                self.queue.done(key)

    def _look(self, key: Key) -> None:
        if not self.wants(key):
            self._forget(key)
            return
        with self.told(key):
            if defect := self.defect(key):
                why = f"[User error] the run {'/'.join(key)} cannot be reconciled: {defect}"
                self.looked(self._end(key, Failure.UNREADABLE, why))
                return
            self.looked(self._reconcile(key))

    def _reconcile(self, key: Key) -> str:
        try:
            again = self.reconciler.reconcile(*key)
        except ConflictError:
            self.queue.add_after(key, CONFLICT_PAUSE)
            return "conflict"
        except UnreadableObjectError as error:
            return self._end(key, Failure.UNREADABLE, f"[User error] {error.message}")
        except ResultsError as error:
            if isinstance(error, NotFoundError) and not self.exists(key):
                return "done"
            if not (isinstance(error, ClusterError) and error.retryable):
                return self._failed(key, error)
            self._lasting.pop(key, None)
            pause = self.queue.add_rate_limited(key)
            if error.retry_within is not None and error.retry_within < pause:
                pause = error.retry_within
                self.queue.add_after(key, pause)
            log.warning("%s: %s; requeued after %.3f s", error.subject or "request", error.message, pause)
            return "retry"
        except _FAULTS as error:
            return self._faulty(key, error)
        self._forget(key)
        if again is not None:
            self.queue.add_after(key, again)
        return "done"

    def _forget(self, key: Key) -> None:
        """It went well, or is over: the next failure is the first."""
        self._lasting.pop(key, None)
        self.queue.forget(key)

    def _lasts(self, key: Key) -> bool:
        """Count a failure that hardly comes right by itself; whether there were too many in a row."""
        self._lasting[key] += 1
        return self._lasting[key] >= TRIES

    def _failed(self, key: Key, error: ResultsError) -> str:
        """Try again after what hardly comes right by itself, or end the run."""
        if self._lasts(key):
            message = f"the controller could not reconcile this run ({error.code}): {error.message}"
            return self._end(key, Failure.FAULT, message, "failed")
        pause = self.queue.add_rate_limited(key)
        log.error("%s: %s; requeued after %.3f s", error.subject or "request", error.message, pause)
        return "failed"

    def _faulty(self, key: Key, error: BaseException) -> str:
        """Try again after a fault of ours that the run led to, or end the run."""
        # What recursed without end does so each time, and costs the workers of others most.
        if self._lasts(key) or isinstance(error, RecursionError):
            log.error("%s: internal error", self.name(key), exc_info=error)
            message = (
                f"an internal error of the controller prevents it from reconciling this run "
                f"({type(error).__name__}); please report it with the traceback in the controller's log"
            )
            return self._end(key, Failure.FAULT, message, "bug")
        pause = self.queue.add_rate_limited(key)
        log.error("%s: internal error; requeued after %.3f s", self.name(key), pause, exc_info=error)
        return "bug"

    def _end(self, key: Key, failure: Failure, message: str, result: str = "failed") -> str:
        """End a run by name, or try again later."""
        try:
            if self.end is not None and self.end(key, failure, message):
                log.error("%s was marked as failed: %s", self.name(key), message)
                self._forget(key)
                return result
            pause = self.queue.add_rate_limited(key)
        except ConflictError:
            self.queue.add_after(key, CONFLICT_PAUSE)
            return "conflict"
        except NotFoundError:
            self._forget(key)
            return result
        except _FAULTS as error:
            pause = self.queue.add_rate_limited(key)
            why = error.message if isinstance(error, ResultsError) else type(error).__name__
            log.warning("%s cannot be marked as failed: %s", self.name(key), why)
        log.error("%s: %s; requeued after %.3f s", self.name(key), message, pause)
        return result
