"""Say in a PipelineRun's status which TaskRuns it has (TEP-0100): by references, copies, or both."""

from collections.abc import Mapping
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.flags import EmbeddedStatus
from resultsfw.jsons import merge_patch
from resultsfw.limits import OBJECT_CAPACITY, object_size
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.status import child_references

__all__ = [
    "PRUNED_ANNOTATION",
    "child_fields",
    "children_of",
    "copied_names",
    "fit_into_object",
    "is_pruned",
    "references_only",
    "without_copies",
]

PRUNED_ANNOTATION: Final = "resultsfw.dev/embedded-status"
"""Under ``status.annotations``: that the server does not keep ``status.taskRuns``."""


def children_of(status: Mapping[str, Any]) -> list[Object]:
    """Return ``name`` and ``pipelineTaskName`` of each child that a status names, in order.

    Children of other kinds than TaskRun have their kind, too.
    """
    references: list[Object] = list(status.get("childReferences") or ())
    named = {reference.get("name") for reference in references}
    copies = (status.get("taskRuns") or {}).items()
    return [*references, *({"name": name, **copy} for name, copy in copies if name not in named)]


def child_fields(facts: Facts, known: Mapping[str, Any], mode: EmbeddedStatus) -> Object:
    """Return the fields of a status that say which children there are; those the mode omits are ``None``.

    Only TaskRuns are copied; children of other kinds are always named by references.

    Args:
        facts: The state of the run.
        known: The status as it was read; a status that says the server keeps no copies gets none.
        mode: The flag ``embedded-status``.
    """
    references = child_references(facts)
    if mode == "minimal" or PRUNED_ANNOTATION in (known.get("annotations") or {}):
        return {"childReferences": references or None, "taskRuns": None}
    runs = {child["metadata"]["name"]: child for children in facts.runs.values() for child in children}
    others = [reference for reference in references if reference["kind"] != TASKRUNS.kind]
    copies = {
        reference["name"]: _copy(reference, runs[reference["name"]])
        for reference in references
        if reference["kind"] == TASKRUNS.kind
    }
    return {
        "childReferences": (references if mode == "both" else others) or None,
        "taskRuns": _replacing(known.get("taskRuns") or {}, copies) or None,
    }


def _replacing(old: Object, new: Object) -> Object:
    """Return the merge patch that turns old into new: such a patch keeps what it does not name."""
    patch: Object = dict.fromkeys(old.keys() - new.keys())
    for key, value in new.items():
        before = old.get(key)
        both = isinstance(before, dict) and isinstance(value, dict)
        patch[key] = _replacing(before, value) if both and before else value
    return patch


def _copy(reference: Object, child: Object) -> Object:
    copy: Object = {"pipelineTaskName": reference["pipelineTaskName"]}
    if status := child.get("status"):
        copy["status"] = status
    if expressions := reference.get("whenExpressions"):
        copy["whenExpressions"] = expressions
    return copy


def fit_into_object(pipelinerun: Object, status: Object) -> tuple[Object, int, list[str]]:
    """Leave out copies of TaskRuns, the largest first, until the PipelineRun with a status can be stored.

    Returns:
        The status, the bytes the PipelineRun would have had, and the names of those left out, with their
        bytes.
    """
    copies: dict[str, Object] = status.get("taskRuns") or {}
    if not copied_names(status):
        return status, 0, []
    bare = {**pipelinerun, "status": {**pipelinerun.get("status", {}), "taskRuns": None}}
    size = object_size(merge_patch(bare, {"status": status}))
    by_size = sorted(copies, key=lambda name: object_size(_status(copies[name])), reverse=True)
    over, left = size - OBJECT_CAPACITY, []
    for name in by_size:
        if over <= 0 or not _status(copies[name]):
            break
        over -= object_size(_status(copies[name]))
        left.append(name)
    sizes = [f'"{name}" ({object_size(_status(copies[name]))} bytes)' for name in left]
    return (without_copies(status, left) if left else status), size, sizes


def copied_names(status: Object) -> list[str]:
    """Return the names of the TaskRuns of which a status holds a copy."""
    return [name for name, copy in (status.get("taskRuns") or {}).items() if _status(copy)]


def without_copies(status: Object, names: list[str]) -> Object:
    """Return a status whose entries for these TaskRuns say only which Pipeline Task they are of."""
    emptied = set(names)
    copies = {
        name: {**copy, "status": None} if name in emptied else copy
        for name, copy in status["taskRuns"].items()
    }
    return {**status, "taskRuns": copies}


def _status(copy: Object | None) -> Object:
    return (copy or {}).get("status") or {}


def is_pruned(asked: Object, written: Object) -> bool:
    """Return whether a server that was asked to store copies answered with a status that has none."""
    return any((asked.get("taskRuns") or {}).values()) and not written.get("status", {}).get("taskRuns")


def references_only(facts: Facts, mode: EmbeddedStatus) -> Object:
    """Return what is written instead where the server keeps no copies: references, and that it is so."""
    message = (
        f"the feature flag embedded-status is {mode}, but this server does not keep status.taskRuns (the CRD "
        f"pipelineruns.tekton.dev does not know it): see status.childReferences"
    )
    return {
        "childReferences": child_references(facts) or None,
        "taskRuns": None,
        "annotations": {PRUNED_ANNOTATION: message},
    }
