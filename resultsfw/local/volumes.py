"""Creates the volumes of a pod as folders of this machine, and maps container paths to these folders."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.local.claims import ClaimFolders, claim_folder
from resultsfw.local.mount_errors import MountError, safe_path
from resultsfw.local.volume_content import FieldFile, fill, sources, write_fields
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.tekton.api.kinds import is_sidecar, is_step

__all__ = ["MountError", "PodFolder", "containers"]

_TEKTON: Final = "/tekton"
_OF_TEKTON: Final = ("/tekton", "/workspace")
_OURS: Final = "/resultsfw"
"""Folder in which pods without Tekton's entrypoint write results."""

_NOT_ISOLATED: Final = (f"{_TEKTON}/", f"{_OURS}/")
"""Paths of Tekton and of the results sidecar, whose mounts are shared and can be written."""

_OUTSIDE: Final = ("hostPath", "persistentVolumeClaim")
"""Volumes that are there before and after the pod."""

_WORKLOAD_API: Final = "csi.spiffe.io"
"""CSI driver of volumes with the socket of the SPIFFE Workload API."""
_ENDPOINT: Final = "SPIFFE_ENDPOINT_SOCKET"
"""Names the socket of this machine (SPIFFE Workload Endpoint, section 4)."""


def containers(pod: Object) -> list[Object]:
    """Return the pod's init containers and containers."""
    spec = pod["spec"]
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


@dataclass(frozen=True, slots=True)
class _Mount:
    """A mount of a container.

    Attributes:
        path: Where the container sees the volume.
        container: Name of the container.
        volume: The volume.
        within: Its subPath; empty for the whole volume.
        is_shared: Whether all containers that mount something at the path may use one folder.
        is_read_only: Whether the container may not write there.
    """

    path: str
    container: str
    volume: Object
    within: str
    is_shared: bool
    is_read_only: bool


@dataclass(slots=True)
class PodFolder:
    """The folders of one pod.

    Attributes:
        base: Folder for everything of the pod; its path has no characters that a shell would split or expand.
        claims: Folders of the PersistentVolumeClaims, which all pods share.
        downward: Folders of downward API volumes with the file and field path of each item.
    """

    base: Path
    claims: ClaimFolders
    downward: list[tuple[Path, list[FieldFile]]] = field(default_factory=list)
    _common: dict[str, str] = field(default_factory=dict)
    _own: dict[str, dict[str, str]] = field(default_factory=dict)
    _read_only: dict[str, list[tuple[Path, Path]]] = field(default_factory=dict)
    _homes: dict[str, Path] = field(default_factory=dict)
    _placed: set[Path] = field(default_factory=set)
    _outside: list[str] = field(default_factory=list)
    """Mount paths of volumes that are not of this pod alone."""
    _targets: dict[str, str] = field(default_factory=dict)
    """The first mount path of each folder to which a mount path is linked."""

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

    def container_paths(self, container: str) -> dict[str, str]:
        """Return the path in a container that each folder of this machine stands in for, by folder."""
        own = self.own(container)
        rules = {**self._common, **self._own.get(container, {})}
        return {
            f"{self.root}/": "/",
            **self._targets,
            **{folder: path for path, folder in rules.items()},
            str(self.termination(container)): "/dev/termination-log",
            f"{own}/tmp": "/tmp",  # noqa: S108 - the path in the container
            f"{own}/script-": f"{_TEKTON}/scripts/script-",  # a copy with its paths replaced
        }

    def read_only(self, container: str) -> list[tuple[Path, Path]]:
        """Return folders that a container sees read-only, and the empty folders at which it does."""
        return self._read_only.get(container, [])

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
        for mount in _planned_mounts(pod):
            self._make_mount(mount, pod, cluster)
        for folder in self._common.values():
            Path(folder).mkdir(parents=True, exist_ok=True)
        (self.tekton / "home").mkdir(exist_ok=True)

    def _make_mount(self, mount: _Mount, pod: Object, cluster: Cluster) -> None:
        """Create a mount's folder, and its volume if it is the first of it."""
        if (mount.volume.get("csi") or {}).get("driver") == _WORKLOAD_API:
            # The folder itself: the path of a socket has 107 bytes at most.
            self._own.setdefault(mount.container, {})[mount.path] = _workload_api_folder(mount.volume)
            return
        place = self._place(mount.path, None if mount.is_shared else mount.container)
        if not mount.is_read_only:
            rules = self._common if mount.is_shared else self._own.setdefault(mount.container, {})
            rules[mount.path] = str(place)
            if place in self._placed:
                return
            self._placed.add(place)
        name = mount.volume["name"]
        outlives_pod = not mount.volume.keys().isdisjoint(_OUTSIDE)
        if name not in self._homes:
            at_place = not (mount.is_read_only or mount.within or outlives_pod)
            self._homes[name] = self._make_volume(mount.volume, place if at_place else None, pod, cluster)
        target = _inside(self._homes[name], mount.within)
        if mount.is_read_only:
            self._place_read_only(mount.path, mount.container, target)
        elif target != place:
            _link(place, target)
            self._targets.setdefault(str(target), mount.path)
            if outlives_pod:
                self._outside.append(mount.path)

    def _place(self, path: str, user: str | None) -> Path:
        """Return the folder that replaces a mount path, in one container or in all.

        Below a volume that other pods see, too, nothing of this pod is created.
        """
        base = self.base
        if any(path.startswith(f"{outer}/") for outer in self._outside):
            base /= "nested"
        root = base / "root" if user is None else base / "containers" / user / "root"
        return Path(f"{root}{path}")

    def _place_read_only(self, path: str, user: str, source: Path) -> None:
        """Prepare a mount path of one container for `resultsfw.local.read_only`."""
        pairs = self._read_only.setdefault(user, [])
        place = self.own(user) / "read-only" / str(len(pairs))
        place.mkdir(parents=True)
        pairs.append((source, place))
        self._own.setdefault(user, {})[path] = str(place)

    def _make_volume(self, volume: Object, place: Path | None, pod: Object, cluster: Cluster) -> Path:
        """Create a volume at its first mount path, or in a folder of its own, and return its folder."""
        if "hostPath" in volume:
            return Path(volume["hostPath"]["path"])
        if "persistentVolumeClaim" in volume:
            return claim_folder(self.claims, volume, pod["metadata"]["namespace"], cluster)
        home = place or self.base / "volumes" / str(volume["name"])
        if items := fill(home, volume, pod, cluster):
            self.downward.append((home, items))
        return home

    def refresh(self, pod: Object) -> None:
        """Update the files of downward API volumes."""
        for place, items in self.downward:
            write_fields(place, items, pod, place.name)


