"""Creates the volumes of a pod as folders of this machine, and maps container paths to these folders."""

import base64
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from resultsfw.cluster import CONFIG_MAPS, Cluster, Kind, Object
from resultsfw.errors import NotFoundError
from resultsfw.local import tokens

__all__ = ["FieldError", "MountError", "PodFolder", "containers", "field_value"]

SECRETS: Final = Kind("", "v1", "secrets", "Secret")

_TEKTON: Final = "/tekton"
_OF_TEKTON: Final = ("/tekton", "/workspace")
_OURS: Final = "/resultsfw"
"""Folder in which pods without Tekton's entrypoint write results."""
_CLUSTER_CA: Final = ("kube-root-ca.crt", "openshift-service-ca.crt")
"""ConfigMaps that a cluster creates in every namespace; without a cluster there is no CA to trust."""

_ANNOTATION: Final = re.compile(r"metadata\.(annotations|labels)\['(.*)'\]")


class MountError(Exception):
    """A volume cannot be created on this machine. The message is for people."""


class FieldError(Exception):
    """A field path that this engine does not support."""


def containers(pod: Object) -> list[Object]:
    """Return the pod's init containers and containers."""
    spec = pod["spec"]
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


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


@dataclass(slots=True)
class PodFolder:
    """The folders of one pod.

    Attributes:
        base: Folder for everything of the pod; its path has no characters that a shell would split or expand.
        downward: Folders of downward API volumes with the file and field path of each item.
    """

    base: Path
    downward: list[tuple[Path, list[tuple[str, str]]]] = field(default_factory=list)
    _common: dict[str, str] = field(default_factory=dict)
    _own: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """Return the root of the paths that containers share."""
        return self.base / "root"

    @property
    def tekton(self) -> Path:
        """Return the folder that replaces ``/tekton``."""
        return Path(self._common.get(_TEKTON) or f"{self.root}{_TEKTON}")

    def own(self, container: str) -> Path:
        """Return the folder of one container: its termination file, its temporary folder and its log."""
        return self.base / "containers" / container

    def log(self, container: str) -> Path:
        """Return the path of a container's log."""
        return self.own(container) / "log"

    def termination(self, container: str) -> Path:
        """Return the path of a container's termination file."""
        return self.own(container) / "termination-log"

    def rules(self, container: Object) -> dict[str, str]:
        """Return the folders that replace paths in a container, by path."""
        path = container.get("terminationMessagePath") or "/dev/termination-log"
        return {
            **self._common,
            **self._own.get(container["name"], {}),
            path: str(self.termination(container["name"])),
        }

    def make(self, pod: Object, cluster: Cluster) -> None:
        """Create all folders, and volumes with their content.

        Raises:
            MountError: A volume cannot be created on this machine.
            OSError: A folder cannot be created.
        """
        for container in containers(pod):
            (self.own(container["name"]) / "tmp").mkdir(parents=True)
            self.termination(container["name"]).touch()
        of_plain = [_OURS] if any(path.startswith(f"{_OURS}/") for path in _mounts(pod)) else []
        self._common = {path: f"{self.root}{path}" for path in (*_OF_TEKTON, *of_plain)}
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
        placed: set[Path] = set()
        homes: dict[str, Path] = {}
        for path, mounts in sorted(_mounts(pod).items(), key=lambda item: (item[0].count("/"), item[0])):
            first = _volume_and_subpath(mounts[0][1])
            for user, mount in mounts:
                name, within = _volume_and_subpath(mount)
                if name not in volumes:
                    raise MountError(f'container "{user}" mounts "{name}", which is no volume of the pod')
                # Only containers that mount a token may find it, so its folder is never shared.
                shared = (name, within) == first and not _has_token(volumes[name])
                place = Path(f"{self.root if shared else self.own(user) / 'root'}{path}")
                (self._common if shared else self._own.setdefault(user, {}))[path] = str(place)
                if place not in placed:
                    placed.add(place)
                    if name not in homes and not within and "hostPath" not in volumes[name]:
                        homes[name] = place
                        self._fill(place, volumes[name], pod, cluster)
                        continue
                    if name not in homes:
                        homes[name] = self._home(volumes[name], pod, cluster)
                    _link(place, homes[name], within)
        for folder in self._common.values():
            Path(folder).mkdir(parents=True, exist_ok=True)
        (self.tekton / "home").mkdir(exist_ok=True)

    def _home(self, volume: Object, pod: Object, cluster: Cluster) -> Path:
        """Return the folder of a volume that is not created at its first mount path."""
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        home = self.base / "volumes" / str(volume["name"])
        self._fill(home, volume, pod, cluster)
        return home

    def _fill(self, place: Path, volume: Object, pod: Object, cluster: Cluster) -> None:
        """Create a volume's folder with its content."""
        place.mkdir(parents=True, exist_ok=True)
        namespace = pod["metadata"]["namespace"]
        for kind, source in _sources(volume):
            match kind:
                case "emptyDir":
                    pass
                case "serviceAccountToken":
                    token = tokens.make(tokens.token_of(pod, source.get("audience") or ""))
                    _replace(place / source["path"], token.encode())
                case "downwardAPI":
                    items = [
                        (item["path"], item.get("fieldRef", {}).get("fieldPath", ""))
                        for item in source.get("items") or ()
                    ]
                    self.downward.append((place, items))
                    _write_fields(place, items, pod, volume["name"])
                case "configMap" | "secret":
                    _write_data(place, kind, source, namespace, cluster)
                case "persistentVolumeClaim":
                    claim = source.get("claimName", "")
                    raise MountError(
                        f'volume "{volume["name"]}" is the PersistentVolumeClaim "{claim}", which only a '
                        f"cluster has; without one, use emptyDir"
                    )
                case _:
                    raise MountError(
                        f'volume "{volume["name"]}" is of kind {kind}, which only a cluster has; '
                        f"without one, use emptyDir"
                    )

    def refresh(self, pod: Object) -> None:
        """Update the files of downward API volumes."""
        for place, items in self.downward:
            _write_fields(place, items, pod, place.name)


