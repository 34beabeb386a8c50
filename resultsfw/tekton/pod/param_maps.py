"""Parameters too large for a Pod beside all else in it: in ConfigMaps of the run's own, mounted in pieces."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from resultsfw.cluster import CONFIG_MAPS, Object
from resultsfw.tekton.api.owners import owner_reference

__all__ = ["MAP_BYTES", "PIECES_MOUNT", "ParamMaps", "param_maps"]

MAP_BYTES: Final = 1_000_000
"""Bytes of values in one ConfigMap: Kubernetes takes 1 MiB with the names of the keys."""

PIECES_MOUNT: Final = {"name": "resultsfw-param-pieces", "mountPath": "/tekton/param-pieces"}
"""Where the init container that places files finds the pieces."""

_DIGITS: Final = 40


@dataclass(frozen=True, slots=True)
class ParamMaps:
    """Parameters outside the Pod.

    Attributes:
        config_maps: To be created before the Pod. Their names hold a digest of their content, so that
            an existing ConfigMap of that name has that content.
        sources: By parameter, the files that hold it, in order.
    """

    config_maps: tuple[Object, ...]
    sources: Mapping[str, tuple[str, ...]]

    def volume(self) -> Object:
        """Return the volume with all pieces."""
        names = (config_map["metadata"]["name"] for config_map in self.config_maps)
        return {
            "name": PIECES_MOUNT["name"],
            "projected": {"sources": [{"configMap": {"name": name}} for name in names]},
        }


@dataclass(slots=True)
class _Filling:
    """A ConfigMap in the making."""

    data: dict[str, bytes] = field(default_factory=dict)
    left: int = MAP_BYTES


def param_maps(taskrun: Object, params: Mapping[str, bytes]) -> ParamMaps:
    """Distribute parameters over as few ConfigMaps as hold them.

    The same arguments give the same ConfigMaps, so that a controller that restarts, and a retry of the run,
    find those that are there. They are the run's: Kubernetes deletes them with it.
    """
    maps = [_Filling()]
    sources: dict[str, tuple[str, ...]] = {}
    number = 0
    for name, content in params.items():
        keys = []
        start = 0
        while start < len(content):
            if not maps[-1].left:
                maps.append(_Filling())
            piece = content[start : start + maps[-1].left]
            key = f"p{number}"
            maps[-1].data[key] = piece
            maps[-1].left -= len(piece)
            keys.append(f"{PIECES_MOUNT['mountPath']}/{key}")
            start += len(piece)
            number += 1
        sources[name] = tuple(keys)
    return ParamMaps(tuple(_config_map(taskrun, filling.data) for filling in maps if filling.data), sources)


def _config_map(taskrun: Object, data: Mapping[str, bytes]) -> Object:
    metadata = taskrun["metadata"]
    digest = hashlib.sha256(f"{metadata.get('uid', '')}/{metadata['name']}".encode())
    for key, piece in data.items():
        digest.update(f"/{key}/{len(piece)}/".encode() + piece)
    return {
        "apiVersion": CONFIG_MAPS.api_version,
        "kind": CONFIG_MAPS.kind,
        "metadata": {
            "name": f"resultsfw-params-{digest.hexdigest()[:_DIGITS]}",
            "namespace": metadata.get("namespace", ""),
            "labels": {"app.kubernetes.io/part-of": "resultsfw"},
            "ownerReferences": [owner_reference(taskrun, controller=False)],
        },
        "immutable": True,
        # Of any byte two thirds of JSON's worst; an API server decodes it before it counts.
        "binaryData": {key: base64.b64encode(piece).decode() for key, piece in data.items()},
    }
