"""Define the options of the backend ``pvc``, and find and judge the PersistentVolumeClaim that they name."""

import hashlib
import re
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Final

from pydantic import Field, field_validator

from resultsfw import Cluster, Kind, Object
from resultsfw.errors import BackendError, InputError, NotFoundError
from resultsfw.images import SIDECAR_NET
from resultsfw.option_types import Quantity
from resultsfw_backends._results_sidecar import SidecarImage
from resultsfw_backends._stored_values import StoringConfig

__all__ = [
    "CLAIMS",
    "MOST",
    "NAME",
    "VOLUME",
    "Config",
    "add_claim",
    "find_claim",
    "is_going",
    "refuse_exposed_claim",
    "root_of",
]

NAME: Final = "pvc"

CLAIMS: Final = Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")

VOLUME: Final = "resultsfw-claim"
"""Name of the pod's volume; Tasks may not use the prefix."""

MOST: Final = 2**40
"""Bytes of one value that ``max-value-size`` allows at most."""

_LABEL: Final = "resultsfw.dev/results-claim"
"""Label of pods that mount a claim which only one node can mount at a time: its name."""
_LABEL_BYTES: Final = 63
_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"
_CLAIM_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_WRITABLE: Final = ("ReadWriteOnce", "ReadWriteMany")
_LOG_BYTES: Final = 6 * 1024 * 1024
"""With base64, less than the 10 MiB after which a kubelet rotates a log by default."""


class Config(StoringConfig):
    """Options of ``config.pvc``."""

    image: SidecarImage = SIDECAR_NET
    """The sidecar's image, with the transports that need no library."""
    memory: Quantity = "64Mi"
    """Memory request and limit of the sidecar."""
    claim: str = "results"
    """PersistentVolumeClaim in the namespace of each run."""
    folder: str = Field(default="", max_length=512)
    """Folder in which the controller has the content of all claims; empty: it reads and purges by pods."""
    fs_group: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Group that may write to the claim: fsGroup of pods that have none."""
    max_value_size: int = Field(default=1024**3, ge=1, le=MOST)
    """Maximum bytes of one result."""
    reader_bytes: int = Field(default=_LOG_BYTES, ge=1, le=2**30)
    """Maximum bytes of a value that is read through a pod's log."""
    read_wait: float = Field(default=20.0, ge=0, le=300)
    """Seconds for which a request waits for the pod that reads a value."""
    purge_wait: float = Field(default=0.0, ge=0, le=300)
    """Seconds for which the controller waits for the pod that purges, before it does other work."""

    @field_validator("claim")
    @classmethod
    def _check_claim(cls, claim: str) -> str:
        if not _CLAIM_NAME.fullmatch(claim):
            raise ValueError("it must be the name of a PersistentVolumeClaim")
        return claim

    @field_validator("folder")
    @classmethod
    def _check_folder(cls, folder: str) -> str:
        path = PurePosixPath(folder)
        if folder and (not path.is_absolute() or ".." in path.parts or len(path.parts) < 2):  # noqa: PLR2004 - "/" and a name
            raise ValueError("it must be an absolute path")
        return folder.rstrip("/")


def root_of(config: Config) -> str:
    """Return what the locations of all values of the claim begin with."""
    return f"{NAME}://{config.claim}"


def find_claim(cluster: Cluster | None, namespace: str, config: Config) -> Object:
    """Return the claim of a namespace, if pods can store results in it.

    Raises:
        NotFoundError: There is none, or what it was bound to is lost.
        BackendError: No pod, or no second one, could write to it; or there is no cluster to ask.
        ClusterError: It cannot be read.
    """
    subject = f"PersistentVolumeClaim {namespace}/{config.claim}"
    where = f'PersistentVolumeClaim "{config.claim}" (claim of config.{NAME}) in namespace "{namespace}"'
    if cluster is None:
        raise BackendError(f"{where} cannot be looked for: give place_files the cluster", subject=NAME)
    try:
        claim = cluster.get(CLAIMS, namespace, config.claim)
    except NotFoundError:
        raise NotFoundError(
            f"{where} does not exist: create it, or choose another results-from", subject=subject
        ) from None
    spec = claim.get("spec") or {}
    if is_going(claim):
        raise NotFoundError(
            f"{where} is being deleted, or its volume is lost: create it anew", subject=subject
        )
    modes = spec.get("accessModes") or ()
    if not any(mode in modes for mode in _WRITABLE):
        raise BackendError(
            f"{where} has the access modes {', '.join(modes) or 'none'}: results need one of "
            f"{', '.join(_WRITABLE)}",
            subject=NAME,
        )
    if spec.get("volumeMode") == "Block":
        raise BackendError(f"{where} has the volumeMode Block: results need Filesystem", subject=NAME)
    return claim


