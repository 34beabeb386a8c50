"""Limit the concurrent and waiting calls for each client or namespace."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from resultsfw.server.refusals import RefusalError

__all__ = ["ConcurrencyLimit"]


class _Calls:
    """The calls for one key."""

    __slots__ = ("free", "users")

    def __init__(self, at_once: int) -> None:
        self.free = asyncio.Semaphore(at_once)
        self.users = 0


class ConcurrencyLimit:
    """Keeps the calls for one key from using all threads that the keys share. For one event loop.

    Args:
        at_once: Concurrent calls for one key.
        waiting: Further calls for one key that may wait.
        seconds: Longest wait.
        whose: What a key is, for the message: ``namespace``.
    """

    def __init__(self, at_once: int, waiting: int, seconds: float, whose: str) -> None:
        self._at_once = at_once
        self._waiting = waiting
        self._seconds = seconds
        self._whose = whose
        self._calls: dict[Hashable, _Calls] = {}

    @asynccontextmanager
    async def slot(self, key: Hashable) -> AsyncIterator[None]:
        """Wait for a slot, and hold it within the context.

        Raises:
            RefusalError: Too many calls for the key wait, or none finished in time.
        """
        calls = self._calls.setdefault(key, _Calls(self._at_once))
        if calls.users >= self._at_once + self._waiting:
            raise self._busy()
        calls.users += 1
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await calls.free.acquire()
            except TimeoutError:
                raise self._busy() from None
            try:
                yield
            finally:
                calls.free.release()
        finally:
            calls.users -= 1
            if not calls.users:
                del self._calls[key]

    def _busy(self) -> RefusalError:
        return RefusalError(
            "TooManyRequests",
            f"this {self._whose} has {self._at_once} requests in progress and others waiting: try again",
        )
