"""Queue keys for workers: no key twice at once, delays, backoff after failures, tenants in turn."""

import heapq
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from resultsfw.ratelimit import TokenBucket

__all__ = ["QueueMetrics", "QueueState", "WorkQueue"]

Key = TypeVar("Key")

BASE_DELAY: Final = 0.005
"""Seconds until the retry after a first failure; doubled with every further one."""

MAX_DELAY: Final = 60.0
"""Seconds; the default limit of a retry's delay."""

JITTER: Final = 0.5

_MAX_DOUBLINGS: Final = 14
"""Doublings after which every `MAX_DELAY` in use is exceeded; a float would overflow at last."""

_POLL_SECONDS: Final = 1.0
"""Seconds after which an idle worker checks the timers again."""

_MAX_BUCKETS: Final = 1000
"""Tenants whose retries are counted: those that retried last."""

_STALE_TIMERS: Final = 64
"""Replaced timers that may remain in the heap before it is rebuilt without them."""


@dataclass(slots=True)
class _ReadyKeys(Generic[Key]):
    """A tenant's keys that are due, with the time they were added; a key is in one of the two, in order."""

    urgent: dict[Key, float] = field(default_factory=dict)
    others: dict[Key, float] = field(default_factory=dict)


class QueueMetrics(Protocol):
    """Records how long keys wait and are worked on, as the provider of metrics of client-go's queue."""

    def on_get(self, seconds: float, /) -> None:
        """Record for how many seconds a key waited since it was added."""
        ...

    def on_done(self, seconds: float, /) -> None:
        """Record for how many seconds a worker held a key."""
        ...


class _NoMetrics:
    def on_get(self, _seconds: float, /) -> None:
        pass

    def on_done(self, _seconds: float, /) -> None:
        pass


class QueueState(NamedTuple, Generic[Key]):
    """The state of a queue at one time.

    Attributes:
        ready: How many keys are due and wait for a worker.
        delayed: How many keys have a timer.
        failing: How many keys failed the last time.
        processing: How many keys a worker holds.
        oldest: The keys that wait longest, with the seconds since they were added.
    """

    ready: int
    delayed: int
    failing: int
    processing: int
    oldest: list[tuple[Key, float]]


