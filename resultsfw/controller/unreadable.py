"""Runs that no reconciler can work on: how they are recognized, and what is held of them."""

from typing import Any, Final

from resultsfw.cluster import UNREADABLE, Object
from resultsfw.jsons import MAX_DEPTH, is_deeper_than

__all__ = ["defect_of", "managed_by", "stub"]

_LONGEST: Final = 300
"""Characters of a defect; an object with such a key of its own may have any text there."""

_STATUS: Final = ("conditions", "startTime", "podName", "retriesStatus", "provenance", "childReferences")
"""Of a status, what ending a run and removing what it left needs."""

_STATUS_DEPTH: Final = 12
"""Levels of these fields, as this controller writes them."""


def managed_by(run: Object) -> str:
    """Return a run's ``spec.managedBy``; "" where it has none, or no spec that could have one."""
    spec = run.get("spec")
    named = spec.get("managedBy") if isinstance(spec, dict) else None
    return named if isinstance(named, str) else ""


def defect_of(run: Object) -> str:
    """Return why no reconciler can work on a run; "" for one that they can."""
    if isinstance(known := run.get(UNREADABLE), str):
        return known[:_LONGEST]
    status = run.get("status")
    if not isinstance(run.get("spec"), dict):
        return "its spec is not an object"
    if not isinstance(status, dict | None) or not _are_conditions((status or {}).get("conditions")):
        return "its status is not one"
    if is_deeper_than(run, MAX_DEPTH):
        return f"it is nested in more than {MAX_DEPTH} levels"
    return ""


def stub(run: Object, defect: str) -> Object:
    """Return what is held of a run that no reconciler can work on: enough to end it by name."""
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
    return value is None or (isinstance(value, list) and all(isinstance(one, dict) for one in value))
