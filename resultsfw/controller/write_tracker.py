"""Remember which versions of a run this controller wrote itself: they need no reconciliation."""

from typing import Final, NamedTuple

from resultsfw.cluster import Object

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

    Safe for threads as long as one run is reconciled by one thread at a time.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], _Versions] = {}

    def on_read(self, run: Object) -> None:
        """Note a run that was read."""
        key = _key(run)
        old = self._known.get(key)
        self._known[key] = _Versions(_version(run), complete=True, own=old.own if old else ())

    def on_patch(self, patch: Object, written: Object, subresource: str) -> None:  # noqa: ARG002 - the protocol
        """Note a run that was patched, and the patch."""
        key = _key(written)
        old = self._known.get(key)
        complete = (
            old is not None
            and old.complete
            and (patch.get("metadata") or {}).get("resourceVersion") == old.latest
        )
        version = _version(written)
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
