"""Check that the status of a child that another controller writes can be read.

The CRD of CustomRuns keeps whatever anybody writes into their status.
"""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import Field, ValidationError

from resultsfw.cluster import UNREADABLE, Kind, Object
from resultsfw.tekton.api.kinds import CUSTOMRUNS, TASKRUNS
from resultsfw.tekton.api.model_errors import field_errors
from resultsfw.tekton.api.model_parts import Open, Plain
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.pipelinerun import reasons

__all__ = ["refuse_unreadable", "unreadable_part"]

_SHOWN: Final = 300
"""Characters of a defect that a message shows."""


class _Condition(Open):
    """A condition."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""


class _Result(Open):
    """A result of a PipelineRun."""

    name: str
    value: Any


class _Text(_Result):
    """A result of a CustomRun."""

    value: str


class _Status(Open):
    """What is read of a status."""

    conditions: list[_Condition] = Field(default_factory=list)
    results: Sequence[_Result] = Field(default_factory=list)


class _CustomRunStatus(_Status):
    """What is read of a CustomRun's status."""

    results: Sequence[_Text] = Field(default_factory=list)


class _Child(Open):
    """What is read of a child PipelineRun."""

    spec: Plain
    status: _Status = Field(default_factory=_Status)


class _CustomRun(_Child):
    """What is read of a CustomRun."""

    status: _CustomRunStatus = Field(default_factory=_CustomRunStatus)


def refuse_unreadable(kind: Kind, child: Object) -> None:
    """Refuse a CustomRun or child PipelineRun with malformed fields among those that are read.

    Raises:
        RefusedRun: A field is malformed; the message names the child and the field.
    """
    if defect := unreadable_part(kind, child):
        message = f'{kind.kind} "{child["metadata"]["name"]}" cannot be read: {defect}'
        raise RefusedRun(reasons.INVALID, message)


def unreadable_part(kind: Kind, child: Object) -> str:
    """Return path and defect of a malformed field of a CustomRun or child PipelineRun; empty without one.

    Args:
        kind: Of the child; TaskRuns are checked where they are reconciled.
        child: As read.
    """
    if kind == TASKRUNS:
        return ""
    if kind == CUSTOMRUNS and isinstance(defect := child.get(UNREADABLE), str):
        return defect[:_SHOWN]
    model = _CustomRun if kind == CUSTOMRUNS else _Child
    try:
        model.model_validate(child)
    except ValidationError as error:
        path, why = field_errors(model, error)[0]
        return f"{path} {why}"
    return ""
