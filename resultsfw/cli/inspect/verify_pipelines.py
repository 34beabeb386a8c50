"""Verify a saved PipelineRun by its verified TaskRuns, since its own status is not signed."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.signatures import CheckedResult, Fault, Reason, VerifiedRun
from resultsfw.signatures.reasons import shown

__all__ = ["Runs", "verify_pipelinerun"]

Key = tuple[str, str, str]
"""Kind, namespace and name."""

Runs = Mapping[Key, tuple[Object, VerifiedRun]]
"""The objects of the files, each with the outcome of verifying it."""

_ONE_RESULT: Final = re.compile(r"\$\(tasks\.([^.()\[\]$]{1,253})\.results\.([^.()\[\]$]{1,253})\)")
_NOT_SIGNED: Final = (
    "a PipelineRun's own status is not signed: proven are only its TaskRuns, and each result above that is "
    "verified"
)


def verify_pipelinerun(pipelinerun: Object, runs: Runs) -> VerifiedRun:
    """Verify that all children of a PipelineRun verify, and that its results are theirs.

    Args:
        pipelinerun: The PipelineRun.
        runs: What was verified so far: the TaskRuns, and the PipelineRuns that it contains.
    """
    metadata, status = _object(pipelinerun.get("metadata")), _object(pipelinerun.get("status"))
    namespace, name = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
    children = [child for child in _list(status.get("childReferences")) if isinstance(child, dict)]
    faults = [fault for child in children for fault in _child_faults(child, namespace, runs)]
    if not children:
        faults.append(Fault(reason=Reason.NO_SIGNATURE, message="it has no TaskRun that could be signed"))
    expressions = _expressions(status)
    found = _results_by_task(children, namespace, runs)
    results = []
    for result in _list(status.get("results")):
        if isinstance(result, dict):
            state = _state(result.get("value"), expressions.get(str(result.get("name"))), found)
            checked = CheckedResult(f"results/{result.get('name')}", state)
            results.append(checked)
            if (fault := _result_fault(checked, str(result.get("name")))) is not None:
                faults.append(fault)
    return VerifiedRun(
        namespace=namespace, name=name, faults=tuple(faults), results=tuple(results), notes=(_NOT_SIGNED,)
    )


def _result_fault(checked: CheckedResult, name: str) -> Fault | None:
    """Return why a result of a PipelineRun does not verify; ``None`` if it does.

    A result that nothing proves is a fault, too: who writes the status can make one of any result.
    """
    if checked.state == "changed":
        why = f"{shown(checked.name)} is not the result of the TaskRun from which the Pipeline takes it"
        return Fault(reason=Reason.WRONG_DIGEST, message=why, result=name)
    if checked.state == "unsigned":
        why = (
            f"{shown(checked.name)} is not exactly one result of one TaskRun that verifies, so that no "
            f"signature covers it: verify the TaskRuns alone, and compare this result with theirs"
        )
        return Fault(reason=Reason.NO_SIGNATURE, message=why, result=name)
    return None


def _child_faults(child: Object, namespace: str, runs: Runs) -> Iterator[Fault]:
    kind, name = str(child.get("kind") or "TaskRun"), str(child.get("name") or "")
    if (kind, namespace, name) not in runs:
        why = (
            f"its child {kind} {shown(name)} was not found: it was deleted, or is not in the files"
            if kind == "TaskRun"
            else f"its child {kind} {shown(name)} was not found, or is of a kind that is not signed"
        )
        yield Fault(reason=Reason.NO_SIGNATURE, message=why)
    elif not (verified := runs[kind, namespace, name][1]).ok:
        reason = verified.faults[0].reason
        yield Fault(reason=reason, message=f"its child {kind} {shown(name)} does not verify")


def _expressions(status: Object) -> dict[str, Any]:
    """Return the expression of each result that the Pipeline declares, by name."""
    declared = _list(_object(status.get("pipelineSpec")).get("results"))
    return {str(result.get("name")): result.get("value") for result in declared if isinstance(result, dict)}


def _results_by_task(children: list[Object], namespace: str, runs: Runs) -> dict[str, dict[str, Any] | None]:
    """Return the results of each Pipeline Task that has one TaskRun; ``None`` if that does not verify."""
    by_task: dict[str, list[Object]] = {}
    for child in children:
        by_task.setdefault(str(child.get("pipelineTaskName")), []).append(child)
    found: dict[str, dict[str, Any] | None] = {}
    for task, own in by_task.items():
        key = ("TaskRun", namespace, str(own[0].get("name")))
        if len(own) == 1:
            found[task] = _results(runs[key][0]) if key in runs and runs[key][1].ok else None
    return found


def _results(taskrun: Object) -> dict[str, Any]:
    results = _list(_object(taskrun.get("status")).get("results"))
    return {str(result.get("name")): result.get("value") for result in results if isinstance(result, dict)}


def _state(value: Any, expression: Any, by_task: Mapping[str, dict[str, Any] | None]) -> Any:
    """Return whether a result is that of the one TaskRun from which the Pipeline takes it."""
    taken = _ONE_RESULT.fullmatch(expression) if isinstance(expression, str) else None
    results = by_task.get(taken[1]) if taken else None
    if taken is None or results is None:
        return "unsigned"
    return "verified" if taken[2] in results and results[taken[2]] == value else "changed"


def _object(value: object) -> Object:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
