"""Keys to work on: each at most once at a time, some later, failures with growing pauses."""

import heapq
import threading
import time
from typing import Final, Generic, TypeVar

__all__ = ["WorkQueue"]

Key = TypeVar("Key")

_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 5.0


class WorkQueue(Generic[Key]):
    """A queue of keys. A key added while it is worked on comes again afterwards. Safe for threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._ready: dict[Key, None] = {}
        self._busy: set[Key] = set()
        self._again: set[Key] = set()
        self._later: list[tuple[float, int, Key]] = []
        self._count = 0
        self._failures: dict[Key, int] = {}
        self._closed = False

    def add(self, key: Key) -> None:
        """Work on it as soon as possible."""
        with self._changed:
            self._add(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Work on it some time from now; meanwhile it may come for other reasons."""
        with self._changed:
            self._count += 1
            heapq.heappush(self._later, (time.monotonic() + seconds, self._count, key))
            self._changed.notify()

    def retry(self, key: Key) -> float:
        """Work on it again after a pause, longer with each failure in a row; says how many seconds."""
        with self._changed:
            failures = self._failures.get(key, 0)
            self._failures[key] = failures + 1
        pause: float = min(_FIRST_PAUSE * 2.0**failures, _LONGEST_PAUSE)
        self.add_after(key, pause)
        return pause

    def forget(self, key: Key) -> None:
        """It went well: the next failure is the first."""
        with self._changed:
            self._failures.pop(key, None)

    def get(self) -> Key | None:
        """Wait for the next key, to be given back with `done`; ``None`` when closed."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                while self._later and self._later[0][0] <= now:
                    self._add(heapq.heappop(self._later)[2])
                if self._ready:
                    key = next(iter(self._ready))
                    del self._ready[key]
                    self._busy.add(key)
                    return key
                self._changed.wait(self._later[0][0] - now if self._later else None)
        return None

    def done(self, key: Key) -> None:
        """It was worked on."""
        with self._changed:
            self._busy.discard(key)
            if key in self._again:
                self._again.discard(key)
                self._add(key)

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _add(self, key: Key) -> None:
        if key in self._busy:
            self._again.add(key)
        else:
            self._ready[key] = None
            self._changed.notify()
