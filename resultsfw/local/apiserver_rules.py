"""Applies an API server's rules to objects: defaults, the status subresource, immutable fields."""

import datetime as dt
import re
import secrets
from typing import Any, Final

from resultsfw.cluster import CONFIG_MAPS, PODS, Kind, Object
from resultsfw.errors import ClusterError, ConflictError
from resultsfw.jsons import copy
from resultsfw.local.configmap_validation import validate_configmap

__all__ = [
    "apply_update",
    "changes_generation",
    "grace_period",
    "has_status_subresource",
    "now",
    "prepare_for_create",
    "subject",
]

_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"  # of generated names, as in Kubernetes
_SERVER_OWNED: Final = ("uid", "name", "namespace", "creationTimestamp", "generation")
_LONGEST_LABEL: Final = 63
"""Limit of characters of a label's value, and of a name that is made from ``generateName``."""
_SUFFIX: Final = 5
_LABEL: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_KEPT: Final = ("deletionTimestamp", "deletionGracePeriodSeconds")
DEFAULT_GRACE: Final = 30
"""Default of ``terminationGracePeriodSeconds``."""


def now() -> str:
    """Return the present time in RFC 3339, in seconds, as API objects have it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def subject(kind: Kind, namespace: str, name: str) -> str:
    """Return the name of an object for errors."""
    return f"{kind.kind} {namespace}/{name}"


def has_status_subresource(kind: Kind) -> bool:
    """Return whether the status of a kind is changed only through its ``status`` subresource."""
    return kind == PODS or kind.group in ("tekton.dev", "resultsfw.dev")


def prepare_for_create(kind: Kind, given: Object, uid: str) -> Object:
    """Return a new object as the server stores it.

    Raises:
        ClusterError: It has neither a name nor a ``generateName``, or is invalid.
    """
    obj: Object = copy(given)
    metadata = obj.setdefault("metadata", {})
    if not metadata.get("name"):
        if not metadata.get("generateName"):
            raise ClusterError(f"{kind.kind}: name or generateName is required", subject=kind.kind)
        suffix = "".join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX))
        metadata["name"] = metadata["generateName"][: _LONGEST_LABEL - _SUFFIX] + suffix
    metadata["namespace"] = metadata.get("namespace") or "default"
    for key in (*_KEPT, "resourceVersion", "generation"):
        metadata.pop(key, None)
    metadata["uid"] = uid
    metadata["creationTimestamp"] = now()
    obj["apiVersion"], obj["kind"] = kind.api_version, kind.kind
    if has_status_subresource(kind):
        obj.pop("status", None)
        metadata["generation"] = 1
    _check_labels(kind, metadata)
    if kind == PODS:
        _default_pod(obj)
        _check_mounts(obj)
    if kind == CONFIG_MAPS:
        validate_configmap(obj)
    return obj


def _check_labels(kind: Kind, metadata: Object) -> None:
    """Validate labels.

    Raises:
        ClusterError: A value has more than 63 characters, or characters that are not allowed.
    """
    for key, value in (metadata.get("labels") or {}).items():
        if len(value) > _LONGEST_LABEL or not _LABEL.fullmatch(value):
            raise ClusterError(
                f'{kind.kind} "{metadata["name"]}" is invalid: metadata.labels: the value of "{key}" must be '
                f"no more than {_LONGEST_LABEL} letters, digits, '-', '_' or '.', the first and the last a "
                f"letter or digit",
                subject=subject(kind, metadata["namespace"], metadata["name"]),
            )


def _check_mounts(pod: Object) -> None:
    """Validate the mount paths of a pod's containers.

    Raises:
        ClusterError: A container mounts two volumes at one path.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    for part in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(part) or ()):
            seen: set[str] = set()
            for number, mount in enumerate(container.get("volumeMounts") or ()):
                if (path := mount.get("mountPath", "")) in seen:
                    raise ClusterError(
                        f'Pod "{metadata["name"]}" is invalid: spec.{part}[{index}].volumeMounts[{number}]'
                        f'.mountPath: Invalid value: "{path}": must be unique',
                        subject=subject(PODS, metadata["namespace"], metadata["name"]),
                    )
                seen.add(path)


def _default_pod(pod: Object) -> None:
    spec = pod.setdefault("spec", {})
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", DEFAULT_GRACE)
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    for container in containers:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
    has_resources = any(
        (container.get("resources") or {}).get(part)
        for container in containers
        for part in ("requests", "limits")
    )
    pod["status"] = {"phase": "Pending", "qosClass": "Burstable" if has_resources else "BestEffort"}


def apply_update(kind: Kind, old: Object, merged: Object, subresource: str) -> Object:
    """Return a patched object, with only those parts changed that this request may change.

    Raises:
        ClusterError: An immutable field changes.
        ConflictError: The uid is that of another object of the same name.
    """
    new = dict(old) if subresource else dict(merged)
    if subresource == "status":
        _copy_key(new, merged, "status")
        return new
    if subresource:
        raise ClusterError(f'{kind.kind} has no subresource "{subresource}"', subject=kind.kind)
    metadata = dict(merged.get("metadata") or {})
    old_metadata = old["metadata"]
    if metadata.get("uid", old_metadata["uid"]) != old_metadata["uid"]:
        raise ConflictError(
            f"the uid in the precondition ({metadata['uid']}) is not the object's ({old_metadata['uid']})",
            subject=subject(kind, old_metadata["namespace"], old_metadata["name"]),
        )
    for key in (*_SERVER_OWNED, *_KEPT):
        _copy_key(metadata, old_metadata, key)
    _check_labels(kind, metadata)
    new["metadata"] = metadata
    new["apiVersion"], new["kind"] = old["apiVersion"], old["kind"]
    if has_status_subresource(kind):
        _copy_key(new, old, "status")
    if kind == PODS:
        _check_pod(old, new)
    if kind == CONFIG_MAPS:
        validate_configmap(new, old)
    return new


def _copy_key(into: Object, source: Object, key: str) -> None:
    if key in source:
        into[key] = source[key]
    else:
        into.pop(key, None)


def _check_pod(old: Object, new: Object) -> None:
    """Refuse changes of a pod's spec, except of images, the deadline and (once) the node."""
    if old["spec"] == new.get("spec"):
        return
    if _immutable_part(old["spec"]) != _immutable_part(new.get("spec") or {}):
        metadata = old["metadata"]
        raise ClusterError(
            "pod updates may not change fields other than the containers' images, "
            "activeDeadlineSeconds and, once, nodeName",
            subject=subject(PODS, metadata["namespace"], metadata["name"]),
        )


def _immutable_part(spec: Object) -> Any:
    immutable = {
        key: value for key, value in spec.items() if key not in ("activeDeadlineSeconds", "nodeName")
    }
    for part in ("containers", "initContainers"):
        if spec.get(part):
            immutable[part] = [
                {key: value for key, value in container.items() if key != "image"} for container in spec[part]
            ]
    return immutable


def changes_generation(kind: Kind, old: Object, new: Object) -> bool:
    """Return whether ``generation`` increases: for any change outside ``metadata`` and ``status``."""
    if not has_status_subresource(kind):
        return False
    ignored = ("metadata", "status")
    return {k: v for k, v in old.items() if k not in ignored} != {
        k: v for k, v in new.items() if k not in ignored
    }


def grace_period(pod: Object, requested: int | None) -> int:
    """Return the seconds in which a pod must stop when it is deleted; 0 if it does not run."""
    phase = (pod.get("status") or {}).get("phase")
    if not pod["spec"].get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if requested is not None:
        return max(requested, 0)
    return int(pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE))
