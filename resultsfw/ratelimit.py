"""Limit a rate by a token bucket: requests to the API server, and retries of a tenant's keys."""

import threading
import time
from collections.abc import Callable

__all__ = ["TokenBucket"]


class TokenBucket:
    """A token bucket, as in Go's ``golang.org/x/time/rate``. Safe for threads.

    Args:
        rate: Tokens a second; 0: no limit.
        burst: Tokens that may be taken at once after a rest; at least 1.
        clock: Returns seconds, monotonic.
        sleep: Blocks for so many seconds.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate = rate
        self._burst = float(max(burst, 1))
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = self._burst
        self._updated = clock()
        self._blocked_until = self._updated

    def reserve(self) -> float:
        """Take one token and return the seconds until it may be used."""
        with self._lock:
            now = self._clock()
            blocked = max(0.0, self._blocked_until - now)
            if self._rate <= 0:
                return blocked
            self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate) - 1
            self._updated = now
            return max(-self._tokens / self._rate, blocked)

    def wait(self) -> float:
        """Take one token, sleep until it may be used, and return the seconds slept.

        Threads go in the order in which they asked.
        """
        seconds = self.reserve()
        if seconds > 0:
            self._sleep(seconds)
        return seconds

    def block(self, seconds: float) -> None:
        """Let no token be used for so many seconds: the API server asked for a pause."""
        with self._lock:
            self._blocked_until = max(self._blocked_until, self._clock() + seconds)
