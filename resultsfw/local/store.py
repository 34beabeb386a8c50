"""The object store: a `Cluster` in memory with an API server's resource versions, conflicts and limits."""

import datetime as dt
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from resultsfw.cluster import PODS, Kind, Object
from resultsfw.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    NotFoundError,
    ObjectTooLargeError,
    UnavailableError,
)
from resultsfw.jsons import copy, merge_patch
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.local import apiserver_rules, policies
from resultsfw.local.watch import Watch

__all__ = ["RequestTooLargeError", "Store"]

_Key = tuple[Kind, str, str]

_HISTORY: Final = 1000
"""Number of events that are kept for watches; one from an earlier version is refused (410 Gone)."""

_PIECE: Final = 65_536


class RequestTooLargeError(ObjectTooLargeError):
    """An object is larger than etcd stores. An API server answers 500 to it, and 422 to a field too long."""


class Store:
    """API objects in memory; safe for threads.

    Objects are returned and accepted as copies. A stored object is never changed, only replaced, so it
    can be copied without the lock.

    Args:
        admit: Raises a ClusterError for a new object that an admission webhook would refuse.
        clock: Tells the time of a deletion; UTC.
    """

    def __init__(
        self,
        admit: Callable[[Kind, Object], None] = lambda *_: None,
        *,
        clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._admit = admit
        self._clock = clock
        self._lock = threading.RLock()
        self._objects: dict[_Key, Object] = {}
        self._version = 0
        self._history: deque[tuple[int, Kind, str, Object]] = deque(maxlen=_HISTORY)
        self._watches: list[tuple[frozenset[Kind], Watch]] = []
        self._logs: dict[tuple[str, str, str], Path] = {}

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return an object. Raises NotFoundError."""
        if kind.group == policies.GROUP:
            return policies.installed_policy(kind, name)
        with self._lock:
            found = self._find(kind, namespace, name)
        return _copied(found)

    def list(self, kind: Kind, namespace: str | None = None) -> list[Object]:
        """Return the objects of a kind, in one namespace or all, in the order of their creation."""
        with self._lock:
            found = [
                obj
                for (stored_kind, stored_namespace, _), obj in self._objects.items()
                if stored_kind == kind and namespace in (None, stored_namespace)
            ]
        return [_copied(obj) for obj in found]

    def create(self, kind: Kind, obj: Object) -> Object:
        """Store a new object with uid, timestamps, defaults and an empty status, and return it.

        Raises:
            AlreadyExistsError: An object of that name exists.
            ObjectTooLargeError: It is over 1.5 MiB.
            ClusterError: It has no name, is invalid, or is not admitted.
        """
        self._admit(kind, obj)
        new = apiserver_rules.prepare_for_create(kind, obj, str(uuid.uuid4()))
        metadata = new["metadata"]
        key = (kind, metadata["namespace"], metadata["name"])
        with self._lock:
            if key in self._objects:
                raise AlreadyExistsError(
                    f'{kind.plural} "{metadata["name"]}" already exists',
                    subject=apiserver_rules.subject(*key),
                )
            self._put(key, new, "ADDED")
        return _copied(new)

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """Apply a JSON merge patch (RFC 7386) to an object, or with ``subresource="status"`` to its status.

        A ``metadata.resourceVersion`` or ``metadata.uid`` in the patch is a precondition. A patch that
        changes nothing causes no new version and no event.

        Raises:
            NotFoundError: There is no such object.
            ConflictError: It has another version or uid.
            ObjectTooLargeError: It would be over 1.5 MiB.
            ClusterError: The patch changes an immutable field.
        """
        key = (kind, namespace, name)
        with self._lock:
            old = self._find(kind, namespace, name)
            self._check_preconditions(key, old, patch.get("metadata") or {})
            new = self._change(key, old, merge_patch(old, patch), subresource)
        return _copied(new)

    def replace(self, kind: Kind, namespace: str, name: str, obj: Object) -> Object:
        """Replace an object, as an API server does for PUT. Raises what `patch` raises."""
        key = (kind, namespace, name)
        with self._lock:
            old = self._find(kind, namespace, name)
            self._check_preconditions(key, old, obj.get("metadata") or {})
            new = self._change(key, old, _copied(obj), "")
        return _copied(new)

    def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        grace_seconds: int | None = None,
        uid: str | None = None,
    ) -> None:
        """Delete an object, or mark it for deletion.

        A running Pod keeps a ``deletionTimestamp`` until its kubelet deletes it with a grace period of 0. Any
        object is kept until it has no finalizers. A later, longer grace period changes nothing.

        Args:
            kind: Kind of the object.
            namespace: Namespace of the object.
            name: Name of the object.
            grace_seconds: Grace period of a Pod; ``None``: its own ``terminationGracePeriodSeconds``.
            uid: Precondition: the uid of the object.

        Raises:
            NotFoundError: There is no such object.
            ConflictError: It has another uid.
        """
        key = (kind, namespace, name)
        with self._lock:
            old = self._find(kind, namespace, name)
            metadata = old["metadata"]
            if uid is not None:
                self._check_preconditions(key, old, {"uid": uid})
            grace = apiserver_rules.grace_period(old, grace_seconds) if kind == PODS else 0
            marked = metadata.get("deletionTimestamp") is not None
            if grace == 0 and not metadata.get("finalizers"):
                self._remove(key, _marked(old, 0, self._clock()))
            elif not marked or grace < metadata.get("deletionGracePeriodSeconds", 0):
                self._put(key, _marked(old, grace, self._clock()), "MODIFIED")

    def watch(self, *kinds: Kind, since: str | None = None) -> Watch:
        """Watch one or more kinds. The caller must close the watch.

        Args:
            kinds: The kinds.
            since: A resourceVersion after which events begin; ``None``: begin with ``ADDED`` for each object.

        Raises:
            ClusterError: ``since`` is too long ago (an API server's 410 Gone).
        """
        watch = Watch()
        wanted = frozenset(kinds)
        with self._lock:
            if since is None:
                for (kind, _, _), obj in self._objects.items():
                    if kind in wanted:
                        watch.put(("ADDED", obj))
            else:
                oldest = self._history[0][0] if self._history else self._version + 1
                if int(since) + 1 < oldest:
                    raise ClusterError(f"too old resource version: {since} ({self._version})")
                for version, kind, change, obj in self._history:
                    if kind in wanted and version > int(since):
                        watch.put((change, obj))
            self._watches.append((wanted, watch))
        return watch

    def register_log(self, namespace: str, pod: str, container: str, path: Path) -> None:
        """Set the file of a container's log. Only the kubelet calls it."""
        with self._lock:
            self._logs[namespace, pod, container] = path

    def log_path(self, namespace: str, pod: str, container: str) -> Path:
        """Return the file of a container's log.

        Raises:
            NotFoundError: There is no such pod, or no such container in it.
            UnavailableError: The container has not started yet.
        """
        with self._lock:
            found = self._find(PODS, namespace, pod)
            path = self._logs.get((namespace, pod, container))
        if path is not None:
            return path
        spec = found["spec"]
        about = f"{apiserver_rules.subject(PODS, namespace, pod)}, container {container}"
        containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
        if container not in [known["name"] for known in containers]:
            raise NotFoundError(f'container "{container}" is not in pod "{pod}"', subject=about)
        raise UnavailableError(f'container "{container}" in pod "{pod}" is waiting to start', subject=about)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """Yield a container's log from its beginning, at most ``limit`` bytes, in pieces of at most 64 KiB.

        Raises:
            NotFoundError: There is no such pod, or no such container in it.
            UnavailableError: The container has not started yet.
        """
        return _pieces(self.log_path(namespace, pod, container), limit)

    def _find(self, kind: Kind, namespace: str, name: str) -> Object:
        found = self._objects.get((kind, namespace, name))
        if found is None:
            raise NotFoundError(
                f'{kind.plural} "{name}" not found', subject=apiserver_rules.subject(kind, namespace, name)
            )
        return found

    def _change(self, key: _Key, old: Object, merged: Object, subresource: str) -> Object:
        """Store an updated object; an update that changes nothing causes no new version."""
        version = old["metadata"]["resourceVersion"]
        merged["metadata"] = {**(merged.get("metadata") or {}), "resourceVersion": version}
        new = apiserver_rules.apply_update(key[0], old, merged, subresource)
        if new == old:
            return old
        new["metadata"] = dict(new["metadata"])
        if apiserver_rules.changes_generation(key[0], old, new):
            new["metadata"]["generation"] = old["metadata"]["generation"] + 1
        if _can_be_removed(new):
            self._remove(key, new)
        else:
            self._put(key, new, "MODIFIED")
        return new

    def _check_preconditions(self, key: _Key, old: Object, asked: Object) -> None:
        metadata = old["metadata"]
        for field in ("uid", "resourceVersion"):
            if asked.get(field) not in (None, metadata[field]):
                raise ConflictError(
                    f'Operation cannot be fulfilled on {key[0].plural} "{key[2]}": the object has {field} '
                    f"{metadata[field]}, not {asked[field]}; read it again",
                    subject=apiserver_rules.subject(*key),
                )

    def _put(self, key: _Key, obj: Object, change: str) -> None:
        size = object_size(obj)
        if size > OBJECT_BYTES:
            raise RequestTooLargeError(
                f"etcdserver: request is too large ({size} bytes, over the limit of {OBJECT_BYTES} bytes)",
                subject=apiserver_rules.subject(*key),
            )
        self._notify(key[0], obj, change)
        self._objects[key] = obj

    def _remove(self, key: _Key, obj: Object) -> None:
        del self._objects[key]
        if key[0] == PODS:
            self._logs = {of: path for of, path in self._logs.items() if of[:2] != key[1:]}
        self._notify(key[0], obj, "DELETED")
        self._collect_garbage(obj["metadata"]["uid"])

    def _collect_garbage(self, owner: str) -> None:
        """Delete objects whose last owner is gone, as the garbage collector of a cluster does."""
        existing = {obj["metadata"]["uid"] for obj in self._objects.values()}
        for kind, namespace, name in list(self._objects):
            obj = self._objects.get((kind, namespace, name)) or {"metadata": {}}
            owners = {reference.get("uid") for reference in obj["metadata"].get("ownerReferences") or ()}
            if owner in owners and not owners & existing:
                self.delete(kind, namespace, name)

    def _notify(self, kind: Kind, obj: Object, change: str) -> None:
        """Give an object its version and pass it to the watches. From now on it never changes."""
        self._version += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        self._history.append((self._version, kind, change, obj))
        self._watches = [(kinds, watch) for kinds, watch in self._watches if not watch.closed]
        for kinds, watch in self._watches:
            if kind in kinds:
                watch.put((change, obj))


def _copied(obj: Object) -> Object:
    copied: Object = copy(obj)
    return copied


def _can_be_removed(obj: Object) -> bool:
    """Return whether an object that is marked for deletion has no finalizers and no grace period left."""
    metadata = obj["metadata"]
    return bool(
        metadata.get("deletionTimestamp")
        and not metadata.get("finalizers")
        and not metadata.get("deletionGracePeriodSeconds")
    )


def _marked(old: Object, grace: int, now: dt.datetime) -> Object:
    """Return the object marked for deletion in ``grace`` seconds."""
    at = now + dt.timedelta(seconds=grace)
    metadata = {**old["metadata"], "deletionTimestamp": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    metadata["deletionGracePeriodSeconds"] = grace
    if "generation" in metadata and not old["metadata"].get("deletionTimestamp"):
        metadata["generation"] += 1
    return {**old, "metadata": metadata}


def _pieces(path: Path, limit: int) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=0) as log:
            while limit > 0 and (piece := log.read(min(limit, _PIECE))):
                limit -= len(piece)
                yield piece
    except FileNotFoundError:
        raise NotFoundError("the log was removed with its pod", subject=str(path)) from None
