"""Count the stored bytes of each namespace, and enforce its quota."""

import threading
from collections import Counter
from collections.abc import Iterable

from resultsfw.server.refusals import RefusalError

__all__ = ["Usage", "cost", "quota_exceeded"]

_FILE = 4096
"""Bytes that count for each object besides its own: otherwise empty deliveries would be free."""


def cost(size: int) -> int:
    """Return the bytes that an object of that size counts."""
    return size + _FILE


def quota_exceeded(namespace: str, stored: int, size: int, quota: int) -> RefusalError:
    """Return the refusal of so many bytes in a namespace that has stored so many."""
    return RefusalError(
        "QuotaExceeded",
        f'namespace "{namespace}" has {stored} bytes of results stored, and {size} more exceed its '
        f"quota of {quota} bytes: results are removed once they are read, or by age",
        unread=True,
    )


class Usage:
    """Stored bytes of each namespace. Safe for threads.

    Each server counts for itself: if several share a store, a namespace can exceed its quota by what others
    accepted, until the store is recounted.

    Args:
        quota: Bytes of one namespace; 0 for no limit.
    """

    def __init__(self, quota: int = 0) -> None:
        self.quota = quota
        self._lock = threading.Lock()
        self._stored: Counter[str] = Counter()
        self._since: Counter[str] | None = None

    def reserve(self, namespace: str, size: int) -> None:
        """Count bytes that are about to be stored.

        Raises:
            RefusalError: They would exceed the namespace's quota.
        """
        with self._lock:
            self._check(namespace, size)
            self._stored[namespace] += size
            if self._since is not None:
                self._since[namespace] += size

    def check(self, namespace: str, size: int) -> None:
        """Raise RefusalError if so many bytes would exceed the namespace's quota now."""
        with self._lock:
            self._check(namespace, size)

    def release(self, namespace: str, size: int) -> None:
        """Uncount bytes that were removed, or not stored after all."""
        with self._lock:
            self._subtract(self._stored, namespace, size)

    def recount(self, objects: Iterable[tuple[str, int]]) -> None:
        """Replace the counts by those of the objects in the store.

        Args:
            objects: Namespace and size of each object. Bytes stored meanwhile may be counted twice, until
                the next recount.
        """
        with self._lock:
            self._since = Counter()
        found: Counter[str] = Counter()
        try:
            for namespace, size in objects:
                found[namespace] += cost(size)
        except BaseException:
            with self._lock:
                self._since = None
            raise
        with self._lock:
            found.update(self._since)
            self._stored, self._since = found, None

    def largest(self, number: int) -> list[tuple[str, int]]:
        """Return the namespaces with the most bytes, and their bytes."""
        with self._lock:
            return self._stored.most_common(number)

    @property
    def total(self) -> int:
        """Bytes of all namespaces."""
        with self._lock:
            return self._stored.total()

    def _check(self, namespace: str, size: int) -> None:
        stored = self._stored.get(namespace, 0)
        if self.quota and stored + size > self.quota:
            raise quota_exceeded(namespace, stored, size, self.quota)

    @staticmethod
    def _subtract(counter: Counter[str], namespace: str, size: int) -> None:
        counter[namespace] = max(0, counter[namespace] - size)
        if not counter[namespace]:
            del counter[namespace]
