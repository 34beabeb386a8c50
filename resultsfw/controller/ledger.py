"""The cluster as a reconciler writes to it: while it may, and with its verdicts told to observers."""

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.controller.metrics import succeeded
from resultsfw.errors import UnavailableError
from resultsfw.tekton.api.kinds import TASKRUNS

__all__ = ["Changed", "Ledger"]

Changed = Callable[[Object, Object], None]
"""Told of a Succeeded condition that was written: the one before, and the run now."""

_UNKNOWN: Final[Object] = {"type": "Succeeded", "status": "Unknown"}


_OWN: Final = 8
"""Versions of a run's last own writes that are kept; one look makes fewer."""


class _Known(NamedTuple):
    """What is known of a run from the last answer about it.

    With ``whole``, all that was in it before was read: no write was made over something unseen.
    """

    version: str
    condition: Object
    whole: bool
    own: tuple[str, ...] = ()


class Ledger:
    """A `Cluster` in front of another. Safe for threads, as long as one run is one thread's at a time.

    The condition before a write is the one that was read, or written, under the version the write is
    conditional on: so of two writers, or of two tries, exactly one is told.

    Args:
        cluster: The other.
        changed: Told of every run's condition that was written here.
        may_write: Asked before each write; a replica that is not the leader any more must not.
        kind: Of the runs.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        changed: tuple[Changed, ...],
        may_write: Callable[[], bool],
        kind: Kind = TASKRUNS,
    ) -> None:
        self._kind = kind
        self._cluster = cluster
        self._changed = changed
        self._may_write = may_write
        self._known: dict[tuple[str, str], _Known] = {}

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object."""
        found = self._cluster.get(kind, namespace, name)
        if kind == self._kind:
            old = self._known.get((namespace, name))
            version = _version(found)
            self._known[namespace, name] = _Known(
                version, dict(succeeded(found)), whole=True, own=old.own if old else ()
            )
        return found

    def create(self, kind: Kind, obj: Object) -> Object:
        """Store a new object."""
        self._check()
        return self._cluster.create(kind, obj)

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """Apply a JSON merge patch."""
        self._check()
        written = self._cluster.patch(kind, namespace, name, patch, subresource=subresource)
        if kind == self._kind:
            key = (namespace, name)
            old = self._known.get(key)
            asked = (patch.get("metadata") or {}).get("resourceVersion")
            follows = old is not None and asked == old.version
            # What was there is else not known; at least it was no verdict.
            before = old.condition if old is not None and (follows or asked is None) else _UNKNOWN
            new = dict(succeeded(written))
            whole = old is not None and old.whole and follows
            version = _version(written)
            own = (*old.own, version)[-_OWN:] if old is not None and whole else ()
            self._known[key] = _Known(version, new, whole=whole, own=own)
            if subresource and new != before:
                for changed in self._changed:
                    changed(before, written)
        return written

    def is_own(self, namespace: str, name: str, version: str) -> bool:
        """Whether a look here left the run at that version, and had seen all that was before: no news."""
        known = self._known.get((namespace, name))
        return known is not None and version in known.own

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Ask for an object's deletion."""
        self._check()
        self._cluster.delete(kind, namespace, name, grace_seconds=grace_seconds)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """A container's log."""
        return self._cluster.read_log(namespace, pod, container, limit=limit)

    def forget(self, namespace: str, name: str) -> None:
        """A run is gone."""
        self._known.pop((namespace, name), None)

    def _check(self) -> None:
        if not self._may_write():
            raise UnavailableError("this replica does not lead; it writes nothing")


def _version(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))
