"""Recognize runs that cannot be reconciled, and reduce them to what is needed to mark them as failed."""

from typing import Any, Final

from resultsfw.cluster import UNREADABLE, Object
from resultsfw.controller.ownership import managed_by
from resultsfw.jsons import MAX_DEPTH, is_deeper_than

__all__ = ["defect_of", "stub"]

_LONGEST: Final = 300
"""Characters of a defect: an object with this key of its own may have any text there."""

_STATUS: Final = ("conditions", "startTime", "podName", "retriesStatus", "provenance", "childReferences")
"""Fields of a status that marking a run as failed and purging its results need."""

_STATUS_DEPTH: Final = 12
"""Levels of nesting of these fields as this controller writes them."""


def defect_of(run: Object) -> str:
    """Return why a run cannot be reconciled; "" if it can."""
    if isinstance(known := run.get(UNREADABLE), str):
        return known[:_LONGEST]
    status = run.get("status")
    if not isinstance(run.get("spec"), dict):
        return "its spec is not an object"
    if not isinstance(status, dict | None) or not _are_conditions((status or {}).get("conditions")):
        return "its status is malformed"
    if is_deeper_than(run, MAX_DEPTH):
        return f"it is nested in more than {MAX_DEPTH} levels"
    return ""


def stub(run: Object, defect: str) -> Object:
    """Return what the cache stores of a run that cannot be reconciled: enough to mark it as failed."""
    given = run.get("status")
    status = {
        key: given[key]
        for key in _STATUS
        if isinstance(given, dict) and key in given and not is_deeper_than(given[key], _STATUS_DEPTH)
    }
    if not _are_conditions(status.get("conditions")):
        del status["conditions"]
    metadata = {key: value for key, value in run["metadata"].items() if key != "managedFields"}
    about: Object = {key: run[key] for key in ("apiVersion", "kind") if key in run}
    spec = {"managedBy": managed_by(run)}
    return {**about, "metadata": metadata, "spec": spec, "status": status, UNREADABLE: defect}


def _are_conditions(value: Any) -> bool:
    return value is None or (
        isinstance(value, list) and all(isinstance(condition, dict) for condition in value)
    )
