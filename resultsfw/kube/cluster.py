"""Implement the `Cluster` protocol by requests to an API server, each with a timeout."""

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
    transport_error,
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
    """A `resultsfw.cluster.Cluster` on an API server. Safe for threads; also a context manager.

    Args:
        connection: The way to the server.
        timeouts: Seconds to connect, and between two pieces of a response.
        limited: Whether requests are subject to the connection's rate limit; those for a Lease must not be.
    """

    def __init__(self, connection: Connection, *, timeouts: Timeouts = (5, 30), limited: bool = True) -> None:
        self.connection = connection
        self._timeouts = timeouts
        self._limited = limited

    @classmethod
    def from_config(cls, kubeconfig: str | None = None, context: str | None = None) -> Self:
        """Return the cluster that kubectl would use, or in a pod the pod's own; nothing is sent yet.

        Args:
            kubeconfig: A file; by default ``KUBECONFIG``, else ``~/.kube/config``, else the service account
                of the pod.
            context: A context of the kubeconfig; by default its current one.

        Raises:
            InputError: The configuration is missing or invalid.
        """
        return cls(connect(kubeconfig, context))

    def close(self) -> None:
        """Close idle connections."""
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object. Raises NotFoundError, UnreadableObjectError."""
        subject = describe(kind, namespace, name)
        found = _require_named_object(self._json("GET", object_path(kind, namespace, name), subject), subject)
        defect = found.get(UNREADABLE)
        if defect is None and is_deeper_than(found, MAX_DEPTH):
            defect = f"it is nested in more than {MAX_DEPTH} levels"
        if defect is not None:
            raise UnreadableObjectError(f"{subject} is unreadable: {defect}", subject=subject)
        return found

    def list(self, kind: Kind, namespace: str | None = None, *, label_selector: str = "") -> list[Object]:
        """Return all objects of a kind, of one namespace or (``None``) of all, as they were at one time."""
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
        """Create an object and return it as the server stored it.

        Raises AlreadyExistsError, ObjectTooLargeError.
        """
        metadata = obj.get("metadata") or {}
        namespace = metadata.get("namespace")
        name = metadata.get("name") or metadata.get("generateName") or ""
        subject = describe(kind, namespace, name)
        body = {"apiVersion": kind.api_version, "kind": kind.kind, **obj}
        made = self._json("POST", collection_path(kind, namespace), subject, body)
        # A review is answered but not stored, so it has no name.
        return _require_named_object(made, subject) if name else made

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """Apply a JSON merge patch to an object or to its ``status``. See `Cluster.patch`."""
        path = object_path(kind, namespace, name, subresource)
        subject = describe(kind, namespace, name)
        return _require_named_object(self._json("PATCH", path, subject, patch, MERGE_PATCH), subject)

    def apply(self, kind: Kind, obj: Object, *, manager: str, dry_run: bool = False) -> Object:
        """Create an object or set its given fields (server-side apply).

        Args:
            kind: The kind of the object.
            obj: The object, with name and, if it has one, namespace.
            manager: The field manager; fields that it applied before and does not now are removed.
            dry_run: Validate and return the result without storing it.

        Raises:
            ConflictError: Another manager owns a field and gave it another value.
            ClusterError: The server refused the object, for example for a field that it does not know.
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
        return _require_object(answer, describe(kind, namespace, name))

    def delete(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        *,
        grace_seconds: int | None = None,
        uid: str | None = None,
    ) -> None:
        """Delete an object; with ``uid``, raise ConflictError if it has another one."""
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        self._json("DELETE", object_path(kind, namespace, name), describe(kind, namespace, name), options)

    def read_log(
        self, namespace: str, pod: str, container: str, *, limit: int, tail_lines: int | None = None
    ) -> Iterator[bytes]:
        """Yield the log of a container from its beginning, byte for byte. See `Cluster.read_log`.

        With ``tail_lines``, only its last lines are yielded.

        A kubelet that cannot find or read the log answers with HTTP 200 and puts its error message where the
        log would begin or go on ("unable to retrieve container logs for ..."), without a line break. It is
        yielded like a log: a container may print the same, and only the caller knows what it prints.
        """
        if limit <= 0:
            return
        subject = f"{describe(PODS, namespace, pod)}, container {container}"
        query: dict[str, Any] = {"container": container, "limitBytes": limit, "follow": "false"}
        if tail_lines is not None:
            query["tailLines"] = tail_lines
        response = self._open_log(namespace, pod, query, subject)
        left = limit
        try:
            for piece in response.stream(_PIECE, decode_content=False):
                yield piece[:left]
                left -= len(piece)
                if left <= 0:
                    return
        except TRANSPORT_ERRORS as error:
            raise transport_error(error, subject) from error
        finally:
            response.close()

    def serves(self, kind: Kind) -> bool:
        """Return whether the server has a kind of its API's groups."""
        path = f"/apis/{kind.group}/{kind.version}"
        try:
            listed = self._json("GET", path, f"resources of {kind.group}/{kind.version}").get("resources")
        except NotFoundError:
            return False
        resources = listed if isinstance(listed, list) else []
        return any(isinstance(entry, dict) and entry.get("name") == kind.plural for entry in resources)

    def can(
        self, verb: str, kind: Kind, namespace: str | None, subresource: str = "", *, name: str = ""
    ) -> bool:
        """Return whether the user may do that.

        Args:
            verb: As RBAC has it.
            kind: Of the objects.
            namespace: Where; ``None`` or "": in all namespaces.
            subresource: Of the kind.
            name: Of the only object in question; "": any.
        """
        asked = {
            "verb": verb,
            "group": kind.group,
            "version": kind.version,
            "resource": kind.plural,
            "subresource": subresource,
            "namespace": namespace or "",
            "name": name,
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
        """Create a Kubernetes Event about an object, which `kubectl describe` shows.

        Args:
            about: The object, with kind, name and uid.
            type: "Normal" or "Warning".
            reason: One word.
            message: At most 1024 bytes are kept.
            component: The component that reports the Event.
        """
        metadata = about["metadata"]
        # The server requires this namespace for Events about objects without one.
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

    def _json(self, method: str, path: str, subject: str, body: Any = None, content_type: str = "") -> Object:
        answer = self.connection.json(
            method,
            path,
            subject=subject,
            body=body,
            content_type=content_type or "application/json",
            timeouts=self._timeouts,
            limited=self._limited,
        )
        if method != "GET":
            drop_managed_fields(answer)  # reconcilers go on with the answer to a write
        return _require_object(answer, subject)

    def _open_log(self, namespace: str, pod: str, query: dict[str, Any], subject: str) -> Response:
        try:
            return self.connection.open(
                "GET",
                object_path(PODS, namespace, pod, "log"),
                subject=subject,
                query=query,
                timeouts=self._timeouts,
                limited=self._limited,
            )
        except (NotFoundError, UnavailableError):
            raise
        except ClusterError as error:
            # Both are HTTP 400 without a reason of their own: only the message tells them apart.
            if "is not valid for pod" in error.message:
                raise NotFoundError(error.message, subject=subject) from error
            if "is waiting to start" in error.message or "is not available" in error.message:
                raise UnavailableError(error.message, subject=subject) from error
            raise


def _require_object(answer: Any, subject: str) -> Object:
    if not isinstance(answer, dict):
        raise UnavailableError("the response is not an object", subject=subject)
    return answer


def _require_named_object(answer: Object, subject: str) -> Object:
    if not has_name(answer):
        raise UnavailableError("the response is not an object with a name", subject=subject)
    return answer
