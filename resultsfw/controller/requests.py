"""Queue requests to reconcile runs, except for versions that this controller wrote itself."""

import threading
from operator import itemgetter
from typing import Final, Protocol

from resultsfw.workqueue import MAX_DELAY, QueueMetrics, WorkQueue

__all__ = ["Request", "RequestQueue"]

Request = tuple[str, str]
"""A request to reconcile a run: its namespace and name (controller-runtime: reconcile.Request)."""

STALLED_DELAY: Final = 30.0


class _OwnWrites(Protocol):
    def is_own(self, namespace: str, name: str, version: str, /) -> bool: ...


class RequestQueue(WorkQueue[Request]):
    """A work queue of runs, which serves namespaces in turn.

    Args:
        own_writes: Knows which versions this controller wrote itself: their watch events enqueue nothing.
        stalled_delay: Seconds that a run waits which stalled another process: other runs come first.
        max_delay: See `WorkQueue`.
        metrics: See `WorkQueue`.
    """

    def __init__(
        self,
        own_writes: _OwnWrites,
        *,
        stalled_delay: float = STALLED_DELAY,
        max_delay: float = MAX_DELAY,
        metrics: QueueMetrics | None = None,
    ) -> None:
        super().__init__(tenant=itemgetter(0), max_delay=max_delay, metrics=metrics)
        self._own_writes = own_writes
        self._stalled_delay = stalled_delay
        self._events_lock = threading.Lock()
        self._running: dict[Request, list[str]] = {}

    def enqueue(self, request: Request, version: str, *, stalled: bool = False) -> None:
        """Add a run of which the watch brought this version, unless this controller wrote it.

        Args:
            request: The run.
            version: Its resourceVersion.
            stalled: Whether it stalled another process.
        """
        with self._events_lock:
            if (versions := self._running.get(request)) is not None:
                # Decided in `done`: the watch often brings a write before the API server answers it.
                versions.append(version)
                return
        if not self._own_writes.is_own(*request, version):
            self.add_after(request, self._stalled_delay if stalled else 0)

    def get(self, timeout: float | None = None) -> Request | None:
        """Return the next request. See `WorkQueue.get`."""
        key = super().get(timeout)
        if key is not None:
            with self._events_lock:
                self._running[key] = []
        return key

    def done(self, key: Request) -> None:
        """Finish a request, and add it again if somebody else wrote the run meanwhile."""
        with self._events_lock:
            versions = self._running.pop(key, [])
        if not all(self._own_writes.is_own(*key, version) for version in versions):
            self.add(key)
        super().done(key)
