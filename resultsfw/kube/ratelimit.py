"""A token bucket: how many requests a second go to the API server, whoever makes them."""

import threading
import time
from collections.abc import Callable

__all__ = ["RateLimit"]


class RateLimit:
    """Lets ``qps`` requests a second through, and ``burst`` at once after a pause. Safe for threads.

    Args:
        qps: Requests a second.
        burst: Requests that may go at once.
        clock: Tells seconds.
        sleep: Waits.
    """

    def __init__(
        self,
        qps: float = 200,
        burst: int = 400,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._qps = qps
        self._burst = burst
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._at = clock()
        self._held_until = self._at

    def acquire(self) -> None:
        """Wait for one's turn; who asked first goes first."""
        with self._lock:
            now = self._clock()
            self._tokens = min(float(self._burst), self._tokens + (now - self._at) * self._qps) - 1
            self._at = now
            wait = max(-self._tokens / self._qps, self._held_until - now)
        if wait > 0:
            self._sleep(wait)

    def hold(self, seconds: float) -> None:
        """Let nothing through for so long: the server asked for a pause."""
        with self._lock:
            self._held_until = max(self._held_until, self._clock() + seconds)
