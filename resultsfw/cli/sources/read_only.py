"""A `Cluster` that reads, refuses every change, and says which right is missing."""

from collections.abc import Iterator

from resultsfw.cli.sources.live_errors import forbidden, log_forbidden
from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.errors import ClusterError, ForbiddenError, NotFoundError

__all__ = ["ReadOnlyCluster"]


class ReadOnlyCluster(Cluster):
    """Reads through another `Cluster`.

    Args:
        cluster: That one.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """See `Cluster.get`."""
        try:
            return self._cluster.get(kind, namespace, name)
        except ForbiddenError as error:
            raise forbidden(error, "get", kind, namespace) from error

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """See `Cluster.read_log`."""
        try:
            yield from self._cluster.read_log(namespace, pod, container, limit=limit)
        except ForbiddenError as error:
            raise log_forbidden(error, namespace, container) from error
        except NotFoundError as error:
            raise NotFoundError(
                f'the log of container "{container}" of pod "{pod}" does not exist any more: {error.message}',
                subject=error.subject,
            ) from error

    def create(self, kind: Kind, obj: Object) -> Object:
        """See `Cluster.create`."""
        raise _read_only(kind, obj["metadata"].get("name", ""))

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:  # noqa: ARG002 - the protocol's
        """See `Cluster.patch`."""
        raise _read_only(kind, name)

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:  # noqa: ARG002 - the protocol's
        """See `Cluster.delete`."""
        raise _read_only(kind, name)


def _read_only(kind: Kind, name: str) -> ClusterError:
    return ClusterError("this command changes nothing on a cluster", subject=f"{kind.kind} {name}")
