"""The cluster as a backend under test sees it: what it asks is noted, what it gets can be changed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.errors import ClusterError

__all__ = ["Asked", "Changed", "Failing", "Noted"]

Verb = Literal["get", "create", "patch", "delete", "log"]

_PIECE = 65_536


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of a backend.

    Attributes:
        verb: Which method of `Cluster`.
        kind: Of the object; ``None`` for a log.
        namespace: Of the object or the pod.
        name: Of the object or the pod.
        container: Whose log.
    """

    verb: Verb
    kind: Kind | None
    namespace: str
    name: str
    container: str = ""

    @property
    def right(self) -> tuple[str, str, str]:
        """What RBAC calls it: verb, resource, group."""
        if self.kind is None:
            return ("get", "pods/log", "")
        return (self.verb, self.kind.plural, self.kind.group)


class Noted:
    """A `Cluster` in front of another one that notes what it is asked.

    Attributes:
        asked: Every request, in order.
    """

    def __init__(self, cluster: Cluster, asked: list[Asked] | None = None) -> None:
        self._cluster = cluster
        self.asked: list[Asked] = [] if asked is None else asked

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """See `Cluster.get`."""
        self.asked.append(Asked("get", kind, namespace, name))
        return self._cluster.get(kind, namespace, name)

    def create(self, kind: Kind, obj: Object) -> Object:
        """See `Cluster.create`."""
        metadata = obj.get("metadata") or {}
        self.asked.append(
            Asked("create", kind, str(metadata.get("namespace", "")), str(metadata.get("name", "")))
        )
        return self._cluster.create(kind, obj)

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """See `Cluster.patch`."""
        self.asked.append(Asked("patch", kind, namespace, name))
        return self._cluster.patch(kind, namespace, name, patch, subresource=subresource)

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """See `Cluster.delete`."""
        self.asked.append(Asked("delete", kind, namespace, name))
        self._cluster.delete(kind, namespace, name, grace_seconds=grace_seconds)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """See `Cluster.read_log`."""
        self.asked.append(Asked("log", None, namespace, pod, container))
        return self._cluster.read_log(namespace, pod, container, limit=limit)


@dataclass(slots=True)
class Changed:
    """A `Cluster` that hands out other logs and objects than there are; writes go through.

    Attributes:
        cluster: What stands behind it.
        log: From a request and the true pieces to those handed out; ``None``: the true ones.
        obj: From a request and the true object to the one handed out; ``None``: the true one.
        pulled: Bytes of logs that were asked for so far.
    """

    cluster: Cluster
    log: Callable[[Asked, Iterable[bytes]], Iterable[bytes]] | None = None
    obj: Callable[[Asked, Object], Object] | None = None
    pulled: int = field(default=0)

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """See `Cluster.get`."""
        found = self.cluster.get(kind, namespace, name)
        return found if self.obj is None else self.obj(Asked("get", kind, namespace, name), found)

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
        asked = Asked("log", None, namespace, pod, container)
        return self._bounded(self.log(asked, true), limit)

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


class Failing(Noted):
    """A `Cluster` on which reads fail.

    Args:
        cluster: What stands behind it.
        error: What a failing read raises.
        after: How many objects are handed out before that, and bytes of a log.
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
