"""Write the content of volumes: data of ConfigMaps and Secrets, tokens, fields of the pod."""

import base64
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from resultsfw.cluster import CONFIG_MAPS, Cluster, Object
from resultsfw.errors import NotFoundError
from resultsfw.local import tokens
from resultsfw.local.mount_errors import MountError, safe_path
from resultsfw.tekton.api.kinds import SECRETS

__all__ = ["FieldError", "FieldFile", "field_value", "fill", "sources", "write_fields"]

_CLUSTER_CA: Final = ("kube-root-ca.crt", "openshift-service-ca.crt")
"""ConfigMaps that a cluster creates in every namespace; without a cluster there is no CA to trust."""

_DEFAULT_MODE: Final = 0o644
"""The default mode of a file from a ConfigMap, a Secret or the downward API."""

_ANNOTATION: Final = re.compile(r"metadata\.(annotations|labels)\['(.*)'\]")


class FieldError(Exception):
    """A field path that this engine does not support."""


@dataclass(frozen=True, slots=True)
class FieldFile:
    """A file that holds a field of the pod.

    Attributes:
        path: Of the file in its volume.
        field: Path of the field.
        mode: Of the file.
    """

    path: str
    field: str
    mode: int


def field_value(pod: Object, path: str) -> str:
    """Return a field of the pod as the downward API does; "" for a missing annotation or label.

    Raises:
        FieldError: The downward API or this engine does not support the field.
    """
    metadata = pod["metadata"]
    if found := _ANNOTATION.fullmatch(path):
        return str((metadata.get(found[1]) or {}).get(found[2], ""))
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(metadata[path.removeprefix("metadata.")])
        case "metadata.annotations" | "metadata.labels":
            pairs = metadata.get(path.removeprefix("metadata.")) or {}
            return "\n".join(f'{key}="{value}"' for key, value in sorted(pairs.items()))
        case "spec.nodeName" | "spec.serviceAccountName":
            return str(pod["spec"].get(path.removeprefix("spec."), ""))
        case "status.podIP" | "status.hostIP":
            return "127.0.0.1"
    raise FieldError(f'the field "{path}" of a pod is not supported without a cluster')


def fill(place: Path, volume: Object, pod: Object, cluster: Cluster) -> list[FieldFile]:
    """Create a volume's folder with its content; return the files that hold fields of the pod.

    Raises:
        MountError: The volume cannot be created on this machine.
        OSError: A folder or file cannot be created.
    """
    downward: list[FieldFile] = []
    place.mkdir(parents=True, exist_ok=True)
    namespace = pod["metadata"]["namespace"]
    mode = (volume.get("projected") or {}).get("defaultMode") or _DEFAULT_MODE
    for kind, source in sources(volume):
        match kind:
            case "emptyDir" | "ephemeral":  # a claim of this pod alone is a folder of this pod alone
                pass
            case "serviceAccountToken":
                token = tokens.make(tokens.token_of(pod, source.get("audience") or ""))
                _replace(place / safe_path(source["path"], "path"), token.encode(), mode)
            case "downwardAPI":
                items = _fields(source, source.get("defaultMode") or mode, volume["name"])
                write_fields(place, items, pod, volume["name"])
                downward += items
            case "configMap" | "secret":
                _write_data(place, kind, source, _find_data(kind, source, namespace, cluster), mode)
            case _:
                raise MountError(
                    f'volume "{volume["name"]}" is of kind {kind}, which only a cluster has; '
                    f"without one, use emptyDir or a persistentVolumeClaim"
                )
    return downward


def sources(volume: Object) -> Iterator[tuple[str, Object]]:
    """Yield kind and source of a volume; a projected volume has several."""
    for kind, source in volume.items():
        if kind == "name":
            continue
        if kind != "projected":
            yield kind, source or {}
            continue
        for projection in source.get("sources") or ():
            yield from ((kind, inner or {}) for kind, inner in projection.items())


def _fields(source: Object, mode: int, volume: str) -> list[FieldFile]:
    """Return the files of a downward API volume."""
    fields = []
    for item in source.get("items") or ():
        if not item.get("fieldRef"):
            raise MountError(
                f'volume "{volume}": {item.get("path", "")} has no fieldRef; resourceFieldRef is not '
                f"supported without a cluster"
            )
        path = safe_path(item["path"], "path")
        fields.append(FieldFile(path, item["fieldRef"].get("fieldPath", ""), item.get("mode") or mode))
    return fields


def write_fields(place: Path, items: list[FieldFile], pod: Object, volume: str) -> None:
    """Write the files of a volume that hold fields of the pod; those that have not changed are left alone.

    Raises:
        MountError: The downward API or this engine does not support a field.
    """
    for item in items:
        try:
            text = field_value(pod, item.field)
        except FieldError as error:
            raise MountError(f'volume "{volume}": {error}') from None
        _replace(place / item.path, text.encode(), item.mode)


def _find_data(kind: str, source: Object, namespace: str, cluster: Cluster) -> dict[str, bytes] | None:
    """Return the data of a ConfigMap or Secret; ``None`` if it need not be there."""
    name = source.get("name") or source.get("secretName") or ""
    try:
        found = cluster.get(CONFIG_MAPS if kind == "configMap" else SECRETS, namespace, name)
    except NotFoundError:
        if source.get("optional") or name in _CLUSTER_CA:
            return None
        raise MountError(f'{kind} "{name}" not found; add it to the file of the TaskRun') from None
    return dict(_data(found, kind))


def _write_data(place: Path, kind: str, source: Object, data: Mapping[str, bytes] | None, mode: int) -> None:
    if data is None:
        return
    mode = source.get("defaultMode") or mode
    for item in source.get("items") or [{"key": key, "path": key} for key in data]:
        if (key := item["key"]) not in data:
            if source.get("optional"):
                continue
            name = source.get("name") or source.get("secretName") or ""
            raise MountError(f'{kind} "{name}" has no key "{key}"')
        _replace(place / safe_path(item["path"], "path"), data[key], item.get("mode") or mode)


def _data(found: Object, kind: str) -> Iterator[tuple[str, bytes]]:
    plain: Mapping[str, Any] = found.get("data" if kind == "configMap" else "stringData") or {}
    encoded: Mapping[str, Any] = found.get("binaryData" if kind == "configMap" else "data") or {}
    for key, value in encoded.items():
        yield key, base64.b64decode(value)
    for key, value in plain.items():
        yield key, str(value).encode()


def _replace(file: Path, data: bytes, mode: int) -> None:
    """Replace a file atomically, which also wakes processes that watch its folder."""
    if file.is_file() and os.access(file, os.R_OK) and file.read_bytes() == data:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    new.write_bytes(data)
    new.chmod(mode)
    new.replace(file)
