"""Report reads and writes of runs to observers."""

from collections.abc import Iterator
from typing import Protocol

from resultsfw.cluster import Cluster, Kind, Object

__all__ = ["ObservedCluster", "RunObserver"]


class RunObserver(Protocol):
    """Observes the runs of one kind that reconciliations read and write."""

    def on_read(self, run: Object) -> None:
        """Note a run that was read."""
        ...

    def on_patch(self, patch: Object, written: Object, subresource: str) -> None:
        """Note a run that was patched: the patch, the run as the API server answered, the subresource."""
        ...


class ObservedCluster:
    """A `Cluster` in front of another. Safe for threads as long as one run is one thread's at a time.

    Args:
        cluster: Where everything goes.
        kind: Of the runs that are observed.
        observers: Called in this order after each read and each successful patch.
    """

    def __init__(self, cluster: Cluster, kind: Kind, *observers: RunObserver) -> None:
        self._cluster = cluster
        self._kind = kind
        self._observers = observers

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object. See `Cluster.get`."""
        found = self._cluster.get(kind, namespace, name)
        if kind == self._kind:
            for observer in self._observers:
                observer.on_read(found)
        return found

    def create(self, kind: Kind, obj: Object) -> Object:
        """Store a new object. See `Cluster.create`."""
        return self._cluster.create(kind, obj)

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """Apply a JSON merge patch. See `Cluster.patch`."""
        written = self._cluster.patch(kind, namespace, name, patch, subresource=subresource)
        if kind == self._kind:
            for observer in self._observers:
                observer.on_patch(patch, written, subresource)
        return written

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Request an object's deletion. See `Cluster.delete`."""
        self._cluster.delete(kind, namespace, name, grace_seconds=grace_seconds)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """Return a container's log. See `Cluster.read_log`."""
        return self._cluster.read_log(namespace, pod, container, limit=limit)
