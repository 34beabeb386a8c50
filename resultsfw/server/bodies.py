"""Bodies on their way in and out: how many bytes of them are in memory, shared out among namespaces.

Room is taken as bytes arrive, never for what a client only says that it will send. Where room is short, a
namespace that has more than its share gives up its largest body in favour of one that has less.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from starlette.requests import ClientDisconnect, Request

from resultsfw.server.refusals import RefusalError

__all__ = ["Bodies", "Lease", "read_body", "transfer"]

SECONDS: Final = 30.0
"""In which a body must have come, or gone."""

_WAIT: Final = 5.0
"""Seconds a request waits for room."""

_LEAST: Final = 64 * 1024 * 1024


@dataclass(eq=False)
class Lease:
    """The room that one body takes.

    Attributes:
        namespace: In whose share it counts.
        size: Bytes now.
        revoked: Whether it gave way to another namespace's.
        end: Ends the transfer early; none while the body is with the store.
    """

    namespace: str
    size: int = 0
    revoked: bool = False
    end: Callable[[], None] | None = None

    def check(self) -> None:
        """Raise RefusalError if the room was taken back."""
        if self.revoked:
            message = "the room was needed for results of other namespaces: try again"
            raise RefusalError("Busy", message, unread=True)


class Bodies:
    """Room for bodies, in bytes. For one event loop.

    Args:
        limit: Bytes of one.

    Attributes:
        taken: Bytes now.
    """

    def __init__(self, limit: int) -> None:
        self._room = max(_LEAST, 2 * limit)
        # One namespace never has it all, so that there is room for a second one at once.
        self._most = self._room // 2
        self._changed = asyncio.Condition()
        self._pods: set[tuple[str, str]] = set()
        self._leases: dict[str, set[Lease]] = {}
        self.taken = 0

    @asynccontextmanager
    async def lease(self, namespace: str) -> AsyncIterator[Lease]:
        """Within it a body of the namespace can take room (`take`)."""
        lease = Lease(namespace)
        self._leases.setdefault(namespace, set()).add(lease)
        try:
            yield lease
        finally:
            self._give_back(lease)
            leases = self._leases[namespace]
            leases.discard(lease)
            if not leases:
                del self._leases[namespace]
            # Shielded: a request that is cancelled tells that it gave its room back all the same.
            await asyncio.shield(self._tell())

    async def take(self, lease: Lease, size: int) -> None:
        """Take room for so many more bytes of a body.

        Raises:
            RefusalError: There is none for too long, or it was taken back.
        """
        try:
            async with self._changed, asyncio.timeout(_WAIT):
                while not self._fits(lease, size):
                    await self._changed.wait()
        except TimeoutError:
            lease.check()
            message = "too many results come and go at once: try again"
            raise RefusalError("Busy", message, unread=True) from None
        lease.check()
        lease.size += size
        self.taken += size

    @asynccontextmanager
    async def one_of(self, namespace: str, pod: str) -> AsyncIterator[None]:
        """Within it no other body of that pod is taken.

        Raises:
            RefusalError: Another one comes.
        """
        key = namespace, pod
        if key in self._pods:
            raise RefusalError("OneAtATime", f'another body of pod "{pod}" is being read', unread=True)
        self._pods.add(key)
        try:
            yield
        finally:
            self._pods.discard(key)

    def _fits(self, lease: Lease, size: int) -> bool:
        own = self._of(lease.namespace)
        if own + size > self._most:
            return False
        if self.taken + size <= self._room:
            return True
        using = {name for name in self._leases if self._of(name)} | {lease.namespace}
        share = self._room // len(using)
        if own + size <= share:
            self._make_room(size, share)
        return self.taken + size <= self._room

    def _make_room(self, size: int, share: int) -> None:
        """Take room back from namespaces over their share, until there is enough or no more to be had."""
        while self.taken + size > self._room:
            over = {name for name in self._leases if self._of(name) > share}
            found = [lease for name in over for lease in self._leases[name] if lease.end and lease.size]
            if not found:
                return
            largest = max(found, key=lambda one: (self._of(one.namespace), one.size))
            self._give_back(largest)
            largest.revoked = True
            if largest.end is not None:
                largest.end()

    def _of(self, namespace: str) -> int:
        return sum(lease.size for lease in self._leases.get(namespace, ()))

    def _give_back(self, lease: Lease) -> None:
        self.taken -= lease.size
        lease.size = 0

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


@contextmanager
def _revocable(lease: Lease, deadline: asyncio.Timeout) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def end() -> None:
        with suppress(RuntimeError):  # its time is over at this very moment
            deadline.reschedule(loop.time())

    lease.end = end
    try:
        yield
    finally:
        lease.end = None


@asynccontextmanager
async def transfer(lease: Lease) -> AsyncIterator[None]:
    """Within it bytes come or go: for so long, and as long as the lease is not revoked.

    Raises:
        TimeoutError: One of both.
    """
    async with asyncio.timeout(SECONDS) as deadline:
        with _revocable(lease, deadline):
            yield


async def read_body(request: Request, length: int, bodies: Bodies, lease: Lease) -> bytes:
    """Read the body of a request that said its length.

    Raises:
        RefusalError: It does not come whole, or not in time, or there is no room.
    """
    body = bytearray()
    try:
        async with transfer(lease):
            async for piece in request.stream():
                await bodies.take(lease, len(piece))
                body += piece
                if len(body) > length:
                    break
    except TimeoutError:
        lease.check()
        message = f"the body did not come within {SECONDS:.0f} s: {len(body)} of {length} bytes"
        raise RefusalError("TooSlow", message) from None
    except ClientDisconnect:
        raise RefusalError("BadRequest", f"the body ends after {len(body)} of {length} bytes") from None
    if len(body) != length:
        raise RefusalError("BadRequest", f"the body has {len(body)} bytes and not {length}")
    return bytes(body)