class WorkQueue(Generic[Key]):
    """A queue of keys, first come first served, tenants in turn. Safe for threads.

    The names are those of client-go's ``workqueue``. Two things differ. After a key of one tenant, keys of
    all other tenants come first, however many of its keys wait; and retries are limited for each tenant.
    A key has one timer at most, the earliest: each reconciliation decides anew when the next one is due.

    A key that is added while a worker holds it is handed out again after `done`.

    Of a tenant's keys those that were added as urgent come first, as in controller-runtime's priority queue.
    Use it for keys that are urgent a limited number of times, or they starve the others.

    Args:
        tenant: Returns the tenant of a key.
        rate: Retries a second of one tenant's keys, once ``burst`` of them came at once; 0: no limit.
        burst: See ``rate``.
        max_delay: Seconds; the limit of the delay of a key that keeps failing.
        jitter: A delay is shortened by up to this part of it, so that keys which failed together do not
            return together.
        clock: Returns seconds, monotonic.
        metrics: Called without the queue's lock.
    """

    def __init__(
        self,
        *,
        tenant: Callable[[Key], Hashable] = lambda _: None,
        rate: float = 100.0,
        burst: int = 1000,
        max_delay: float = MAX_DELAY,
        jitter: float = JITTER,
        clock: Callable[[], float] = time.monotonic,
        metrics: QueueMetrics | None = None,
    ) -> None:
        self._metrics = metrics or _NoMetrics()
        self._max_delay = max_delay
        self._jitter = jitter
        self._changed = threading.Condition()
        self._clock = clock
        self._tenant = tenant
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()
        self._random = random.Random()  # noqa: S311 - jitter is no secret
        self._ready: OrderedDict[Hashable, _ReadyKeys[Key]] = OrderedDict()
        self._ready_count = 0
        self._processing: dict[Key, float] = {}  # since when
        self._dirty: dict[Key, tuple[bool, float]] = {}  # whether it is urgent, and since when it waits
        self._timers: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._timer_count = 0
        self._failures: dict[Key, int] = {}
        self._shutting_down = False

    def __len__(self) -> int:
        """Return how many keys are due and wait for a worker."""
        with self._changed:
            self._fire_timers(self._clock())  # else only idle workers do
            return self._ready_count + len(self._dirty)

    @property
    def delayed(self) -> int:
        """How many keys have a timer."""
        with self._changed:
            return len(self._timers)

    def state(self, most: int) -> QueueState[Key]:
        """Return the queue's state, with at most so many of the keys that wait."""
        with self._changed:
            now = self._clock()
            self._fire_timers(now)
            waiting = [
                (since, key)
                for keys in self._ready.values()
                for some in (keys.urgent, keys.others)
                for key, since in some.items()
            ]
            waiting += [(since, key) for key, (_, since) in self._dirty.items()]
            oldest = heapq.nsmallest(most, waiting, key=itemgetter(0))
            return QueueState(
                len(waiting),
                len(self._timers),
                len(self._failures),
                len(self._processing),
                [(key, now - since) for since, key in oldest],
            )

    def add(self, key: Key, *, urgent: bool = False) -> None:
        """Hand out a key as soon as possible, an urgent one before the tenant's others."""
        with self._changed:
            self._add(key, self._clock(), urgent=urgent)

    def add_after(self, key: Key, seconds: float) -> None:
        """Hand out a key after so many seconds, or earlier if it is added for another reason."""
        if seconds <= 0:
            self.add(key)
            return
        with self._changed:
            when = self._clock() + seconds
            if key in self._timers and self._timers[key][0] <= when:
                return
            self._timer_count += 1
            self._timers[key] = (when, self._timer_count)
            heapq.heappush(self._heap, (when, self._timer_count, key))
            if len(self._heap) > 2 * len(self._timers) + _STALE_TIMERS:
                self._heap = [(at, count, timed) for timed, (at, count) in self._timers.items()]
                heapq.heapify(self._heap)
            if self._heap[0][1] == self._timer_count:
                # Only the earliest timer concerns idle workers; waking one costs as much as decoding a pod.
                self._changed.notify()

    def add_rate_limited(self, key: Key) -> float:
        """Hand out a key after a delay that grows with its failures in a row; return the delay in seconds."""
        with self._changed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            delay = min(BASE_DELAY * 2.0 ** min(failures, _MAX_DOUBLINGS), self._max_delay)
            delay *= 1 - self._jitter * self._random.random()
            bucket = self._bucket_of(self._tenant(key))
        delay = max(delay, bucket.reserve())
        self.add_after(key, delay)
        return delay

    def forget(self, key: Key) -> None:
        """Reset a key's failures: its next failure counts as the first."""
        with self._changed:
            self._failures.pop(key, None)

    def discard(self, key: Key) -> None:
        """Remove a key with its timer and its failures: its object is gone."""
        with self._changed:
            self._take(self._tenant(key), key)
            self._dirty.pop(key, None)
            self._timers.pop(key, None)
            self._failures.pop(key, None)

    def get(self, timeout: float | None = None) -> Key | None:
        """Wait for the next key, to be given back with `done`.

        Args:
            timeout: Seconds; ``None``: for ever.

        Returns:
            A key; ``None`` when the queue shuts down or no key was due in time.
        """
        taken = self._next(timeout)
        if taken is None:
            return None
        key, waited = taken
        self._metrics.on_get(waited)
        return key

    def _next(self, timeout: float | None) -> tuple[Key, float] | None:
        """Return the next key, and for how many seconds it waited. See `get`."""
        end = None if timeout is None else self._clock() + timeout
        with self._changed:
            while not self._shutting_down:
                now = self._clock()
                self._fire_timers(now)
                if self._ready:
                    tenant, keys = next(iter(self._ready.items()))
                    key, since = next(iter((keys.urgent or keys.others).items()))
                    self._take(tenant, key)
                    if tenant in self._ready:
                        self._ready.move_to_end(tenant)
                    self._timers.pop(key, None)
                    self._processing[key] = now
                    return key, now - since
                if end is not None and now >= end:
                    return None
                # The worker that was notified of a timer may be busy when it is due: all poll now and then.
                due = min(self._heap[0][0] - now, _POLL_SECONDS) if self._heap else None
                left = None if end is None else end - now
                self._changed.wait(min((wait for wait in (due, left) if wait is not None), default=None))
        return None

    def done(self, key: Key) -> None:
        """Give back a key that `get` returned."""
        with self._changed:
            began = self._processing.pop(key, None)
            now = self._clock()
            if (dirty := self._dirty.pop(key, None)) is not None:
                urgent, since = dirty
                self._add(key, since, urgent=urgent)
            elif self._shutting_down and not self._processing:
                self._changed.notify_all()  # for shut_down_with_drain
        if began is not None:
            self._metrics.on_done(now - began)

    def shut_down(self) -> None:
        """Hand out no further key."""
        with self._changed:
            self._shutting_down = True
            self._changed.notify_all()

    def shut_down_with_drain(self, seconds: float) -> bool:
        """Shut down, and return whether all workers gave back their keys within so many seconds."""
        self.shut_down()
        with self._changed:
            return self._changed.wait_for(lambda: not self._processing, seconds)

    def _fire_timers(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            when, count, key = heapq.heappop(self._heap)
            if self._timers.get(key) == (when, count):
                del self._timers[key]
                self._add(key, when)
        while self._heap and self._timers.get(self._heap[0][2]) != self._heap[0][:2]:
            heapq.heappop(self._heap)

    def _add(self, key: Key, since: float, *, urgent: bool = False) -> None:
        if key in self._processing:
            was_urgent, first = self._dirty.get(key, (False, since))
            self._dirty[key] = urgent or was_urgent, first
            return
        keys = self._ready.setdefault(self._tenant(key), _ReadyKeys())
        if key in keys.urgent:
            return
        if key not in keys.others:
            self._ready_count += 1
            self._changed.notify()
        elif urgent:
            since = keys.others.pop(key)
        (keys.urgent if urgent else keys.others).setdefault(key, since)

    def _take(self, tenant: Hashable, key: Key) -> None:
        """Remove a key from those that are ready, if it is one of them."""
        keys = self._ready.get(tenant)
        if keys is None:
            return
        for ready in (keys.urgent, keys.others):
            if key in ready:
                del ready[key]
                self._ready_count -= 1
        if not (keys.urgent or keys.others):
            del self._ready[tenant]

    def _bucket_of(self, tenant: Hashable) -> TokenBucket:
        """Return the bucket for a tenant's retries; a full one if the tenant has not retried for long."""
        bucket = self._buckets.pop(tenant, None) or TokenBucket(self._rate, self._burst, clock=self._clock)
        self._buckets[tenant] = bucket
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return bucket