def is_going(claim: Object) -> bool:
    """Return whether a claim can be mounted no more, and what it held goes with it."""
    lost = (claim.get("status") or {}).get("phase") == "Lost"
    return lost or "deletionTimestamp" in claim["metadata"]


def add_claim(pod: Object, config: Config, claim: Object) -> None:
    """Add the claim as a volume, unless the pod has it, and what the pod needs in order to use it.

    Pods with a claim that one node at a time can mount are kept together: the scheduler alone would place a
    second pod on another node, where it waits for ever.

    Args:
        pod: The pod; it is changed.
        config: The options.
        claim: The claim.
    """
    spec = pod["spec"]
    if (volume := _volume(config.claim)) not in (spec.get("volumes") or ()):
        spec["volumes"] = [*(spec.get("volumes") or ()), volume]
    if config.fs_group is not None:
        context = spec["securityContext"] = dict(spec.get("securityContext") or {})
        context.setdefault("fsGroup", config.fs_group)
        # Else the kubelet changes the owner of every stored value, at each start of a pod.
        context.setdefault("fsGroupChangePolicy", "OnRootMismatch")
    if "ReadWriteMany" not in ((claim.get("spec") or {}).get("accessModes") or ()):
        _place_together(pod, config.claim)


def _place_together(pod: Object, claim: str) -> None:
    """Label the pod, and let it run only where running pods of that label do."""
    label = claim if len(claim) <= _LABEL_BYTES else hashlib.sha256(claim.encode()).hexdigest()[:_LABEL_BYTES]
    metadata, spec = pod["metadata"], pod["spec"]
    metadata["labels"] = {**(metadata.get("labels") or {}), _LABEL: label}
    term = {"labelSelector": {"matchLabels": {_LABEL: label}}, "topologyKey": "kubernetes.io/hostname"}
    affinity = spec["affinity"] = dict(spec.get("affinity") or {})
    together = affinity["podAffinity"] = dict(affinity.get("podAffinity") or {})
    required = together.get(_REQUIRED) or []
    together[_REQUIRED] = required if term in required else [*required, term]


def refuse_exposed_claim(pod: Object, config: Config, *, own: Collection[str]) -> None:
    """Refuse a pod in which another container could read or write the results of runs.

    Args:
        pod: The pod.
        config: The options.
        own: Names of the containers that may mount the claim.

    Raises:
        BackendError: Another volume is the same claim, or another container mounts ours.
        InputError: The pod has a volume of that name.
    """
    spec = pod["spec"]
    for volume in spec.get("volumes") or ():
        if volume == _volume(config.claim):
            continue
        if volume["name"] == VOLUME:
            raise InputError(
                f'the pod already has a volume "{VOLUME}", which is that of the results: rename it',
                subject=f"volume {VOLUME}",
            )
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == config.claim:
            raise BackendError(
                f'volume "{volume["name"]}" is the PersistentVolumeClaim "{config.claim}", which is for the '
                f"results of all runs (claim of config.{NAME}): give Steps a claim of their own",
                subject=NAME,
            )
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        mounts = container.get("volumeMounts") or ()
        if container["name"] not in own and any(mount.get("name") == VOLUME for mount in mounts):
            raise BackendError(
                f'container "{container["name"]}" mounts volume "{VOLUME}", which is for the results sidecar '
                f"alone: remove the mount",
                subject=f"container {container['name']}",
            )


def _volume(claim: str) -> Object:
    return {"name": VOLUME, "persistentVolumeClaim": {"claimName": claim}}
