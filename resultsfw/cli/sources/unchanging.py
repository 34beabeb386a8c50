"""A `Cluster` that refuses every change; what derives from it says how it reads."""

from typing import ClassVar

from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.errors import ClusterError

__all__ = ["UnchangingCluster"]


class UnchangingCluster(Cluster):
    """Refuses every change.

    Attributes:
        refusal: Why, as a message.
    """

    refusal: ClassVar[str]

    def create(self, kind: Kind, obj: Object) -> Object:
        """See `Cluster.create`."""
        raise self._refused(kind, obj["metadata"].get("name", ""))

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:  # noqa: ARG002 - the protocol's
        """See `Cluster.patch`."""
        raise self._refused(kind, name)

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:  # noqa: ARG002 - the protocol's
        """See `Cluster.delete`."""
        raise self._refused(kind, name)

    def _refused(self, kind: Kind, name: str) -> ClusterError:
        return ClusterError(self.refusal, subject=f"{kind.kind} {name}")
