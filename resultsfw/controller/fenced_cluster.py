"""Refuse writes of a replica that is not the leader."""

from collections.abc import Callable, Iterator

from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.errors import UnavailableError

__all__ = ["FencedCluster"]


class FencedCluster:
    """A `Cluster` in front of another that writes only while this replica is the leader. Safe for threads.

    Workers of a replica that lost the lease may still be reconciling while the new leader reconciles the same
    runs.

    Args:
        cluster: Where reads and permitted writes go.
        is_leader: Asked before each write.
    """

    def __init__(self, cluster: Cluster, is_leader: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._is_leader = is_leader

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object. See `Cluster.get`."""
        return self._cluster.get(kind, namespace, name)

    def create(self, kind: Kind, obj: Object) -> Object:
        """Store a new object. See `Cluster.create`; raises UnavailableError if not the leader."""
        self._check()
        return self._cluster.create(kind, obj)

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """Apply a JSON merge patch. See `Cluster.patch`; raises UnavailableError if not the leader."""
        self._check()
        return self._cluster.patch(kind, namespace, name, patch, subresource=subresource)

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Request an object's deletion. See `Cluster.delete`; raises UnavailableError if not the leader."""
        self._check()
        self._cluster.delete(kind, namespace, name, grace_seconds=grace_seconds)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """Return a container's log. See `Cluster.read_log`."""
        return self._cluster.read_log(namespace, pod, container, limit=limit)

    def _check(self) -> None:
        if not self._is_leader():
            raise UnavailableError("this replica is not the leader and writes nothing")
