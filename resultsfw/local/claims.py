"""Make the PersistentVolumeClaims of one call folders of this machine, which all its pods share."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import NotFoundError
from resultsfw.local.mount_errors import MountError
from resultsfw.tekton.api.kinds import CLAIMS

__all__ = ["ClaimFolders", "claim_folder"]

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
"""Names that Kubernetes allows, and with them those that are safe as the name of a folder."""


@dataclass(frozen=True, slots=True)
class ClaimFolders:
    """The folders of PersistentVolumeClaims.

    Attributes:
        base: Folder of all claims, ``NAMESPACE/NAME`` for each.
        given: Folders of a person's own, by namespace and name of the claim that each stands in for.
    """

    base: Path
    given: Mapping[tuple[str, str], Path] = field(default_factory=dict)


def claim_folder(claims: ClaimFolders, volume: Object, namespace: str, cluster: Cluster) -> Path:
    """Return the folder of a volume that is a claim; unless it is a given one, it is empty at its first use.

    Args:
        claims: Folders of all claims.
        volume: Of a pod, with ``persistentVolumeClaim``.
        namespace: Of the pod.
        cluster: Where the claim is: from a file of the call, or created for a ``volumeClaimTemplate``.

    Raises:
        MountError: There is no such claim, or it is a block device.
        OSError: The folder cannot be created.
    """
    name = volume["persistentVolumeClaim"].get("claimName") or ""
    try:
        claim = cluster.get(CLAIMS, namespace, name)
    except NotFoundError:
        raise MountError(
            f'PersistentVolumeClaim "{name}" not found; add it to the files, or use a volumeClaimTemplate'
        ) from None
    if (claim.get("spec") or {}).get("volumeMode") == "Block":
        raise MountError(
            f'PersistentVolumeClaim "{name}" has volumeMode Block, which only a cluster has; use Filesystem'
        )
    for part in (namespace, name):
        if not _NAME.fullmatch(part):
            raise MountError(f'PersistentVolumeClaim "{name}" in namespace "{namespace}" has an invalid name')
    if (given := claims.given.get((namespace, name))) is not None:
        return given
    folder = claims.base / namespace / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
