"""The runs that a PipelineRun has for one Pipeline Task: their kind, their names and their state together.

A Pipeline Task has one run, its child; one with a matrix has one for each combination. Without any child,
the Pipeline Task has not begun. The rules are Tekton's (``ResolvedPipelineTask``).
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final, Literal

from resultsfw.cluster import Kind, Object
from resultsfw.tekton.api import reasons as taskrun_reasons
from resultsfw.tekton.api.conditions import is_done, succeeded
from resultsfw.tekton.api.kinds import CUSTOMRUNS, PIPELINERUNS, TASKRUNS
from resultsfw.tekton.api.names import LONGEST_NAME, child_name
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.matrix import is_matrixed

__all__ = [
    "STATUS_MESSAGE_ANNOTATION",
    "Children",
    "cancel_patch",
    "end_of",
    "is_custom",
    "kind_of",
    "kind_of_reference",
    "names_of",
    "possible_names",
    "reason_of",
    "running_of",
    "verdict_of",
    "was_cancelled",
    "was_ended_for_time",
]

Children = tuple[Object, ...]
"""The runs of one Pipeline Task that exist, in the order of their combinations."""

STATUS_MESSAGE_ANNOTATION: Final = "resultsfw.dev/status-message"
"""On a child PipelineRun that its parent cancelled: why. A PipelineRun has no ``spec.statusMessage``."""

_CANCELLED: Final = {TASKRUNS: "TaskRunCancelled", CUSTOMRUNS: "RunCancelled", PIPELINERUNS: "Cancelled"}
"""``spec.status`` that cancels a child, by its kind."""

_CANCELLED_GRACEFULLY: Final = "CancelledRunFinally"
"""``spec.status`` that cancels a child PipelineRun but for its ``finally``."""

_CANCELLED_REASONS: Final = frozenset({taskrun_reasons.CANCELLED, "CustomRunCancelled"})
"""Reasons of the condition of a TaskRun and a CustomRun that was cancelled."""


def kind_of(task: Object) -> Kind:
    """Return the kind of a Pipeline Task's children."""
    if task.get("pipelineRef") is not None or task.get("pipelineSpec") is not None:
        return PIPELINERUNS
    return CUSTOMRUNS if is_custom(task) else TASKRUNS


def is_custom(task: Object) -> bool:
    """Return whether a Pipeline Task is a custom task.

    That is so if ``taskRef`` or ``taskSpec`` has both an apiVersion and a kind, even ``tekton.dev/v1`` and
    ``Task`` (Tekton's ``IsCustomTask``).
    """
    named = task.get("taskRef") or task.get("taskSpec") or {}
    return bool(named.get("apiVersion") and named.get("kind"))


def kind_of_reference(reference: Object) -> Kind:
    """Return the kind of a child that a status names, in ``childReferences`` or ``taskRuns``."""
    return {CUSTOMRUNS.kind: CUSTOMRUNS, PIPELINERUNS.kind: PIPELINERUNS}.get(
        str(reference.get("kind")), TASKRUNS
    )


def names_of(pipelinerun: str, task: str, count: int = 1) -> tuple[str, ...]:
    """Return the names of a Pipeline Task's children as Tekton forms them (``getNewRunNames``).

    Args:
        pipelinerun: The name of the PipelineRun.
        task: The name of the Pipeline Task.
        count: How many children there are to be. One is ``RUN-TASK``, several are ``RUN-TASK-0`` and so on;
            a name that would be too long is hashed.
    """
    if count == 1:
        return (child_name(pipelinerun, f"-{task}"),)
    return tuple(_names(pipelinerun, task, count))


def _names(pipelinerun: str, task: str, count: int) -> Iterator[str]:
    for index in range(count):
        name = child_name(pipelinerun, f"-{task}-{index}")
        if not name.endswith(f"-{index}"):
            longest = LONGEST_NAME - len(f"-{count}")
            name = f"{child_name(pipelinerun, f'-{task}')[:longest]}-{index}"
        yield name


