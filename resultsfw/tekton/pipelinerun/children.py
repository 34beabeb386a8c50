"""The runs that a PipelineRun has for one Pipeline Task: their kind, their names and their state together.

A Pipeline Task has one run, its child; one with a matrix has one for each combination. No child at all means
that the Pipeline Task has not begun. The rules are Tekton's (``ResolvedPipelineTask``).
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal

from resultsfw.cluster import Kind, Object
from resultsfw.tekton.api import reasons as taskrun_reasons
from resultsfw.tekton.api.conditions import is_done, succeeded
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.api.names import LONGEST_NAME, child_name
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.pipelinerun import reasons

__all__ = [
    "CANCELLED_STATUS",
    "Children",
    "Combination",
    "combinations_of",
    "end_of",
    "is_cancelled",
    "kind_of",
    "kind_of_reference",
    "names_of",
    "reason_of",
    "running_of",
    "verdict_of",
    "was_cancelled",
    "was_ended_for_time",
]

Children = tuple[Object, ...]
"""The runs of one Pipeline Task that exist, in the order of their combinations."""

Combination = dict[str, str]
"""The params that one child gets beside those of its Pipeline Task; empty without a matrix."""

CANCELLED_STATUS: Final = {TASKRUNS: "TaskRunCancelled"}
"""``spec.status`` that cancels a child, by its kind."""


def kind_of(_task: Object) -> Kind:
    """Return the kind of a Pipeline Task's children."""
    return TASKRUNS


def kind_of_reference(_reference: Object) -> Kind:
    """Return the kind of a child that a status names, in ``childReferences`` or ``taskRuns``."""
    return TASKRUNS


def combinations_of(_task: Object) -> tuple[Combination, ...]:
    """Return the combinations of a Pipeline Task, one for each child it is to have, in order."""
    return ({},)


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
    names = []
    for index in range(count):
        name = child_name(pipelinerun, f"-{task}-{index}")
        if not name.endswith(f"-{index}"):
            longest = LONGEST_NAME - len(f"-{count}")
            name = f"{child_name(pipelinerun, f'-{task}')[:longest]}-{index}"
        names.append(name)
    return tuple(names)


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
    """Return whether one of the children ended because it was cancelled."""
    return any(succeeded(child).get("reason") == taskrun_reasons.CANCELLED for child in _failed(children))


def was_ended_for_time(children: Children) -> bool:
    """Return whether one of the children was cancelled because the time of the PipelineRun was over."""
    return any(child["spec"].get("statusMessage") == reasons.CHILD_TIMED_OUT for child in children)


def running_of(children: Children) -> list[Object]:
    """Return the children that have not ended and are not cancelled yet."""
    return [child for child in children if not is_done(child) and not is_cancelled(child)]


def is_cancelled(child: Object) -> bool:
    """Return whether a child is asked to end."""
    return child["spec"].get("status") in CANCELLED_STATUS.values()


def _failed(children: Children) -> Iterable[Object]:
    return (child for child in children if succeeded(child).get("status") == "False")
