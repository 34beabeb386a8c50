"""Define `Cluster`, the protocol through which backends and reconcilers use the API server."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol

__all__ = ["CONFIG_MAPS", "EVENTS", "PODS", "UNREADABLE", "Cluster", "Kind", "Object"]

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON."""

UNREADABLE: Final = "resultsfw.dev/unreadable"
"""Key of a cached object that could not be decoded completely: the reason. The object has its metadata and
whatever could be decoded; that a field is missing means nothing."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource of the API: group ("" for the core group), version, plural and kind."""

    group: str
    version: str
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """Return the resource's ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version


PODS: Final = Kind("", "v1", "pods", "Pod")
CONFIG_MAPS: Final = Kind("", "v1", "configmaps", "ConfigMap")
EVENTS: Final = Kind("", "v1", "events", "Event")


class Cluster(Protocol):
    """Access to an API server. Synchronous; may be called from several threads at once.

    Every method raises a `resultsfw.errors.ClusterError` if it fails. The caller may change returned objects:
    they are copies.
    """

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return an object. Raises NotFoundError."""
        ...

    def create(self, kind: Kind, obj: Object) -> Object:
        """Create an object and return it as the server stored it.

        Raises AlreadyExistsError, ObjectTooLargeError.
        """
        ...

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """Apply a JSON merge patch (RFC 7386) to an object or to its ``status``.

        With a ``metadata.resourceVersion`` in the patch, the request fails with ConflictError if the object
        has another one. Raises NotFoundError, ObjectTooLargeError.
        """
        ...

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Delete an object. A Pod's containers get SIGTERM now, and SIGKILL after the grace period.

        Raises NotFoundError.
        """
        ...

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """Yield the log of a container from its beginning, in pieces, byte for byte.

        Yields at most ``limit`` bytes: request one byte more than is allowed to detect a log that is too
        long. Closing the iterator closes the stream. Raises NotFoundError (the pod, container or log does not
        exist any more), ForbiddenError, UnavailableError (also between two pieces, if the stream is cut).
        """
        ...
