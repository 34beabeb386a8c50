"""What an API server does to an object beyond storing it: defaults, status apart, what may not change."""

import datetime as dt
import re
import secrets
from typing import Any, Final

from resultsfw.cluster import CONFIG_MAPS, PODS, Kind, Object
from resultsfw.errors import ClusterError, ConflictError
from resultsfw.jsons import copy
from resultsfw.local import configmaps

__all__ = ["changed", "grace_of", "has_status", "new_object", "now", "replaced", "subject"]

_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"  # of Kubernetes' generated names
_SERVER_OWNED: Final = ("uid", "name", "namespace", "creationTimestamp", "generation")
_LONGEST_LABEL: Final = 63
"""Characters of a label's value, and of a name that the server makes of ``generateName``."""
_SUFFIX: Final = 5
_LABEL: Final = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_KEPT: Final = ("deletionTimestamp", "deletionGracePeriodSeconds")
DEFAULT_GRACE: Final = 30
"""Seconds between SIGTERM and SIGKILL of a pod that does not say."""


def now() -> str:
    """This second in RFC 3339, as API objects have it."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def subject(kind: Kind, namespace: str, name: str) -> str:
    """An object as errors name it."""
    return f"{kind.kind} {namespace}/{name}"


def has_status(kind: Kind) -> bool:
    """Whether the kind keeps its status apart, to be changed only through the ``status`` subresource."""
    return kind == PODS or kind.group == "tekton.dev"


def new_object(kind: Kind, given: Object, uid: str) -> Object:
    """An object as the server first stores it.

    Raises:
        ClusterError: It has neither a name nor a ``generateName``, or makes no sense.
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
    if has_status(kind):
        obj.pop("status", None)
        metadata["generation"] = 1
    _check_labels(kind, metadata)
    if kind == PODS:
        _default_pod(obj)
        _check_mounts(obj)
    if kind == CONFIG_MAPS:
        configmaps.check(obj)
    return obj


def _check_labels(kind: Kind, metadata: Object) -> None:
    """Refuse labels that no API server stores.

    Raises:
        ClusterError: The value of one is longer than 63 characters, or has others than it may have.
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
    """Refuse a container with two volumes at one path, as an API server does.

    Raises:
        ClusterError: There is one.
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
    everyone = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    for container in everyone:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
    asked = any(
        (container.get("resources") or {}).get(part)
        for container in everyone
        for part in ("requests", "limits")
    )
    pod["status"] = {"phase": "Pending", "qosClass": "Burstable" if asked else "BestEffort"}


def replaced(kind: Kind, old: Object, merged: Object, subresource: str) -> Object:
    """What becomes of a patched object: the parts that this request may change, the others as they were.

    Raises:
        ClusterError: It changes what cannot change.
        ConflictError: It is about another object of the same name.
    """
    new = dict(old) if subresource else dict(merged)
    if subresource == "status":
        _move(new, merged, "status")
        return new
    if subresource:
        raise ClusterError(f'{kind.kind} has no subresource "{subresource}"', subject=kind.kind)
    metadata = dict(merged.get("metadata") or {})
    was = old["metadata"]
    if metadata.get("uid", was["uid"]) != was["uid"]:
        raise ConflictError(
            f"the uid in the precondition ({metadata['uid']}) is not the object's ({was['uid']})",
            subject=subject(kind, was["namespace"], was["name"]),
        )
    for key in (*_SERVER_OWNED, *_KEPT):
        _move(metadata, was, key)
    _check_labels(kind, metadata)
    new["metadata"] = metadata
    new["apiVersion"], new["kind"] = old["apiVersion"], old["kind"]
    if has_status(kind):
        _move(new, old, "status")
    if kind == PODS:
        _check_pod(old, new)
    if kind == CONFIG_MAPS:
        configmaps.check(new, old)
    return new


def _move(into: Object, source: Object, key: str) -> None:
    if key in source:
        into[key] = source[key]
    else:
        into.pop(key, None)


def _check_pod(old: Object, new: Object) -> None:
    """A pod's spec is fixed but for images, the deadline and (once) the node."""
    if old["spec"] == new.get("spec"):
        return
    if _fixed(old["spec"]) != _fixed(new.get("spec") or {}):
        metadata = old["metadata"]
        raise ClusterError(
            "pod updates may not change fields other than the containers' images, "
            "activeDeadlineSeconds and, once, nodeName",
            subject=subject(PODS, metadata["namespace"], metadata["name"]),
        )


def _fixed(spec: Object) -> Any:
    fixed = {key: value for key, value in spec.items() if key not in ("activeDeadlineSeconds", "nodeName")}
    for part in ("containers", "initContainers"):
        if spec.get(part):
            fixed[part] = [
                {key: value for key, value in container.items() if key != "image"} for container in spec[part]
            ]
    return fixed


def changed(kind: Kind, old: Object, new: Object) -> bool:
    """Whether the object's ``generation`` goes up: for a change outside ``metadata`` and ``status``."""
    if not has_status(kind):
        return False
    apart = ("metadata", "status")
    return {k: v for k, v in old.items() if k not in apart} != {
        k: v for k, v in new.items() if k not in apart
    }


def grace_of(pod: Object, asked: int | None) -> int:
    """Seconds a pod gets to end, as the server decides: none where there is no one to end."""
    phase = (pod.get("status") or {}).get("phase")
    if not pod["spec"].get("nodeName") or phase in ("Succeeded", "Failed"):
        return 0
    if asked is not None:
        return max(asked, 0)
    return int(pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE))