def possible_names(pipelinerun: str, task: Object, max_combinations: int) -> Iterator[Iterable[str]]:
    """Yield the names that a Pipeline Task's children may have, as far as its text says how many there are.

    Each group of names is in the order of creation: where a name is missing, so are those behind it.

    Args:
        pipelinerun: The name of the PipelineRun.
        task: The Pipeline Task; results may determine its matrix.
        max_combinations: Of one matrix.
    """
    yield names_of(pipelinerun, task["name"])
    if is_matrixed(task):
        for digits in range(1, len(str(max_combinations)) + 1):  # a long name is cut by those of the count
            yield _names(pipelinerun, task["name"], min(10**digits - 1, max_combinations))


# The state of all of them together.


def verdict_of(children: Children) -> Literal["", "True", "False", "Unknown"]:
    """Return the status of the condition that children have together; empty if there are none.

    They succeeded if each did, and failed if each has ended and one did not succeed.
    """
    if not children:
        return ""
    known = {succeeded(child).get("status") for child in children}
    if known == {"True"}:
        return "True"
    return "False" if known <= {"True", "False"} else "Unknown"


def reason_of(children: Children) -> str:
    """Return the reason of the first child's condition that did not succeed, else of the first child's."""
    conditions = [succeeded(child) for child in children]
    for condition in (*(known for known in conditions if known.get("status") != "True"), *conditions):
        if reason := condition.get("reason"):
            return str(reason)
    return ""


def end_of(children: Children) -> datetime | None:
    """Return when the last of the children that have ended did; ``None`` if none has."""
    ends = (parse_time(succeeded(child).get("lastTransitionTime")) for child in children if is_done(child))
    return max((end for end in ends if end is not None), default=None)


def was_cancelled(children: Children) -> bool:
    """Return whether one of the children ended because it was cancelled.

    A child PipelineRun counts if its parent cancelled it. That somebody else did is a failure, as in Tekton.
    """
    return any(
        succeeded(child).get("reason") in _CANCELLED_REASONS or _annotated_message(child)
        for child in _failed(children)
    )


def was_ended_for_time(children: Children) -> bool:
    """Return whether one of the children was cancelled because the PipelineRun timed out."""
    for child in children:
        message = child["spec"].get("statusMessage") or _annotated_message(child)
        if message and _cause(message) == _cause(reasons.CHILD_TIMED_OUT):
            return True
    return False


def running_of(children: Children, *, gracefully: bool = False) -> list[Object]:
    """Return the children that have not ended and are not cancelled yet.

    Args:
        children: Of any kind.
        gracefully: A child PipelineRun that was asked to end but for its ``finally`` counts as cancelled.
    """
    asked = {*_CANCELLED.values(), *((_CANCELLED_GRACEFULLY,) if gracefully else ())}
    return [child for child in children if not is_done(child) and child["spec"].get("status") not in asked]


def cancel_patch(kind: Kind, message: str, *, gracefully: bool = False) -> Object:
    """Return the merge patch that cancels a child.

    Args:
        kind: Of the child.
        message: Why, as the ``statusMessage`` of a TaskRun.
        gracefully: Lets a child PipelineRun run its ``finally``.
    """
    message = f"{kind.kind} {_cause(message)}"
    if kind == PIPELINERUNS:
        status = _CANCELLED_GRACEFULLY if gracefully else _CANCELLED[kind]
        return {
            "metadata": {"annotations": {STATUS_MESSAGE_ANNOTATION: message}},
            "spec": {"status": status},
        }
    return {"spec": {"status": _CANCELLED[kind], "statusMessage": message}}


def _cause(message: str) -> str:
    """Return a ``statusMessage`` without the kind that it begins with."""
    return message.partition(" ")[2]


def _annotated_message(child: Object) -> str:
    return str((child["metadata"].get("annotations") or {}).get(STATUS_MESSAGE_ANNOTATION) or "")


def _failed(children: Children) -> Iterable[Object]:
    return (child for child in children if succeeded(child).get("status") == "False")
