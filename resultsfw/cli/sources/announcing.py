"""A `Cluster` that says what it creates and deletes: a command that only reads must not surprise."""

from collections.abc import Callable, Iterator

from resultsfw.cluster import Cluster, Kind, Object

__all__ = ["AnnouncingCluster"]


class AnnouncingCluster(Cluster):
    """Passes everything to another `Cluster`, and prints a note about each object that it creates.

    Args:
        cluster: That one.
        note: Prints a sentence.
    """

    def __init__(self, cluster: Cluster, note: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._note = note

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """See `Cluster.get`."""
        return self._cluster.get(kind, namespace, name)

    def create(self, kind: Kind, obj: Object) -> Object:
        """See `Cluster.create`."""
        metadata = obj["metadata"]
        name = metadata.get("name") or f"{metadata.get('generateName', '')}..."
        self._note(f"creating {kind.kind} {metadata.get('namespace', '')}/{name} to read the value")
        return self._cluster.create(kind, obj)

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """See `Cluster.patch`."""
        return self._cluster.patch(kind, namespace, name, patch, subresource=subresource)

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """See `Cluster.delete`."""
        self._cluster.delete(kind, namespace, name, grace_seconds=grace_seconds)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """See `Cluster.read_log`."""
        return self._cluster.read_log(namespace, pod, container, limit=limit)
