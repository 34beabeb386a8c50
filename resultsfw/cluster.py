"""The only way a backend or a reconciler reaches the world: a small protocol over API objects."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

__all__ = ["CONFIG_MAPS", "EVENTS", "PODS", "UNREADABLE", "Cluster", "Kind", "Object"]

Object = dict[str, Any]
"""A Kubernetes object as its JSON, decoded."""

UNREADABLE: Final = "resultsfw.dev/unreadable"
"""In an object that is only held in memory: why it could not be decoded as it is. It has its metadata and
what else could be read; nothing may be decided by what it lacks."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource of the API: its group ("" for core), version, plural and kind."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As an object's ``apiVersion`` says it."""
        return f"{self.group}/{self.version}" if self.group else self.version


PODS: Final = Kind("", "v1", "pods", "Pod")
CONFIG_MAPS: Final = Kind("", "v1", "configmaps", "ConfigMap")
EVENTS: Final = Kind("", "v1", "events", "Event")


class Cluster(Protocol):
    """What can be asked of a cluster. Sync; may be called from several threads at once.

    Every method raises a `resultsfw.errors.ClusterError`. Objects handed out may be changed by
    the caller: they are copies.
    """

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object. Raises NotFoundError."""
        ...

    def create(self, kind: Kind, obj: Object) -> Object:
        """Store a new object, as the server made it. Raises AlreadyExistsError, ObjectTooLargeError."""
        ...

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """Apply a JSON merge patch (RFC 7386) to an object or to its ``status``.

        A ``metadata.resourceVersion`` in the patch makes it conditional: ConflictError when the
        object has another one. Raises NotFoundError, ObjectTooLargeError.
        """
        ...

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Ask for an object's deletion; of a Pod, SIGTERM now and SIGKILL after the grace.

        Raises NotFoundError.
        """
        ...

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """The log of a container from its beginning, in pieces, byte for byte.

        Yields at most ``limit`` bytes in all and then ends, so ask for one more than is allowed to
        see that there are too many. Closing the iterator closes the stream. Raises NotFoundError
        (no such pod, container or log any more), ForbiddenError, UnavailableError (also in the
        middle, for a stream cut short).
        """
        ...
