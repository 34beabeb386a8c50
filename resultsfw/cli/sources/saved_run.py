"""The fields of a run's status that the commands read, and their types: a status may have any."""

from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from resultsfw.cli.files.inputs import Document
from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.api.kinds import TASKS
from resultsfw.tekton.api.model_errors import field_errors
from resultsfw.tekton.api.models import validate_task_document

__all__ = ["checked_status", "result_values"]


class _Fields(BaseModel):
    """What is read of a mapping; its other fields may be anything."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)


class _Metadata(_Fields):
    name: str
    namespace: str = ""
    uid: str = ""
    creation_timestamp: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[dict[str, Any]] = []


class _Condition(_Fields):
    type: str
    status: str = ""
    reason: str = ""
    message: str = ""


class _Result(_Fields):
    name: str
    type: str = ""
    value: Any


class _Terminated(_Fields):
    exit_code: int = 0


class _Step(_Fields):
    name: str
    container: str = ""
    results: list[_Result] = []
    terminated: _Terminated = _Terminated()


class _Child(_Fields):
    name: str = ""
    kind: str = ""
    pipeline_task_name: str = ""
    display_name: str = ""


class _Skipped(_Fields):
    name: str
    reason: str = ""


class _Provenance(_Fields):
    feature_flags: dict[str, Any] = {}


class _DeclaredResult(_Fields):
    name: str
    type: str = ""
    properties: dict[str, Any] = {}
    value: Any = None


class _StepSpec(_Fields):
    name: str = ""
    results: list[_DeclaredResult] = []


class _Spec(_Fields):
    """A Task's or a Pipeline's."""

    results: list[_DeclaredResult] = []
    steps: list[_StepSpec] = []


class _Attempt(_Fields):
    provenance: _Provenance = _Provenance()


class _Status(_Attempt):
    conditions: list[_Condition] = []
    pod_name: str = ""
    start_time: str = ""
    completion_time: str = ""
    results: list[_Result] = []
    steps: list[_Step] = []
    task_spec: _Spec = _Spec()
    pipeline_spec: _Spec = _Spec()
    child_references: list[_Child] = []
    task_runs: dict[str, _Child] = {}
    skipped_tasks: list[_Skipped] = []
    retries_status: list[_Attempt] = []


class _Run(_Fields):
    metadata: _Metadata
    spec: dict[str, Any] = {}
    status: _Status = _Status()


_TASK: Final = {"apiVersion": TASKS.api_version, "kind": TASKS.kind, "metadata": {"name": "task"}}
_SPEC: Final = "status.taskSpec"


def checked_status(document: Document, *, deep: bool = False) -> Document:
    """Validate the types of what is read of a run, and return it.

    Args:
        document: A TaskRun or a PipelineRun.
        deep: Validate the Task in the status as a Task, too.

    Raises:
        InputError: A field has another type; the message names the document and the field.
    """
    try:
        _Run.model_validate(document.obj)
    except ValidationError as error:
        field, why = field_errors(_Run, error)[0]
        raise document.refuse(why, field) from None
    task = (document.obj.get("status") or {}).get("taskSpec")
    if deep and task:
        try:
            validate_task_document({**_TASK, "spec": task})
        except InputError as error:
            raise document.refuse(error.message, _SPEC) from error
    return document


def result_values(run: Object) -> Iterator[tuple[str, Any]]:
    """Yield name and value of each result in a checked status; ``STEP.RESULT`` names a Step's own."""
    status = run.get("status") or {}
    for step in status.get("steps") or ():
        for result in step.get("results") or ():
            yield f"{step['name']}.{result['name']}", result["value"]
    # Last, to win in a mapping: a Task's result can have such a name, too.
    yield from ((result["name"], result["value"]) for result in status.get("results") or ())
