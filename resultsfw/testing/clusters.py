"""Provide clusters that record requests, change answers, or fail."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn

from resultsfw.cluster import PODS, Cluster, Kind, Object
from resultsfw.errors import AlreadyExistsError, ClusterError
from resultsfw.tekton.api.kinds import CLAIMS

__all__ = [
    "ClaimingCluster",
    "FailingCluster",
    "ModifiedCluster",
    "RecordingCluster",
    "Request",
    "WriteFailingCluster",
    "create_claims",
]

Verb = Literal["get", "create", "patch", "delete", "log"]

_PIECE = 65_536


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a backend.

    Attributes:
        verb: The method of `Cluster`.
        kind: The object's kind; ``None`` for a log.
        namespace: The namespace of the object or pod.
        name: The name of the object or pod.
        container: The container of the log.
    """

    verb: Verb
    kind: Kind | None
    namespace: str
    name: str
    container: str = ""

    @property
    def right(self) -> tuple[str, str, str]:
        """Return verb, resource and group, as RBAC names them."""
        if self.kind is None:
            return ("get", "pods/log", "")
        return (self.verb, self.kind.plural, self.kind.group)


class RecordingCluster:
    """Records the requests to another cluster.

    Attributes:
        requests: Every request, in order.
    """

    def __init__(self, cluster: Cluster, requests: list[Request] | None = None) -> None:
        self._cluster = cluster
        self.requests: list[Request] = [] if requests is None else requests

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """See `Cluster.get`."""
        self.requests.append(Request("get", kind, namespace, name))
        return self._cluster.get(kind, namespace, name)

    def create(self, kind: Kind, obj: Object) -> Object:
        """See `Cluster.create`."""
        metadata = obj.get("metadata") or {}
        self.requests.append(
            Request("create", kind, str(metadata.get("namespace", "")), str(metadata.get("name", "")))
        )
        return self._cluster.create(kind, obj)

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """See `Cluster.patch`."""
        self.requests.append(Request("patch", kind, namespace, name))
        return self._cluster.patch(kind, namespace, name, patch, subresource=subresource)

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """See `Cluster.delete`."""
        self.requests.append(Request("delete", kind, namespace, name))
        self._cluster.delete(kind, namespace, name, grace_seconds=grace_seconds)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """See `Cluster.read_log`."""
        self.requests.append(Request("log", None, namespace, pod, container))
        return self._cluster.read_log(namespace, pod, container, limit=limit)


class ClaimingCluster(RecordingCluster):
    """Creates the PersistentVolumeClaims that a Pod mounts before the Pod, as an operator would have."""

    def create(self, kind: Kind, obj: Object) -> Object:
        """See `Cluster.create`."""
        if kind == PODS:
            for volume in obj["spec"].get("volumes") or ():
                if claim := volume.get("persistentVolumeClaim"):
                    create_claim(self._cluster, obj["metadata"]["namespace"], claim["claimName"])
        return super().create(kind, obj)


def create_claim(cluster: Cluster, namespace: str, name: str) -> None:
    """Create a PersistentVolumeClaim, unless it exists."""
    claim = {
        "apiVersion": CLAIMS.api_version,
        "kind": CLAIMS.kind,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteMany"]},
    }
    with contextlib.suppress(AlreadyExistsError):
        cluster.create(CLAIMS, claim)


def create_claims(cluster: Cluster, folder: Path | None) -> None:
    """Create the claims that exist as folders ``NAMESPACE/NAME`` of a folder."""
    for path in sorted(folder.glob("*/*")) if folder is not None else ():
        create_claim(cluster, path.parent.name, path.name)


@dataclass(slots=True)
class ModifiedCluster:
    """Changes the logs and objects that another cluster returns; writes are passed on.

    Attributes:
        cluster: The other cluster.
        log: Maps a request and the genuine log to the log returned; ``None``: the genuine log.
        obj: Maps a request and the genuine object to the object returned; ``None``: the genuine object.
        pulled: Bytes of logs read so far.
    """

    cluster: Cluster
    log: Callable[[Request, Iterable[bytes]], Iterable[bytes]] | None = None
    obj: Callable[[Request, Object], Object] | None = None
    pulled: int = field(default=0)

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """See `Cluster.get`."""
        found = self.cluster.get(kind, namespace, name)
        return found if self.obj is None else self.obj(Request("get", kind, namespace, name), found)

    def create(self, kind: Kind, obj: Object) -> Object:
        """See `Cluster.create`."""
        return self.cluster.create(kind, obj)

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """See `Cluster.patch`."""
        return self.cluster.patch(kind, namespace, name, patch, subresource=subresource)

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """See `Cluster.delete`."""
        self.cluster.delete(kind, namespace, name, grace_seconds=grace_seconds)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """See `Cluster.read_log`: at most ``limit`` bytes, however many the changed log has."""
        if self.log is None:
            return self.cluster.read_log(namespace, pod, container, limit=limit)
        true = self.cluster.read_log(namespace, pod, container, limit=1 << 62)
        request = Request("log", None, namespace, pod, container)
        return self._bounded(self.log(request, true), limit)

    def _bounded(self, pieces: Iterable[bytes], limit: int) -> Iterator[bytes]:
        for piece in pieces:
            for place in range(0, len(piece), _PIECE):
                some = piece[place : place + _PIECE][:limit]
                limit -= len(some)
                self.pulled += len(some)
                if some:
                    yield some
                if limit <= 0:
                    return


class FailingCluster(RecordingCluster):
    """Fails reads of another cluster.

    Args:
        cluster: The other cluster.
        error: What a failing read raises.
        after: The number of objects, or of bytes of a log, that are returned before.
    """

    def __init__(self, cluster: Cluster, error: ClusterError, *, after: int = 0) -> None:
        super().__init__(cluster)
        self._error = error
        self._after = after
        self._gets = after

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """See `Cluster.get`."""
        if self._gets <= 0:
            raise self._error
        self._gets -= 1
        return super().get(kind, namespace, name)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """See `Cluster.read_log`; fails before the first byte, or in the middle."""
        if not self._after:
            raise self._error
        return self._broken(super().read_log(namespace, pod, container, limit=limit))

    def _broken(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        whole = b"".join(pieces)
        yield whole[: min(self._after, len(whole) // 2)]
        raise self._error


class WriteFailingCluster(RecordingCluster):
    """Fails what would change another cluster.

    Args:
        cluster: The other cluster.
        error: What a failing request raises.

    Attributes:
        failed: Number of requests that failed.
    """

    def __init__(self, cluster: Cluster, error: ClusterError) -> None:
        super().__init__(cluster)
        self._error = error
        self.failed = 0

    def create(self, kind: Kind, obj: Object) -> Object:  # noqa: ARG002 - as `Cluster` has it
        """See `Cluster.create`."""
        return self._fail()

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:  # noqa: ARG002
        """See `Cluster.patch`."""
        return self._fail()

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:  # noqa: ARG002
        """See `Cluster.delete`."""
        self._fail()

    def _fail(self) -> NoReturn:
        self.failed += 1
        raise self._error
