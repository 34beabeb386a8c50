"""Validate PipelineRun and Pipeline documents by their shape; bad input is refused by its field's path."""

# ruff: noqa: RUF012 - pydantic copies what fields begin with

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from resultsfw.cluster import Object
from resultsfw.tekton.api.model_parts import (
    Duration,
    Model,
    Name,
    OnError,
    Plain,
    Requirements,
    ValueType,
    quoted,
)
from resultsfw.tekton.api.models import Metadata, PodTemplate, Resources, refuse_foreign, validate_document
from resultsfw.tekton.api.task_models import Param, ParamSpec, Ref, TaskRef, TaskSpec, When, WorkspaceBinding

__all__ = [
    "Pipeline",
    "PipelineRun",
    "PipelineSpec",
    "validate_pipeline_document",
    "validate_pipelinerun_document",
]


class EmbeddedMetadata(Model):
    """Labels and annotations for the TaskRun of an embedded Task."""

    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)


class EmbeddedTask(TaskSpec):
    """A Task in a Pipeline's own text."""

    metadata: EmbeddedMetadata = EmbeddedMetadata()
    api_version: str = ""
    kind: str = ""
    spec: Any = None


class PipelineWorkspace(Model):
    """A workspace a Pipeline uses."""

    name: str
    description: str = ""
    optional: bool = False


class TaskWorkspace(Model):
    """Which of the Pipeline's workspaces a Task gets."""

    name: str
    workspace: str = ""
    sub_path: str = ""


class PipelineResult(Model):
    """A result of a Pipeline, from its Tasks'."""

    name: str
    type: ValueType | None = None
    description: str = ""
    value: Any


class PipelineWhen(When):
    """A condition of a Pipeline Task."""

    @model_validator(mode="after")
    def _built(self) -> Self:
        if self.cel:
            if self.input or self.operator or self.values:
                raise ValueError("cel and input+operator+values cannot be set in one WhenExpression")
            return self
        if self.operator not in ("in", "notin"):
            raise ValueError(f'operator "{self.operator}" is not recognized. valid operators: in,notin')
        if not self.values:
            raise ValueError("expecting non-empty values field")
        return self


class PipelineRef(Ref):
    """A Pipeline by name or resolver."""

    api_version: str = ""


class IncludeParams(Model):
    """Params for some combinations of a matrix, or for one of its own."""

    name: str = ""
    params: list[Param] = []


class Matrix(Model):
    """Arrays of which a Pipeline Task gets each combination."""

    params: list[Param] = []
    include: list[IncludeParams] = []


class PipelineTask(Model):
    """One Task of a Pipeline."""

    name: Name
    display_name: str = ""
    description: str = ""
    task_ref: TaskRef | None = None
    task_spec: EmbeddedTask | None = None
    pipeline_ref: PipelineRef | None = None
    pipeline_spec: "PipelineSpec | None" = None
    when: list[PipelineWhen] = []
    retries: Annotated[int, Field(ge=0)] = 0
    run_after: list[str] = []
    params: list[Param] = []
    matrix: Matrix | None = None
    workspaces: list[TaskWorkspace] = []
    timeout: Duration | None = None
    on_error: OnError | None = None

    @model_validator(mode="after")
    def _built(self) -> Self:
        given = (self.task_ref, self.task_spec, self.pipeline_ref, self.pipeline_spec)
        if sum(field is not None for field in given) != 1:
            raise ValueError(
                f'Pipeline Task "{self.name}" must have exactly one of taskRef, taskSpec, pipelineRef and '
                f"pipelineSpec"
            )
        if wrong := _wrong_custom_task(self.task_ref, self.task_spec):
            raise ValueError(f'Pipeline Task "{self.name}": {wrong}')
        refuse_foreign(self.pipeline_ref, "Pipeline", f'Pipeline Task "{self.name}": pipelineRef')
        return self


