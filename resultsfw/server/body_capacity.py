"""Limit the bytes of request and response bodies in memory, and share them fairly among namespaces.

Capacity is allocated as bytes arrive, never for what a client only announces. When it runs out, the largest
body of a namespace over its share is revoked in favour of a namespace below its share.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect, Request

from resultsfw.server.refusals import RefusalError

__all__ = ["Allocation", "BodyCapacity", "read_body", "transfer"]

SECONDS: Final = 30.0
"""Within which a body must have arrived, or been sent."""

_WAIT: Final = 5.0
"""Seconds that a request waits for capacity."""

_LEAST: Final = 64 * 1024 * 1024


@dataclass(eq=False)
class Allocation:
    """The capacity that one body uses.

    Attributes:
        namespace: Whose share it counts against.
        size: Bytes now.
        revoked: Whether it was revoked in favour of another namespace.
        cancel: Cancels the transfer; ``None`` while the store has the body.
    """

    namespace: str
    size: int = 0
    revoked: bool = False
    cancel: Callable[[], None] | None = None

    def check(self) -> None:
        """Raise RefusalError if the allocation was revoked."""
        if self.revoked:
            message = "the server's capacity was needed for results of other namespaces: try again"
            raise RefusalError("Busy", message, unread=True)


class BodyCapacity:
    """The capacity for bodies, in bytes. For one event loop.

    Args:
        limit: Bytes of one body.

    Attributes:
        allocated: Bytes now.
    """

    def __init__(self, limit: int) -> None:
        self._capacity = max(_LEAST, 2 * limit)
        # One namespace never gets all of it, so that a second one need not wait.
        self._most = self._capacity // 2
        self._changed = asyncio.Condition()
        self._pods: set[tuple[str, str]] = set()
        self._allocations: dict[str, set[Allocation]] = {}
        self.allocated = 0

    def by_namespace(self) -> dict[str, int]:
        """Return the bytes that each namespace has allocated."""
        return {
            namespace: sum(allocation.size for allocation in list(allocations))
            for namespace, allocations in list(self._allocations.items())
        }

    @asynccontextmanager
    async def allocation(self, namespace: str) -> AsyncIterator[Allocation]:
        """Enter a context within which a body of the namespace can allocate capacity (`allocate`)."""
        allocation = Allocation(namespace)
        self._allocations.setdefault(namespace, set()).add(allocation)
        try:
            yield allocation
        finally:
            self._release(allocation)
            allocations = self._allocations[namespace]
            allocations.discard(allocation)
            if not allocations:
                del self._allocations[namespace]
            # Shielded: a cancelled request must notify the waiting ones, too.
            await asyncio.shield(self._notify())

    async def allocate(self, allocation: Allocation, size: int) -> None:
        """Allocate so many more bytes for a body.

        Raises:
            RefusalError: There is no capacity for too long, or the allocation was revoked.
        """
        try:
            async with self._changed, asyncio.timeout(_WAIT):
                while not self._fits(allocation, size):
                    await self._changed.wait()
        except TimeoutError:
            allocation.check()
            message = "the server has no capacity for more results at once: try again"
            raise RefusalError("Busy", message, unread=True) from None
        allocation.check()
        allocation.size += size
        self.allocated += size

    @asynccontextmanager
    async def exclusive(self, namespace: str, pod: str) -> AsyncIterator[None]:
        """Enter a context within which no other body of that pod is accepted.

        Raises:
            RefusalError: Another body of that pod is being read.
        """
        key = namespace, pod
        if key in self._pods:
            raise RefusalError("OneAtATime", f'another body of pod "{pod}" is being read', unread=True)
        self._pods.add(key)
        try:
            yield
        finally:
            self._pods.discard(key)

    def _fits(self, allocation: Allocation, size: int) -> bool:
        own = self._of(allocation.namespace)
        if own + size > self._most:
            return False
        if self.allocated + size <= self._capacity:
            return True
        using = {name for name in self._allocations if self._of(name)} | {allocation.namespace}
        share = self._capacity // len(using)
        if own + size <= share:
            self._revoke(size, share)
        return self.allocated + size <= self._capacity

    def _revoke(self, size: int, share: int) -> None:
        """Revoke allocations of namespaces over their share, until there is capacity or none is left."""
        while self.allocated + size > self._capacity:
            over = {name for name in self._allocations if self._of(name) > share}
            found = [
                allocation
                for name in over
                for allocation in self._allocations[name]
                if allocation.cancel and allocation.size
            ]
            if not found:
                return
            largest = max(found, key=lambda allocation: (self._of(allocation.namespace), allocation.size))
            self._release(largest)
            largest.revoked = True
            if largest.cancel is not None:
                largest.cancel()

    def _of(self, namespace: str) -> int:
        return sum(allocation.size for allocation in self._allocations.get(namespace, ()))

    def _release(self, allocation: Allocation) -> None:
        self.allocated -= allocation.size
        allocation.size = 0

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@contextmanager
def _revocable(allocation: Allocation, deadline: asyncio.Timeout) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def cancel() -> None:
        with suppress(RuntimeError):  # the timeout expired at this moment
            deadline.reschedule(loop.time())

    allocation.cancel = cancel
    try:
        yield
    finally:
        allocation.cancel = None


@asynccontextmanager
async def transfer(allocation: Allocation) -> AsyncIterator[None]:
    """Enter a context in which bytes are transferred until the timeout, or until the allocation is revoked.

    Raises:
        TimeoutError: It timed out, or was revoked.
    """
    async with asyncio.timeout(SECONDS) as deadline:
        with _revocable(allocation, deadline):
            yield


async def read_body(request: Request, length: int, bodies: BodyCapacity, allocation: Allocation) -> bytes:
    """Read the body of a request with this Content-Length.

    Raises:
        RefusalError: It is incomplete, too slow, too long, or there is no capacity.
    """
    body = bytearray()
    try:
        async with transfer(allocation):
            async for piece in request.stream():
                await bodies.allocate(allocation, len(piece))
                body += piece
                if len(body) > length:
                    break
    except TimeoutError:
        allocation.check()
        message = f"the body did not arrive within {SECONDS:.0f} s: {len(body)} of {length} bytes"
        raise RefusalError("TooSlow", message) from None
    except ClientDisconnect:
        raise RefusalError("BadRequest", f"the body ends after {len(body)} of {length} bytes") from None
    if len(body) != length:
        raise RefusalError("BadRequest", f"the body has {len(body)} bytes and not {length}")
    return bytes(body)
