"""Validate TaskRun, Task and StepAction documents by their shape; bad input is refused by its path."""

from typing import Annotated, Literal, Protocol, Self

from pydantic import Field, ValidationError, model_validator

from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.api.model_errors import field_errors
from resultsfw.tekton.api.model_parts import (
    Duration,
    Model,
    Name,
    Open,
    Plain,
    Requirements,
    Variable,
    Volume,
    quoted,
)
from resultsfw.tekton.api.task_models import Param, StepActionSpec, TaskRef, TaskSpec, WorkspaceBinding
from resultsfw.tekton.api.unsupported import unsupported_parts

__all__ = [
    "Breakpoints",
    "Debug",
    "Metadata",
    "PodTemplate",
    "Resources",
    "StepAction",
    "Task",
    "TaskRun",
    "TaskRunSpec",
    "refuse_foreign",
    "validate_document",
    "validate_step_action_document",
    "validate_task_document",
    "validate_taskrun_document",
]


class Resources(Model):
    """The ``computeResources`` a TaskRun gives to one Step or Sidecar."""

    name: str
    compute_resources: Requirements = Field(default_factory=Requirements)


class PodTemplate(Model):
    """What a TaskRun says about its pod as a whole."""

    node_selector: dict[str, str] = Field(default_factory=dict)
    env: list[Variable] = Field(default_factory=list)
    tolerations: list[Plain] = Field(default_factory=list)
    affinity: Plain | None = None
    security_context: Plain | None = None
    volumes: list[Volume] = Field(default_factory=list)
    runtime_class_name: str | None = None
    automount_service_account_token: bool | None = None
    dns_policy: str | None = None
    dns_config: Plain | None = None
    enable_service_links: bool | None = None
    priority_class_name: str | None = None
    scheduler_name: str = ""
    image_pull_secrets: list[Plain] = Field(default_factory=list)
    host_aliases: list[Plain] = Field(default_factory=list)
    host_network: bool = False
    host_users: bool | None = None
    topology_spread_constraints: list[Plain] = Field(default_factory=list)


class HasApiVersion(Protocol):
    """A reference to a Task or a Pipeline."""

    @property
    def api_version(self) -> str:
        """As it is written; empty where it is not."""


def refuse_foreign(reference: HasApiVersion | None, kind: str, field: str) -> None:
    """Refuse a reference to something that is not of Tekton's own kind, instead of running what has its name.

    Raises:
        ValueError: It is one to a custom task, or to a kind that is not known here.
    """
    if reference is None:
        return
    named = reference.kind if isinstance(reference, TaskRef) else ""
    if reference.api_version and reference.api_version.partition("/")[0] != "tekton.dev":
        raise ValueError(
            f"{field} names apiVersion {quoted(reference.api_version)}, kind {quoted(named)}: "
            f"custom tasks are not supported here; name a {kind}, without apiVersion and kind"
        )
    if named.lower() not in ("", kind.lower()):  # Tekton reads the kind of a custom task only
        raise ValueError(
            f"{field} names kind {quoted(named)}, which is not supported here: "
            f"name a {kind} of the run's namespace"
        )


class Breakpoints(Model):
    """The breakpoints at which a TaskRun waits for a person."""

    on_failure: Literal["", "enabled"] = ""
    before_steps: list[str] = Field(default_factory=list)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.before_steps)) < len(self.before_steps):
            raise ValueError("beforeSteps has a Step twice")
        return self


class Debug(Model):
    """How a TaskRun is debugged."""

    breakpoints: Breakpoints | None = None


class TaskRunSpec(Model):
    """What is to run, with what."""

    debug: Debug | None = None
    params: list[Param] = Field(default_factory=list)
    service_account_name: str = ""
    task_ref: TaskRef | None = None
    task_spec: TaskSpec | None = None
    status: Literal["", "TaskRunCancelled", "TaskRunPending"] = ""
    status_message: str = ""
    retries: Annotated[int, Field(ge=0)] = 0
    timeout: Duration | None = None
    pod_template: PodTemplate | None = None
    workspaces: list[WorkspaceBinding] = Field(default_factory=list)
    step_specs: list[Resources] = Field(default_factory=list)
    sidecar_specs: list[Resources] = Field(default_factory=list)
    compute_resources: Requirements | None = None
    managed_by: str | None = None

    @model_validator(mode="after")
    def _one_task(self) -> Self:
        if (self.task_ref is None) == (self.task_spec is None):
            raise ValueError("must have exactly one of taskRef and taskSpec")
        refuse_foreign(self.task_ref, "Task", "taskRef")
        return self


class Metadata(Open):
    """What is read of an object's metadata."""

    name: Name | None = None
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.name is None and not self.generate_name:
            raise ValueError("must have a name")
        return self


class TaskRun(Model):
    """A TaskRun; its status is not ours to refuse."""

    api_version: Literal["tekton.dev/v1"]
    kind: Literal["TaskRun"]
    metadata: Metadata
    spec: TaskRunSpec
    status: Plain = Field(default_factory=dict)


class Task(Model):
    """A Task."""

    api_version: Literal["tekton.dev/v1"]
    kind: Literal["Task"]
    metadata: Metadata
    spec: TaskSpec


class StepAction(Model):
    """A StepAction; the fields of its two versions are the same."""

    api_version: Literal["tekton.dev/v1beta1", "tekton.dev/v1alpha1"]
    kind: Literal["StepAction"]
    metadata: Metadata
    spec: StepActionSpec


def validate_taskrun_document(obj: Object) -> None:
    """Check a TaskRun document, as a person wrote it or as an API server returns it.

    Raises:
        InputError: It is none, or asks for what is not supported; ``subject`` is the path of the first wrong
            field.
    """
    validate_document(TaskRun, obj)


def validate_task_document(obj: Object) -> None:
    """Check a Task document.

    Raises:
        InputError: As `validate_taskrun_document`.
    """
    validate_document(Task, obj)


def validate_step_action_document(obj: Object) -> None:
    """Check a StepAction document.

    Raises:
        InputError: As `validate_taskrun_document`.
    """
    validate_document(StepAction, obj)


def validate_document(model: type[Model], obj: Object) -> None:
    """Check that a document has the shape of a model, and asks for nothing that is not supported.

    Nothing is returned: the document itself is what later stages read (decision 0035).

    Raises:
        InputError: It does not; ``subject`` is the path of the first wrong field.
    """
    problems = list(unsupported_parts(obj))
    if not problems:
        try:
            model.model_validate(obj)
        except ValidationError as error:
            problems = field_errors(model, error)
    if problems:
        text = "; ".join(f"{path}: {message}" if path else message for path, message in problems)
        raise InputError(text, subject=problems[0][0])
