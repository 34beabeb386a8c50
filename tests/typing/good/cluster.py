"""A `Cluster` of an embedder's own, and those of resultsfw, each where one is asked for."""

from collections.abc import Iterator

from kubernetes.client import ApiClient

from resultsfw import Cluster, Kind, Object
from resultsfw.errors import NotFoundError
from resultsfw.kube import Connection, KubeCluster
from resultsfw.local.store import Store


class Mine:
    """The five methods; more parameters are its own business, if they have defaults."""

    def get(self, kind: Kind, namespace: str, name: str, *, fresh: bool = False) -> Object:
        """One object."""
        raise NotFoundError(f"{kind.plural} {namespace}/{name}: {fresh}")

    def create(self, kind: Kind, obj: Object) -> Object:
        """A new one."""
        return {"apiVersion": kind.api_version, **obj}

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """A merge patch."""
        return {"kind": kind.kind, "at": f"{namespace}/{name}/{subresource}", **patch}

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Gone."""

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """In pieces."""
        yield f"{namespace}/{pod}/{container}".encode()[:limit]


def clusters(api: ApiClient) -> list[Cluster]:
    """All that will do."""
    with KubeCluster.from_config(context="mine") as found:
        return [Mine(), found, KubeCluster(Connection(api)), Store()]
