"""Remember which versions of a run this controller wrote itself: they need no reconciliation."""

import threading
from typing import Final, NamedTuple

from resultsfw.cluster import Object
from resultsfw.kube.store import is_newer

__all__ = ["WriteTracker"]

_OWN: Final = 8
"""Versions of a run's last own writes that are kept; one reconciliation makes fewer."""


class _Versions(NamedTuple):
    """What is known of a run's versions.

    Attributes:
        latest: The version of the last answer.
        complete: Whether every version before it was read or written here.
        own: Versions that this controller wrote over nothing unseen.
    """

    latest: str
    complete: bool
    own: tuple[str, ...]


class WriteTracker:
    """Knows the versions of runs that this controller wrote.

    A write counts as own only if it was conditional on the version before it: over anything else somebody
    may have written what this controller has not seen, such as a cancellation.

    Safe for threads as long as one run is reconciled by one thread at a time: another may read it meanwhile,
    from a cache that lags behind, and cancel it, as a PipelineRun does with its children.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Versions] = {}
        self._lock = threading.Lock()

    def on_read(self, run: Object) -> None:
        """Note a run that was read."""
        key, version = _key(run), _version(run)
        with self._lock:
            old = self._known.get(key)
            if old is None or is_newer(old.latest, version) is not True:
                self._known[key] = _Versions(version, complete=True, own=old.own if old else ())

    def on_patch(self, patch: Object, written: Object, subresource: str) -> None:  # noqa: ARG002 - the protocol
        """Note a run that was patched, and the patch."""
        key, version = _key(written), _version(written)
        with self._lock:
            old = self._known.get(key)
            complete = (
                old is not None
                and old.complete
                and (patch.get("metadata") or {}).get("resourceVersion") == old.latest
            )
            own = (*old.own, version)[-_OWN:] if old is not None and complete else ()
            self._known[key] = _Versions(version, complete=complete, own=own)

    def is_own(self, namespace: str, name: str, version: str) -> bool:
        """Return whether this controller wrote that version of a run, over nothing unseen."""
        known = self._known.get((namespace, name))
        return known is not None and version in known.own

    def forget(self, namespace: str, name: str) -> None:
        """Forget a run that was deleted."""
        self._known.pop((namespace, name), None)


def _key(run: Object) -> tuple[str, str]:
    return run["metadata"].get("namespace") or "", run["metadata"]["name"]


def _version(run: Object) -> str:
    return str(run["metadata"].get("resourceVersion", ""))
