"""Read from the caches that the watches keep, and write through to the API server."""

from collections.abc import Iterator, Mapping
from typing import Protocol

from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.errors import ConflictError, NotFoundError

__all__ = ["CachedCluster"]


class ObjectCache(Protocol):
    """The copies of one kind's objects, as a `Reflector` or a `ReflectorGroup` keeps them."""

    def get_fresh(self, namespace: str, name: str, /) -> Object | None:
        """Return an object; ``None`` if it is not held, or not its latest known version."""
        ...

    def put_if_newer(self, obj: Object, /) -> None:
        """Hold the answer to a request until the watch sends it."""
        ...

    def mark_stale(self, namespace: str, name: str, /) -> None:
        """Note that a later version of an object exists."""
        ...


class CachedCluster:
    """A `resultsfw.cluster.Cluster` with caches in front of another. Safe for threads.

    An object that the cache does not hold is read from the server, and so is one of which a later version is
    known to exist: after a conflict or a deletion, the version before it is never returned. The answer to a
    write is returned until the watch has caught up.

    Args:
        cluster: The API server.
        caches: By kind; other kinds are read from the server.
    """

    def __init__(self, cluster: Cluster, caches: Mapping[Kind, ObjectCache]) -> None:
        self._cluster = cluster
        self._caches = dict(caches)

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object. Raises NotFoundError."""
        cache = self._caches.get(kind)
        if cache is None:
            return self._cluster.get(kind, namespace, name)
        found = cache.get_fresh(namespace, name)
        if found is None:
            found = self._cluster.get(kind, namespace, name)
            cache.put_if_newer(found)
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
        cache = self._caches.get(kind)
        if cache is not None:
            cache.put_if_newer(obj)
        return obj

    def _mark_stale(self, kind: Kind, namespace: str, name: str) -> None:
        cache = self._caches.get(kind)
        if cache is not None:
            cache.mark_stale(namespace, name)
