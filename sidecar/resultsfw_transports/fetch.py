"""Fetches the values of references into files before the pod's Steps start."""

import json
from collections.abc import Mapping
from typing import Any, Final

from resultsfw_sidecar.stop import Stop

from .placing import PlacingError, keys_in, place, unplaced, words_of
from .store import ENV_OPTIONS, ENV_URL, Store, StoreError

ENV_FETCH: Final = "RESULTSFW_FETCH"
"""JSON: a list of ``{"file", "path", "bytes", "digest", "encrypted"}``; ``path`` is relative to the URL."""

PATIENCE: Final = 60.0
"""Seconds during which a request to the store is retried."""


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
        keys = keys_in(texts)
    except (KeyError, ValueError) as error:
        return [f"the environment cannot be read: {error}"]
    for wanted_file in wanted:
        try:
            _place(store, wanted_file, stop, keys)
        except (PlacingError, StoreError, OSError) as error:
            where = f"{store.url}/{wanted_file['path']}"
            return unplaced(wanted_file, where, words_of(error))
    return []


def _place(store: Store, wanted: Mapping[str, Any], stop: Stop, keys: Mapping[str, bytes]) -> None:
    size = wanted["bytes"]
    there = store.size(wanted["path"])
    if there is None:
        raise PlacingError("it is gone: somebody removed it")
    if there != size:
        raise PlacingError(f"it has {there} bytes there: it is not what was stored")
    place(wanted, store.pieces(wanted["path"], size), stop, keys)
