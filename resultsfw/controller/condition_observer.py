"""Report each change of a run's Succeeded condition to Events, metrics and the log exactly once."""

import threading
from collections.abc import Callable
from typing import Final

from resultsfw.cluster import Object
from resultsfw.kube.store import is_newer
from resultsfw.tekton.api.conditions import succeeded

__all__ = ["ConditionObserver", "OnChange"]

OnChange = Callable[[Object, Object], None]
"""Called with the Succeeded condition before a write (empty for none) and the run that was written."""

_UNKNOWN: Final[Object] = {"type": "Succeeded", "status": "Unknown"}


class ConditionObserver:
    """Compares each written Succeeded condition with the one before.

    The condition before a write is the condition read or written at the resource version that the write
    requires. So of two writers, or of two tries, exactly one reports the change.

    Safe for threads as long as one run is written by one thread at a time: another may read it meanwhile,
    from a cache that lags behind, as a PipelineRun reads its children.

    Args:
        on_change: Called for every change.
    """

    def __init__(self, *on_change: OnChange) -> None:
        self._on_change = on_change
        self._known: dict[tuple[str, str], tuple[str, Object]] = {}
        self._lock = threading.Lock()

    def on_read(self, run: Object) -> None:
        """Note a run that was read."""
        self._note(run, dict(succeeded(run)))

    def on_patch(self, patch: Object, written: Object, subresource: str) -> None:
        """Note a run that was patched, and report its condition if the patch changed it."""
        metadata = written["metadata"]
        known = self._known.get((metadata.get("namespace") or "", metadata["name"]))
        asked = (patch.get("metadata") or {}).get("resourceVersion")
        # Of an unknown version this much is known: the run was not finished, or it would not be written.
        before = known[1] if known is not None and asked in (None, known[0]) else _UNKNOWN
        new = dict(succeeded(written))
        self._note(written, new)
        if subresource and new != before:
            for on_change in self._on_change:
                on_change(before, written)

    def forget(self, namespace: str, name: str) -> None:
        """Forget a run that was deleted."""
        self._known.pop((namespace, name), None)

    def _note(self, run: Object, condition: Object) -> None:
        metadata = run["metadata"]
        key, version = (
            (metadata.get("namespace") or "", metadata["name"]),
            str(metadata.get("resourceVersion", "")),
        )
        with self._lock:
            known = self._known.get(key)
            if known is None or is_newer(known[0], version) is not True:
                self._known[key] = version, condition
