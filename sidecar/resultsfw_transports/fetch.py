"""Fetches the values of references into files before the pod's Steps start."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from resultsfw_sidecar.stop import Stop

from .store import ENV_OPTIONS, ENV_URL, Store, StoreError

ENV_FETCH: Final = "RESULTSFW_FETCH"
"""JSON: a list of ``{"file", "path", "bytes", "digest"}``; ``path`` is relative to the store's URL."""

PATIENCE: Final = 60.0
"""Seconds during which a request to the store is retried."""


_MODE: Final = 0o644
"""Steps may run as any user."""


class _FetchError(Exception):
    """A file cannot be placed; the message is for people and contains no secret."""


def fetch(variables: Mapping[bytes, bytes], stop: Stop) -> list[str]:
    """Fetches the files that the environment lists.

    Args:
        variables: The environment.
        stop: Where signals are noticed.

    Returns:
        The first file that could not be placed, and why; empty if all were.
    """
    texts = {key.decode("utf-8", "replace"): value.decode() for key, value in variables.items()}
    try:
        wanted = json.loads(texts[ENV_FETCH])
        store = Store(texts[ENV_URL], json.loads(texts[ENV_OPTIONS]), patience=PATIENCE)
    except (KeyError, ValueError) as error:
        return [f"the environment cannot be read: {error}"]
    for wanted_file in wanted:
        try:
            _place(store, wanted_file, stop)
        except (_FetchError, StoreError, OSError) as error:
            why = (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
            where = f"{store.url}/{wanted_file['path']}"
            return [
                f"{wanted_file['file']}: its {wanted_file['bytes']} bytes could not be placed: {where}: {why}"
            ]
    return []


def _place(store: Store, wanted: Mapping[str, Any], stop: Stop) -> None:
    """Writes one file; it appears under its name only when it is complete."""
    file, size = wanted["file"], wanted["bytes"]
    there = store.size(wanted["path"])
    if there is None:
        raise _FetchError("it is gone: somebody removed it")
    if there != size:
        raise _FetchError(f"it has {there} bytes there: it is not what was stored")
    digest, part = hashlib.sha256(), Path(f"{file}.part")
    try:
        with part.open("wb", buffering=0) as target:
            part.chmod(_MODE)
            for piece in store.pieces(wanted["path"], size):
                if stop.requested:
                    raise _FetchError("the pod is being stopped")
                digest.update(piece)
                left = memoryview(piece)
                while left:
                    left = left[target.write(left) or 0 :]
        if f"sha256:{digest.hexdigest()}" != wanted["digest"]:
            raise _FetchError("it has another digest: it is not what was stored")
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
