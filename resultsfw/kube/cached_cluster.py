"""Read from the caches that the watches keep, and write through to the API server."""

from collections.abc import Iterator, Mapping

from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.errors import ConflictError, NotFoundError
from resultsfw.kube.reflector import Reflector

__all__ = ["CachedCluster"]


class CachedCluster:
    """A `resultsfw.cluster.Cluster` with caches in front of another. Safe for threads.

    An object that the cache does not hold is read from the server, and so is one of which a later version is
    known to exist: after a conflict or a deletion, the version before it is never returned. The answer to a
    write is returned until the watch has caught up.

    Args:
        cluster: The API server.
        reflectors: The caches by kind; other kinds are read from the server.
    """

    def __init__(self, cluster: Cluster, reflectors: Mapping[Kind, Reflector]) -> None:
        self._cluster = cluster
        self._reflectors = dict(reflectors)

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object. Raises NotFoundError."""
        reflector = self._reflectors.get(kind)
        if reflector is None:
            return self._cluster.get(kind, namespace, name)
        found = reflector.get_fresh(namespace, name) if reflector.synced.is_set() else None
        if found is None:
            found = self._cluster.get(kind, namespace, name)
            reflector.put_if_newer(found)
        return found

    def create(self, kind: Kind, obj: Object) -> Object:
        """Create an object. See `Cluster.create`."""
        return self._written(kind, self._cluster.create(kind, obj))

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """Apply a JSON merge patch. See `Cluster.patch`."""
        try:
            answer = self._cluster.patch(kind, namespace, name, patch, subresource=subresource)
        except (ConflictError, NotFoundError):
            self._mark_stale(kind, namespace, name)
            raise
        return self._written(kind, answer)

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Delete an object. See `Cluster.delete`."""
        try:
            self._cluster.delete(kind, namespace, name, grace_seconds=grace_seconds)
        finally:
            self._mark_stale(kind, namespace, name)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """Yield the log of a container. See `Cluster.read_log`."""
        return self._cluster.read_log(namespace, pod, container, limit=limit)

    def _written(self, kind: Kind, obj: Object) -> Object:
        reflector = self._reflectors.get(kind)
        if reflector is not None:
            reflector.put_if_newer(obj)
        return obj

    def _mark_stale(self, kind: Kind, namespace: str, name: str) -> None:
        reflector = self._reflectors.get(kind)
        if reflector is not None:
            reflector.mark_stale(namespace, name)
