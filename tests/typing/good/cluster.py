"""Use a `Cluster` of an embedder's own, and those of resultsfw, where a `Cluster` is required."""

from collections.abc import Iterator

from kubernetes.client import ApiClient

from resultsfw import Cluster, Kind, Object
from resultsfw.errors import NotFoundError
from resultsfw.kube import Connection, KubeCluster
from resultsfw.local.store import Store


class Mine:
    """The five methods; further parameters are allowed if they have defaults."""

    def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object:
        """Return an object."""
        raise NotFoundError(f"{kind.plural} {namespace}/{name}: {fresh}")

    def create(self, kind: Kind, obj: Object) -> Object:
        """Create an object."""
        return {"apiVersion": kind.api_version, **obj}

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """Apply a merge patch."""
        return {"kind": kind.kind, "at": f"{namespace}/{name}/{subresource}", **patch}

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Delete an object."""

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """Yield a log in pieces."""
        yield f"{namespace}/{pod}/{container}".encode()[:limit]


def clusters(api: ApiClient) -> list[Cluster]:
    """Return every kind of cluster."""
    with KubeCluster.from_config(context="mine") as found:
        return [Mine(), found, KubeCluster(Connection(api)), Store()]
