"""The `Cluster` protocol on an API server: raw JSON in and out, every request bounded in time."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

from resultsfw.cluster import EVENTS, PODS, UNREADABLE, Kind, Object
from resultsfw.errors import ClusterError, NotFoundError, UnavailableError, UnreadableObjectError
from resultsfw.jsons import MAX_DEPTH, is_deeper_than
from resultsfw.kube.connection import (
    APPLY_PATCH,
    MERGE_PATCH,
    TRANSPORT_ERRORS,
    Connection,
    Response,
    Timeouts,
    connect,
    unavailable,
)
from resultsfw.kube.decoding import drop_managed_fields
from resultsfw.kube.list_watch import has_name, list_pages
from resultsfw.kube.paths import collection_path, describe, object_path
from resultsfw.kube.status_errors import GoneError

__all__ = ["KubeCluster"]

ACCESS_REVIEWS: Final = Kind(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview"
)

_PIECE: Final = 65_536
_LIST_TRIES: Final = 5
_EVENT_BYTES: Final = 1024
_NAME_LENGTH: Final = 230


class KubeCluster:
    """A `resultsfw.cluster.Cluster` on an API server. Safe for threads; a context manager, if you like.

    Args:
        connection: The way to the server.
        timeouts: Seconds until connected, and between two pieces of an answer.
        limited: Whether requests wait for their turn; those that keep a lease must not.
    """

    def __init__(self, connection: Connection, *, timeouts: Timeouts = (5, 30), limited: bool = True) -> None:
        self.connection = connection
        self._timeouts = timeouts
        self._limited = limited

    @classmethod
    def from_config(cls, kubeconfig: str | None = None, context: str | None = None) -> Self:
        """The cluster kubectl would speak to, or in a pod the one it runs in; nothing is sent yet.

        Args:
            kubeconfig: A file; ``KUBECONFIG`` or ``~/.kube/config`` where there is one, else the pod's own
                service account.
            context: Of the kubeconfig; its current one by default.

        Raises:
            InputError: The configuration is not there or not usable.
        """
        return cls(connect(kubeconfig, context))

    def close(self) -> None:
        """Close connections that are idle."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object. Raises NotFoundError, UnreadableObjectError."""
        about = describe(kind, namespace, name)
        found = _named(self._json("GET", object_path(kind, namespace, name), about), about)
        defect = found.get(UNREADABLE)
        if defect is None and is_deeper_than(found, MAX_DEPTH):
            defect = f"it is nested in more than {MAX_DEPTH} levels"
        if defect is not None:
            raise UnreadableObjectError(f"{about} cannot be worked on: {defect}", subject=about)
        return found

    def list(self, kind: Kind, namespace: str | None = None, *, label_selector: str = "") -> list[Object]:
        """All objects of a kind, of one namespace where one is given, as they were at one time."""
        for _ in range(_LIST_TRIES):
            try:
                return [
                    item
                    for items, _ in list_pages(self.connection, kind, namespace, label_selector)
                    for item in items
                ]
            except GoneError:
                continue
        raise UnavailableError(
            "the list changes faster than it can be read", subject=describe(kind, namespace)
        )

    def create(self, kind: Kind, obj: Object) -> Object:
        """Store a new object, as the server made it. Raises AlreadyExistsError, ObjectTooLargeError."""
        metadata = obj.get("metadata") or {}
        namespace = metadata.get("namespace")
        name = metadata.get("name") or metadata.get("generateName") or ""
        about = describe(kind, namespace, name)
        body = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
        made = self._json("POST", collection_path(kind, namespace), about, body)
        # A review is answered, not stored: it has no name.
        return _named(made, about) if name else made

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """Apply a JSON merge patch to an object or to its ``status``. See `Cluster.patch`."""
        path = object_path(kind, namespace, name, subresource)
        about = describe(kind, namespace, name)
        return _named(self._json("PATCH", path, about, patch, MERGE_PATCH), about)

    def apply(self, kind: Kind, obj: Object, *, manager: str, dry_run: bool = False) -> Object:
        """Make an object be as it is given here, as far as it is (server-side apply).

        Args:
            kind: Of the object.
            obj: With name, and namespace where it has one.
            manager: Who owns the fields that are given; what it gave before and does not now is removed.
            dry_run: Only say what would come of it.

        Raises:
            ConflictError: Somebody else owns a field and wants it otherwise.
            ClusterError: The server refused it, a field that it does not know too.
        """
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        query = {"fieldManager": manager, "fieldValidation": "Strict"} | (
            {"dryRun": "All"} if dry_run else {}
        )
        answer = self.connection.json(
            "PATCH",
            object_path(kind, namespace, name),
            subject=describe(kind, namespace, name),
            query=query,
            body={"apiVersion": kind.api_version, "kind": kind.kind, **obj},
            content_type=APPLY_PATCH,
            timeouts=self._timeouts,
            limited=self._limited,
        )
        return _checked(answer, describe(kind, namespace, name))

    def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        grace_seconds: int | None = None,
        uid: str | None = None,
    ) -> None:
        """Ask for an object's deletion; with ``uid``, only of that one (else ConflictError)."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        self._json("DELETE", object_path(kind, namespace, name), describe(kind, namespace, name), options)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """The log of a container from its beginning, byte for byte. See `Cluster.read_log`.

        A kubelet that cannot find or read the log says so with HTTP 200, where the log would begin or go on
        ("unable to retrieve container logs for ..."), without a line end. That comes as a log does, since a
        container may print the same: only who knows what the container prints can tell.
        """
        if limit <= 0:
            return
        about = f"{describe(PODS, namespace, pod)}, container {container}"
        response = self._open_log(namespace, pod, container, limit, about)
        left = limit
        try:
            for piece in response.stream(_PIECE, decode_content=False):
                yield piece[:left]
                left -= len(piece)
                if left <= 0:
                    return
        except TRANSPORT_ERRORS as error:
            raise unavailable(error, about) from error
        finally:
            response.close()

    def can(self, verb: str, kind: Kind, namespace: str | None, subresource: str = "") -> bool:
        """Whether the identity in use may do that; ``namespace`` ``None`` or "": in all of them."""
        asked = {
            "verb": verb,
            "group": kind.group,
            "version": kind.version,
            "resource": kind.plural,
            "subresource": subresource,
            "namespace": namespace or "",
        }
        review = self.create(ACCESS_REVIEWS, {"spec": {"resourceAttributes": asked}})
        status = review.get("status")
        return isinstance(status, dict) and bool(status.get("allowed"))

    def event(
        self,
        about: Object,
        *,
        type: str,  # noqa: A002 - as the field is called
        reason: str,
        message: str,
        component: str = "resultsfw-controller",
    ) -> Object:
        """Tell people something about an object, by a Kubernetes Event: `kubectl describe` shows it.

        Args:
            about: The object; its kind, name and uid are what counts.
            type: "Normal" or "Warning".
            reason: One word.
            message: At most 1024 bytes are kept.
            component: Who says so.
        """
        metadata = about["metadata"]
        # The server wants Events about what has no namespace in this one.
        namespace = metadata.get("namespace") or "default"
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        names = ("namespace", "name", "uid", "resourceVersion")
        event = {
            "metadata": {
                "name": f"{metadata['name'][:_NAME_LENGTH]}.{secrets.token_hex(8)}",
                "namespace": namespace,
            },
            "involvedObject": {
                "apiVersion": about.get("apiVersion", ""),
                "kind": about.get("kind", ""),
                **{key: metadata[key] for key in names if metadata.get(key)},
            },
            "type": type,
            "reason": reason,
            "message": message.encode(errors="replace")[:_EVENT_BYTES].decode(errors="ignore"),
            "source": {"component": component},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        return self.create(EVENTS, event)

    def _json(self, method: str, path: str, about: str, body: Any = None, content_type: str = "") -> Object:
        answer = self.connection.json(
            method,
            path,
            subject=about,
            body=body,
            content_type=content_type or "application/json",
            timeouts=self._timeouts,
            limited=self._limited,
        )
        if method != "GET":
            drop_managed_fields(answer)  # reconcilers go on with the answer to a write
        return _checked(answer, about)

    def _open_log(self, namespace: str, pod: str, container: str, limit: int, about: str) -> Response:
        query = {"container": container, "limitBytes": limit, "follow": "false"}
        try:
            return self.connection.open(
                "GET",
                object_path(PODS, namespace, pod, "log"),
                subject=about,
                query=query,
                timeouts=self._timeouts,
                limited=self._limited,
            )
        except (NotFoundError, UnavailableError):
            raise
        except ClusterError as error:
            # HTTP 400 in each case; only the words differ.
            if "is not valid for pod" in error.message:
                raise NotFoundError(error.message, subject=about) from error
            if "is waiting to start" in error.message or "is not available" in error.message:
                raise UnavailableError(error.message, subject=about) from error
            raise


def _checked(answer: Any, about: str) -> Object:
    if not isinstance(answer, dict):
        raise UnavailableError("the answer is not an object", subject=about)
    return answer


def _named(answer: Object, about: str) -> Object:
    if not has_name(answer):
        raise UnavailableError("the answer is not an object with a name", subject=about)
    return answer
