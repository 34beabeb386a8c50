"""Keys to work on: one key never twice at once, some later, failures with growing pauses, tenants in turn."""

import heapq
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

__all__ = ["TokenBucket", "WorkQueue"]

Key = TypeVar("Key")

FIRST_PAUSE: Final = 0.005
LONGEST_PAUSE: Final = 60.0
JITTER: Final = 0.5

_LOOK_UP: Final = 1.0
"""Seconds after which a worker that waits looks at the timers again."""

_TENANTS: Final = 1000
"""Tenants whose retries are counted, those that retried last."""

_SLACK: Final = 64
"""Replaced timers that may stand in the heap before it is cleared of them."""


class TokenBucket:
    """So many a second, and some at once after a rest. Safe for threads.

    Args:
        rate: A second; 0: no limit.
        burst: At once.
        clock: Seconds, monotonic.
    """

    def __init__(self, rate: float, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = float(max(burst, 1))
        self._clock = clock
        self._tokens = self._burst
        self._at = clock()
        self._lock = threading.Lock()

    def reserve(self) -> float:
        """Take one, and say in how many seconds it may be used."""
        if self._rate <= 0:
            return 0.0
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - 1
            self._at = now
            return max(0.0, -self._tokens / self._rate)


class WorkQueue(Generic[Key]):
    """A queue of keys, in the order in which they became due, tenants in turn. Safe for threads.

    However many keys of one tenant wait, a key of another is handed out after one of them; and a tenant's
    retries wait for its own only.

    A key that is added while it is worked on comes again afterwards. A key has at most one timer, the
    earliest; handing the key out ends it: who works on it says anew when to look again.

    Args:
        tenant: Whose a key is.
        rate: Retries a second, of one tenant's keys, once ``burst`` of them came at once; 0: no limit.
        burst: See ``rate``.
        longest_pause: Seconds; what the pauses of a key that keeps failing grow to.
        jitter: A pause is shortened by up to this part of it, so that what failed together does not
            return together.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        *,
        tenant: Callable[[Key], Hashable] = lambda _: None,
        rate: float = 100.0,
        burst: int = 1000,
        longest_pause: float = LONGEST_PAUSE,
        jitter: float = JITTER,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._longest_pause = longest_pause
        self._jitter = jitter
        self._changed = threading.Condition()
        self._clock = clock
        self._tenant = tenant
        self._rate = rate
        self._burst = burst
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()
        self._random = random.Random()  # noqa: S311 - jitter is no secret
        self._ready: OrderedDict[Hashable, dict[Key, None]] = OrderedDict()
        self._ready_count = 0
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._due: dict[Key, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, Key]] = []
        self._count = 0
        self._failures: dict[Key, int] = {}
        self._closed = False

    def __len__(self) -> int:
        """Keys that wait for a worker now."""
        with self._changed:
            return self._ready_count + len(self._again)

    @property
    def waiting(self) -> int:
        """Keys that wait for their time."""
        with self._changed:
            return len(self._due)

    def add(self, key: Key) -> None:
        """Work on it as soon as possible."""
        with self._changed:
            self._add(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Work on it some time from now, unless it comes before for another reason."""
        if seconds <= 0:
            self.add(key)
            return
        with self._changed:
            when = self._clock() + seconds
            if key in self._due and self._due[key][0] <= when:
                return
            self._count += 1
            self._due[key] = (when, self._count)
            heapq.heappush(self._heap, (when, self._count, key))
            if len(self._heap) > 2 * len(self._due) + _SLACK:
                self._heap = [(at, count, of) for of, (at, count) in self._due.items()]
                heapq.heapify(self._heap)
            if self._heap[0][1] == self._count:
                # Only what is due first concerns who waits; waking one costs as much as decoding a pod.
                self._changed.notify()

    def retry(self, key: Key) -> float:
        """Work on it again after a pause, longer with each failure in a row; says how many seconds."""
        with self._changed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
            # Beyond 2**14 the longest pause holds anyway; a float would overflow at last.
            pause = min(FIRST_PAUSE * 2.0 ** min(failures, 14), self._longest_pause)
            pause *= 1 - self._jitter * self._random.random()
            bucket = self._bucket_of(self._tenant(key))
        pause = max(pause, bucket.reserve())
        self.add_after(key, pause)
        return pause

    def forget(self, key: Key) -> None:
        """It went well: the next failure is the first."""
        with self._changed:
            self._failures.pop(key, None)

    def discard(self, key: Key) -> None:
        """There is nothing to work on any more."""
        with self._changed:
            self._take(self._tenant(key), key)
            self._again.discard(key)
            self._due.pop(key, None)
            self._failures.pop(key, None)

    def get(self, timeout: float | None = None) -> Key | None:
        """Wait for the next key, to be given back with `done`; ``None`` when closed or out of time."""
        end = None if timeout is None else self._clock() + timeout
        with self._changed:
            while not self._closed:
                now = self._clock()
                self._ripen(now)
                if self._ready:
                    tenant, keys = next(iter(self._ready.items()))
                    key = next(iter(keys))
                    self._take(tenant, key)
                    if tenant in self._ready:
                        self._ready.move_to_end(tenant)
                    self._due.pop(key, None)
                    self._busy.add(key)
                    return key
                if end is not None and now >= end:
                    return None
                # Who was told of a timer may be working when it is due: everybody looks now and then.
                due = min(self._heap[0][0] - now, _LOOK_UP) if self._heap else None
                waits = [one for one in (due, None if end is None else end - now) if one is not None]
                self._changed.wait(min(waits, default=None))
        return None

    def done(self, key: Key) -> None:
        """It was worked on."""
        with self._changed:
            self._busy.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._add(key)
            elif self._closed and not self._busy:
                self._changed.notify_all()  # for who drains

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self, seconds: float) -> bool:
        """Close, and wait for what is being worked on; whether it came to its end in that time."""
        self.close()
        with self._changed:
            return self._changed.wait_for(lambda: not self._busy, seconds)

    def _ripen(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            when, count, key = heapq.heappop(self._heap)
            if self._due.get(key) == (when, count):
                del self._due[key]
                self._add(key)
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][:2]:
            heapq.heappop(self._heap)

    def _add(self, key: Key) -> None:
        if key in self._busy:
            self._again.add(key)
        elif key not in (keys := self._ready.setdefault(self._tenant(key), {})):
            keys[key] = None
            self._ready_count += 1
            self._changed.notify()

    def _take(self, tenant: Hashable, key: Key) -> None:
        """Take a key out of those that wait for a worker, if it is one of them."""
        keys = self._ready.get(tenant, {})
        if key in keys:
            del keys[key]
            self._ready_count -= 1
        if not keys:
            self._ready.pop(tenant, None)

    def _bucket_of(self, tenant: Hashable) -> TokenBucket:
        """The tenant's retries; of a tenant that has not retried for long, a full bucket."""
        bucket = self._buckets.pop(tenant, None) or TokenBucket(self._rate, self._burst, clock=self._clock)
        self._buckets[tenant] = bucket
        if len(self._buckets) > _TENANTS:
            self._buckets.popitem(last=False)
        return bucket
