"""Turns: of the calls for one client or one namespace, few run at once and few wait."""

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

from resultsfw.server.refusals import RefusalError

__all__ = ["Turns"]


class _Lane:
    """The calls for one key."""

    __slots__ = ("free", "users")

    def __init__(self, at_once: int) -> None:
        self.free = asyncio.Semaphore(at_once)
        self.users = 0


class Turns:
    """Keeps one key from taking what all keys share. For one event loop.

    Args:
        at_once: Calls of one key that run at once.
        waiting: Calls of one key that may wait for their turn.
        seconds: Longest wait.
        whose: What a key is, for the message: ``namespace``.
    """

    def __init__(self, at_once: int, waiting: int, seconds: float, whose: str) -> None:
        self._at_once = at_once
        self._waiting = waiting
        self._seconds = seconds
        self._whose = whose
        self._lanes: dict[Hashable, _Lane] = {}

    @asynccontextmanager
    async def turn(self, key: Hashable) -> AsyncIterator[None]:
        """Wait for a turn, and have it within.

        Raises:
            RefusalError: Too many calls of the key wait, or the turn does not come in time.
        """
        lane = self._lanes.setdefault(key, _Lane(self._at_once))
        if lane.users >= self._at_once + self._waiting:
            raise self._busy()
        lane.users += 1
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await lane.free.acquire()
            except TimeoutError:
                raise self._busy() from None
            try:
                yield
            finally:
                lane.free.release()
        finally:
            lane.users -= 1
            if not lane.users:
                del self._lanes[key]

    def _busy(self) -> RefusalError:
        return RefusalError(
            "TooManyRequests",
            f"this {self._whose} has {self._at_once} requests in progress and others waiting: try again",
        )
