"""Fetches values from a container registry into files before the pod's Steps start."""

import json
import time

from .oci import ENV_PATIENCE, registry_of
from .placing import PlacingError, keys_in, place, unplaced, words_of
from .registry import Registry, RegistryError

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from resultsfw_sidecar.stop import Stop

ENV_FETCH = "RESULTSFW_OCI_FETCH"
"""JSON list of `{"file", "repository", "manifest", "owner", "bytes", "digest", "location", "encrypted"}`."""

_PAUSE = 1.0
_MANIFEST_BYTES = 64 << 10
"""Far more than the manifest of a result has: who may push could let a larger one take all memory."""


def fetch(variables: "Mapping[bytes, bytes]", stop: "Stop") -> list[str]:
    """Fetches the files that the environment lists.

    Args:
        variables: The environment.
        stop: Where signals are noticed.

    Returns:
        The first file that could not be placed, and why; empty if all were.
    """
    texts = {
        key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in variables.items()
    }
    try:
        wanted = json.loads(texts[ENV_FETCH])
        registry, patience = registry_of(texts, stop), float(texts[ENV_PATIENCE])
        keys = keys_in(texts)
    except (KeyError, ValueError) as error:
        return [f"the environment cannot be read: {error}"]
    for value in wanted:
        try:
            _place(registry, value, patience, stop, keys)
        except (PlacingError, RegistryError, OSError) as error:
            why = words_of(error)
            if isinstance(error, RegistryError) and error.kind == "missing":
                why = f"it is gone: somebody removed it: {why}"
            return unplaced(value, value["location"], why)
    return []


def _place(
    registry: Registry,
    value: "Mapping[str, Any]",
    patience: float,
    stop: "Stop",
    keys: "Mapping[str, bytes]",
) -> None:
    """Places one file; begins again if reading it fails in a passing way."""
    until = time.monotonic() + patience
    while True:
        try:
            pieces = value_pieces(registry, value["repository"], value["manifest"], value)
            place(value, pieces, stop, keys)
        except RegistryError as error:
            if error.kind != "unavailable" or stop.requested or time.monotonic() > until:
                raise
            stop.wait(_PAUSE)
        else:
            return


def value_pieces(
    registry: Registry, repository: str, manifest: str, value: "Mapping[str, Any]"
) -> "Iterator[bytes]":
    """Yields the value of an artifact, if its manifest is the one that a run's sidecar wrote for it.

    Args:
        registry: The registry.
        repository: The repository.
        manifest: Digest of the manifest.
        value: `owner`: annotations that the manifest must have; `bytes` and `digest`: of the value.

    Raises:
        PlacingError: The manifest is of another run or another value.
        RegistryError: Manifest or value cannot be read.
    """
    body, _ = registry.manifest(repository, manifest)
    if fault := _manifest_fault(body, value):
        raise PlacingError(f"{fault}: it is not what was stored")
    # One byte more than it should have shows a longer one.
    yield from registry.pieces(repository, value["digest"], value["bytes"] + 1)


def is_owned(manifest: bytes, owner: "Mapping[str, str]") -> bool:
    """Returns whether a manifest has these annotations, and is no larger than that of a result."""
    if len(manifest) > _MANIFEST_BYTES:
        return False
    try:
        annotations = json.loads(manifest)["annotations"]
        return all(annotations.get(name) == text for name, text in owner.items())
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def _manifest_fault(body: bytes, value: "Mapping[str, Any]") -> str:
    if not is_owned(body, value["owner"]):
        return "its manifest is of another run"
    try:
        [layer] = json.loads(body)["layers"]
        described = (layer["digest"], layer["size"])
    except (ValueError, TypeError, KeyError):
        return "its manifest is not that of a result"
    return "" if described == (value["digest"], value["bytes"]) else "its manifest is of another value"
