"""Validate a Pipeline's own text, beyond the shape of its fields and the order of its Tasks."""

from collections.abc import Iterator
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.pipelinerun.result_refs import result_refs
from resultsfw.tekton.pipelinerun.validate_matrix import matrix_errors

__all__ = ["MOST_CEL", "SECTIONS", "pipeline_errors", "tasks_of"]

SECTIONS: Final = ("tasks", "finally")
MOST_CEL: Final = 500
"""Expressions in CEL of one Pipeline: each may take a twentieth of a second (`resultsfw.cel`)."""


def tasks_of(spec: Object) -> list[tuple[str, Object]]:
    """Return all Pipeline Tasks with the section they are in, in order."""
    return [(section, task) for section in SECTIONS for task in spec.get(section) or ()]


def pipeline_errors(spec: Object) -> Iterator[str]:
    """Yield what a Pipeline cannot be run with, in the words and the order of Tekton's validation."""
    if not any(spec.values()):
        yield "expected at least one, got none: description, params, resources, tasks, workspaces"
    seen: set[str] = set()
    for section in SECTIONS:
        for index, task in enumerate(spec.get(section) or ()):
            if task["name"] in seen:
                yield f"expected exactly one, got both: {section}[{index}].name"
            seen.add(task["name"])
    yield from _cel_errors(spec)
    for index, result in enumerate(spec.get("results") or ()):
        if any(ref.task not in seen for ref in result_refs(result.get("value"))):
            yield f"invalid value: referencing a nonexistent task: results[{index}].value"
    last = spec.get("finally") or ()
    if last and not spec.get("tasks"):
        yield f"invalid value: spec.tasks is empty but spec.finally has {len(last)} tasks: finally"
    for index, task in enumerate(last):
        if task.get("runAfter"):
            yield (
                f"invalid value: no runAfter allowed under spec.finally, final task {task['name']} has "
                f"runAfter specified: finally[{index}]"
            )
    yield from matrix_errors(spec)


def _cel_errors(spec: Object) -> Iterator[str]:
    """Yield that there are too many conditions in CEL."""
    count = sum(bool(when.get("cel")) for _, task in tasks_of(spec) for when in task.get("when") or ())
    if count > MOST_CEL:
        yield (
            f"its Tasks have {count} when expressions in CEL, over the limit of {MOST_CEL}; write some with "
            f"input, operator and values"
        )
