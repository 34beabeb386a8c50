"""A `Cluster` that reads, refuses every change, and says which right is missing."""

from collections.abc import Iterator

from resultsfw.cli.sources.live_errors import forbidden, log_forbidden
from resultsfw.cli.sources.unchanging import UnchangingCluster
from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.errors import ForbiddenError, NotFoundError

__all__ = ["ReadOnlyCluster"]


class ReadOnlyCluster(UnchangingCluster):
    """Reads through another `Cluster`.

    Args:
        cluster: That one.
    """

    refusal = "this command changes nothing on a cluster"

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
