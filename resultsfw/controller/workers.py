"""Threads that look at runs: none twice at once, failures with growing pauses, no look for our own writes."""

import contextlib
import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, Protocol

from resultsfw.errors import ClusterError, ConflictError, NotFoundError, ResultsError
from resultsfw.tekton.workqueue import WorkQueue

__all__ = ["Key", "Reconciler", "Workers"]

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""A run: namespace and name."""

IsOwn = Callable[[str, str, str], bool]

CONFLICT_PAUSE: Final = 0.05
"""Seconds until a look after a conflict: the watch brings what somebody else wrote."""


class Reconciler(Protocol):
    """What brings runs forward."""

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take a run one step further; seconds until it wants to look again by itself."""
        ...


class Workers:
    """A queue of runs and the threads that empty it. What is a run, and which are ours, its heirs know.

    Args:
        name: Of the threads.
        threads: How many.

    Attributes:
        queue: Runs to look at.
        reconciler: Looks at one; to be set before `work`.
        is_own: Whether the run of this namespace and name has this version from a look of ours, who knew
            all that was before: then there is nothing new to be seen in it.
    """

    def __init__(self, name: str, threads: int) -> None:
        self.queue: WorkQueue[Key] = WorkQueue()
        self.is_own: IsOwn = lambda *_: False
        self.reconciler: Reconciler
        self._lock = threading.Lock()
        self._at_work: dict[Key, list[str]] = {}
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

    def news(self, key: Key, version: str) -> None:
        """A run of ours was seen at this version: look at it, unless a look of ours left it there."""
        with self._lock:
            if (seen := self._at_work.get(key)) is not None:
                # The watch is often faster than the answer to the write that it tells of.
                seen.append(version)
                return
        if not self.is_own(*key, version):
            self.queue.add(key)

    # What heirs say.

    def wants(self, key: Key) -> bool:
        """Whether there is anything to be looked for in a run."""
        raise NotImplementedError

    def exists(self, key: Key) -> bool:
        """Whether a run was seen, and not its end."""
        raise NotImplementedError

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
            try:
                self._look(key)
            except Exception:  # pragma: no cover - a worker outlives even a fault in its own error handling
                log.exception("looking at %s", self.name(key))
            finally:
                with self._lock:
                    seen = self._at_work.pop(key)
                if not all(self.is_own(*key, version) for version in seen):
                    self.queue.add(key)
                self.queue.done(key)

    def _look(self, key: Key) -> None:
        if not self.wants(key):
            self.queue.forget(key)
            return
        with self.told(key):
            self.looked(self._reconcile(key))

    def _reconcile(self, key: Key) -> str:
        try:
            again = self.reconciler.reconcile(*key)
        except ConflictError:
            self.queue.add_after(key, CONFLICT_PAUSE)
            return "conflict"
        except ResultsError as error:
            if isinstance(error, NotFoundError) and not self.exists(key):
                return "done"
            pause = self.queue.retry(key)
            passing = isinstance(error, ClusterError) and error.retryable
            level = logging.WARNING if passing else logging.ERROR
            log.log(level, "%s: %s; again in %.3f s", error.subject or "request", error.message, pause)
            return "retry" if passing else "failed"
        except Exception:
            pause = self.queue.retry(key)
            log.exception("%s: a fault of resultsfw; again in %.3f s", self.name(key), pause)
            return "bug"
        self.queue.forget(key)
        if again is not None:
            self.queue.add_after(key, again)
        return "done"
