"""How much of its TaskRuns a PipelineRun's status repeats (TEP-0100): references, copies, or both."""

from collections.abc import Mapping
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.flags import EmbeddedStatus
from resultsfw.jsons import merge_patch
from resultsfw.limits import OBJECT_BYTES, OBJECT_HEADROOM, object_size
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.status import child_references

__all__ = [
    "PRUNED_ANNOTATION",
    "ROOM",
    "children_in",
    "described",
    "fitted",
    "is_pruned",
    "names_of",
    "references_only",
    "without_copies",
]

ROOM: Final = OBJECT_BYTES - OBJECT_HEADROOM
"""Bytes a PipelineRun may have."""

PRUNED_ANNOTATION: Final = "resultsfw.dev/embedded-status"
"""Under ``status.annotations``: that the server does not keep ``status.taskRuns``."""


def children_in(status: Mapping[str, Any]) -> list[Object]:
    """The TaskRuns a PipelineRun's status names: ``name`` and ``pipelineTaskName`` of each, in order."""
    if references := status.get("childReferences"):
        return list(references)
    return [{"name": name, **one} for name, one in (status.get("taskRuns") or {}).items()]


def described(facts: Facts, known: Mapping[str, Any], mode: EmbeddedStatus) -> Object:
    """The part of a status that tells of the TaskRuns; what the mode leaves out is ``None``.

    Args:
        facts: The look.
        known: The status as it was read; one that says the server keeps no copies gets none.
        mode: The flag ``embedded-status``.
    """
    references = child_references(facts)
    if mode == "minimal" or PRUNED_ANNOTATION in (known.get("annotations") or {}):
        return {"childReferences": references or None, "taskRuns": None}
    copies = {one["name"]: _copy(one, facts) for one in references}
    return {
        "childReferences": (references or None) if mode == "both" else None,
        "taskRuns": _replacing(known.get("taskRuns") or {}, copies) or None,
    }


def _replacing(old: Object, new: Object) -> Object:
    """The merge patch that makes of the old what the new is: such a patch keeps what it does not name."""
    patch: Object = dict.fromkeys(old.keys() - new.keys())
    for key, value in new.items():
        there = old.get(key)
        both = isinstance(there, dict) and isinstance(value, dict)
        patch[key] = _replacing(there, value) if both and there else value
    return patch


def _copy(reference: Object, facts: Facts) -> Object:
    name = reference["pipelineTaskName"]
    copy: Object = {"pipelineTaskName": name}
    if status := facts.runs[name].get("status"):
        copy["status"] = status
    if expressions := reference.get("whenExpressions"):
        copy["whenExpressions"] = expressions
    return copy


def fitted(pipelinerun: Object, status: Object) -> tuple[Object, int, list[str]]:
    """A status with copies of TaskRuns left out, the largest first, until the PipelineRun can be stored.

    Returns:
        The status, the bytes the PipelineRun would have had, and the names of those left out, with their
        bytes.
    """
    copies: dict[str, Object] = status.get("taskRuns") or {}
    if not names_of(status):
        return status, 0, []
    bare = {**pipelinerun, "status": {**pipelinerun.get("status", {}), "taskRuns": None}}
    size = object_size(merge_patch(bare, {"status": status}))
    by_size = sorted(copies, key=lambda name: object_size(_status(copies[name])), reverse=True)
    over, left = size - ROOM, []
    for name in by_size:
        if over <= 0 or not _status(copies[name]):
            break
        over -= object_size(_status(copies[name]))
        left.append(name)
    told = [f'"{name}" ({object_size(_status(copies[name]))} bytes)' for name in left]
    return (without_copies(status, left) if left else status), size, told


def names_of(status: Object) -> list[str]:
    """The TaskRuns of which a status holds a copy."""
    return [name for name, one in (status.get("taskRuns") or {}).items() if _status(one)]


def without_copies(status: Object, names: list[str]) -> Object:
    """A status whose entries for these TaskRuns say only which Pipeline Task they are of."""
    emptied = set(names)
    copies = {
        name: {**one, "status": None} if name in emptied else one for name, one in status["taskRuns"].items()
    }
    return {**status, "taskRuns": copies}


def _status(copy: Object | None) -> Object:
    return (copy or {}).get("status") or {}


def is_pruned(asked: Object, written: Object) -> bool:
    """Whether a server that was asked to store copies answered with a status that has none."""
    return any((asked.get("taskRuns") or {}).values()) and not written.get("status", {}).get("taskRuns")


def references_only(facts: Facts, mode: EmbeddedStatus) -> Object:
    """What is written instead where the server keeps no copies: references, and that it is so."""
    said = (
        f"the feature flag embedded-status is {mode}, but this server does not keep status.taskRuns (the CRD "
        f"pipelineruns.tekton.dev does not know it): see status.childReferences"
    )
    return {
        "childReferences": child_references(facts) or None,
        "taskRuns": None,
        "annotations": {PRUNED_ANNOTATION: said},
    }