def _workload_api_folder(volume: Object) -> str:
    """Return the folder with the socket of this machine's SPIFFE Workload API.

    Raises:
        MountError: None is named.
    """
    address = os.environ.get(_ENDPOINT, "")
    if not address.startswith("unix:///"):
        raise MountError(
            f'the volume "{volume["name"]}" is the SPIFFE Workload API, and {_ENDPOINT} does not name its '
            f"socket on this machine: set it to unix:///FOLDER/spire-agent.sock"
        )
    return str(Path(address.removeprefix("unix://")).parent)


def _planned_mounts(pod: Object) -> Iterator[_Mount]:
    """Yield the mounts of the pod's containers, outer paths before those below them.

    Raises:
        MountError: A mount names no volume of the pod, or has an impossible path.
    """
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or ()}
    users = {container["name"] for container in containers(pod) if _is_users_own(container["name"])}
    for path, mounts in sorted(_mounts(pod).items(), key=lambda item: (item[0].count("/"), item[0])):
        shared = _volume_and_subpath(mounts[0][1])
        # What a Step or Sidecar does not mount, it must not see: an isolated workspace, for one.
        is_tektons = path in _OF_TEKTON or path.startswith(_NOT_ISOLATED)
        is_isolated = not is_tektons and not users <= {name for name, _ in mounts}
        for container, mount in mounts:
            name, within = _volume_and_subpath(mount)
            if name not in volumes:
                raise MountError(f'container "{container}" mounts "{name}", which is not a volume of the pod')
            yield _Mount(
                path,
                container,
                volumes[name],
                within,
                # Only containers that mount a token may find it, so its folder is never shared.
                is_shared=(name, within) == shared and not is_isolated and not _has_token(volumes[name]),
                is_read_only=bool(mount.get("readOnly")) and not path.startswith(_NOT_ISOLATED),
            )


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


def _is_users_own(container: str) -> bool:
    """Return whether a container is a Step, or a Sidecar of the Task."""
    return container != RESULTS_SIDECAR and (is_step(container) or is_sidecar(container))


def _volume_and_subpath(mount: Object) -> tuple[str, str]:
    """Return the name of the mounted volume and its subPath."""
    if mount.get("subPathExpr"):
        raise MountError(
            f'the mount of volume "{mount["name"]}" has a subPathExpr, which is not supported without a '
            f"cluster; use subPath"
        )
    return mount["name"], mount.get("subPath") or ""


def _has_token(volume: Object) -> bool:
    return any(kind == "serviceAccountToken" for kind, _ in sources(volume))


def _inside(home: Path, within: str) -> Path:
    """Return the folder of a volume, or of its subPath, which is created if missing.

    Raises:
        MountError: The subPath leads out of the volume, by itself or through a link in it.
    """
    target = home / safe_path(within, "subPath") if within else home
    if not target.resolve().is_relative_to(home.resolve()):
        raise MountError(f'the subPath "{within}" leads out of its volume through a symbolic link')
    if within and not target.exists():
        target.mkdir(parents=True)
    return target


def _link(place: Path, target: Path) -> None:
    """Link a place to a folder."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        place.rmdir()
    place.symlink_to(target)