def _wrong_custom_task(reference: TaskRef | None, spec: EmbeddedTask | None) -> str:
    """Return what is wrong with a custom task, in Tekton's words; empty if nothing is, and for other Tasks.

    A Pipeline Task with an apiVersion, or a kind other than ``Task``, is a custom task
    (``validateCustomTask``).
    """
    if spec is not None and spec.steps:
        for field in ("apiVersion", "kind"):
            if spec.api_version if field == "apiVersion" else spec.kind:
                return f"taskSpec.{field} cannot be specified when using taskSpec.steps"
    named, what, field = (reference, "ref", "taskRef") if spec is None else (spec, "spec", "taskSpec")
    if named is None or not (named.api_version or named.kind not in ("", "Task")):
        if spec is not None and spec.spec is not None:
            return "taskSpec.spec is of a custom task: give it an apiVersion and a kind, too"
        return ""
    if not named.kind:
        return f"invalid value: custom task {what} must specify kind: {field}.kind"
    if not named.api_version:
        return f"invalid value: custom task {what} must specify apiVersion: {field}.apiVersion"
    group, _, version = named.api_version.partition("/")
    if not group or not version or "/" in version:
        return (
            f"invalid value: invalid apiVersion format {quoted(named.api_version)}, must be in the format "
            f'"group/version": {field}.apiVersion'
        )
    return ""


class PipelineSpec(Model):
    """What a Pipeline does."""

    display_name: str = ""
    description: str = ""
    tasks: list[PipelineTask] = Field(default_factory=list)
    params: list[ParamSpec] = Field(default_factory=list)
    workspaces: list[PipelineWorkspace] = Field(default_factory=list)
    results: list[PipelineResult] = Field(default_factory=list)
    finally_: list[PipelineTask] = Field(default=[], alias="finally")


PipelineTask.model_rebuild()  # it names PipelineSpec, which is defined only now


class Timeouts(Model):
    """How long a PipelineRun and its two parts may take."""

    pipeline: Duration | None = None
    tasks: Duration | None = None
    finally_: Duration | None = Field(default=None, alias="finally")


class TaskRunTemplate(Model):
    """What all TaskRuns of a PipelineRun have."""

    pod_template: PodTemplate | None = None
    service_account_name: str = ""


class TaskRunSpec(Model):
    """What the TaskRun of one Pipeline Task has."""

    pipeline_task_name: str = ""
    service_account_name: str = ""
    pod_template: PodTemplate | None = None
    step_specs: list[Resources] = Field(default_factory=list)
    sidecar_specs: list[Resources] = Field(default_factory=list)
    metadata: EmbeddedMetadata | None = None
    compute_resources: Requirements | None = None
    timeout: Duration | None = None


class PipelineRunSpec(Model):
    """What is to run, with what."""

    pipeline_ref: PipelineRef | None = None
    pipeline_spec: PipelineSpec | None = None
    params: list[Param] = Field(default_factory=list)
    status: Literal["", "Cancelled", "CancelledRunFinally", "StoppedRunFinally", "PipelineRunPending"] = ""
    timeouts: Timeouts = Field(default_factory=Timeouts)
    task_run_template: TaskRunTemplate = Field(default_factory=TaskRunTemplate)
    workspaces: list[WorkspaceBinding] = Field(default_factory=list)
    task_run_specs: list[TaskRunSpec] = Field(default_factory=list)
    managed_by: str | None = None

    @model_validator(mode="after")
    def _one_pipeline(self) -> Self:
        if (self.pipeline_ref is None) == (self.pipeline_spec is None):
            raise ValueError("must have exactly one of pipelineRef and pipelineSpec")
        refuse_foreign(self.pipeline_ref, "Pipeline", "pipelineRef")
        return self


class PipelineRun(Model):
    """A PipelineRun; its status is not ours to refuse."""

    api_version: Literal["tekton.dev/v1"]
    kind: Literal["PipelineRun"]
    metadata: Metadata
    spec: PipelineRunSpec
    status: Plain = Field(default_factory=dict)


class Pipeline(Model):
    """A Pipeline."""

    api_version: Literal["tekton.dev/v1"]
    kind: Literal["Pipeline"]
    metadata: Metadata
    spec: PipelineSpec


def validate_pipelinerun_document(obj: Object) -> None:
    """Check a PipelineRun document, as a person wrote it or as an API server returns it.

    Raises:
        InputError: It is none, or asks for what is not supported; ``subject`` is the path of the first wrong
            field.
    """
    validate_document(PipelineRun, obj)


def validate_pipeline_document(obj: Object) -> None:
    """Check a Pipeline document.

    Raises:
        InputError: As `validate_pipelinerun_document`.
    """
    validate_document(Pipeline, obj)