def _mounts(pod: Object) -> Mapping[str, list[tuple[str, Object]]]:
    """Return container and mount by path, in the order of the containers."""
    by_path: dict[str, list[tuple[str, Object]]] = {}
    for container in containers(pod):
        for mount in container.get("volumeMounts") or ():
            path = os.path.normpath(mount["mountPath"])
            if path == "/" or not path.startswith("/"):
                raise MountError(f'container "{container["name"]}" mounts a volume at "{mount["mountPath"]}"')
            by_path.setdefault(path, []).append((container["name"], mount))
    return by_path


def _volume_and_subpath(mount: Object) -> tuple[str, str]:
    """Return the name of the mounted volume and its subPath."""
    return mount["name"], mount.get("subPath") or ""


def _has_token(volume: Object) -> bool:
    return any(kind == "serviceAccountToken" for kind, _ in _sources(volume))


def _link(place: Path, home: Path, within: str) -> None:
    """Link a place to a volume or to its subPath, which is created if missing."""
    target = home / within
    if within and not target.exists():
        target.mkdir(parents=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        place.rmdir()
    place.symlink_to(target)


def _sources(volume: Object) -> Iterator[tuple[str, Object]]:
    """Yield kind and source of a volume; a projected volume has several."""
    for kind, source in volume.items():
        if kind == "name":
            continue
        if kind != "projected":
            yield kind, source or {}
            continue
        for projection in source.get("sources") or ():
            yield from ((kind, inner or {}) for kind, inner in projection.items())


def _write_fields(place: Path, items: list[tuple[str, str]], pod: Object, volume: str) -> None:
    for path, wanted in items:
        try:
            text = field_value(pod, wanted)
        except FieldError as error:
            raise MountError(f'volume "{volume}": {error}') from None
        _replace(place / path, text.encode())


def _write_data(place: Path, kind: str, source: Object, namespace: str, cluster: Cluster) -> None:
    name = source.get("name") or source.get("secretName") or ""
    try:
        found = cluster.get(CONFIG_MAPS if kind == "configMap" else SECRETS, namespace, name)
    except NotFoundError:
        if source.get("optional") or name in _CLUSTER_CA:
            return
        raise MountError(f'{kind} "{name}" not found; add it to the file of the TaskRun') from None
    data = dict(_data(found, kind))
    items = source.get("items")
    chosen = [(item["key"], item["path"]) for item in items] if items else [(key, key) for key in data]
    for key, path in chosen:
        if key not in data:
            if source.get("optional"):
                continue
            raise MountError(f'{kind} "{name}" has no key "{key}"')
        _replace(place / path, data[key])


def _data(found: Object, kind: str) -> Iterator[tuple[str, bytes]]:
    plain: Mapping[str, Any] = found.get("data" if kind == "configMap" else "stringData") or {}
    encoded: Mapping[str, Any] = found.get("binaryData" if kind == "configMap" else "data") or {}
    for key, value in encoded.items():
        yield key, base64.b64decode(value)
    for key, value in plain.items():
        yield key, str(value).encode()


def _replace(file: Path, data: bytes) -> None:
    """Replace a file atomically, which also wakes processes that watch its folder."""
    if file.is_file() and file.read_bytes() == data:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    new.write_bytes(data)
    new.replace(file)
