"""Validate TaskRun and Task documents by their shape; bad input is refused by the path of its field."""

import re
from typing import Annotated, Any, Final, Literal, Protocol, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.api.durations import parse_duration
from resultsfw.tekton.api.model_errors import field_errors
from resultsfw.tekton.api.unsupported import unsupported_parts

__all__ = [
    "Model",
    "Ref",
    "StepAction",
    "Task",
    "TaskRun",
    "TaskSpec",
    "is_url",
    "refuse_foreign",
    "validate_document",
    "validate_step_action_document",
    "validate_task_document",
    "validate_taskrun_document",
]

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LONGEST_NAME: Final = 63
"""Of a run, Task, Pipeline or Pipeline Task (Tekton's webhook): the names become labels' values."""


_URL: Final = re.compile(r"[A-Za-z0-9_-]:/")

_SHOWN: Final = 80
"""Characters of a kind or apiVersion that a message shows."""


def is_url(name: str) -> bool:
    """Return whether a reference's name is a URL, as Tekton tells (RefNameLikeUrl): it is for a resolver."""
    return _URL.search(name) is not None


def _name(text: str) -> str:
    if len(text) > _LONGEST_NAME or not _NAME.fullmatch(text):
        rule = f'use at most {_LONGEST_NAME} lower case letters, digits, "-" and "."'
        raise ValueError(f"is no name: {rule}")
    return text


def _duration(text: str) -> str:
    if parse_duration(text) < 0:
        raise ValueError("is below zero")
    return text


def _on_error(text: str) -> str:
    if text not in {"continue", "stopAndFail"} and not text.startswith("$(params"):
        raise ValueError('is neither "continue" nor "stopAndFail"')
    return text


Plain = dict[str, Any]
"""A structure of Kubernetes' own, which the API server checks when the pod is made."""

Name = Annotated[str, AfterValidator(_name)]
Duration = Annotated[str, AfterValidator(_duration)]
OnError = Annotated[str, AfterValidator(_on_error)]
ValueType = Literal["string", "array", "object"]


class Model(BaseModel):
    """Tekton's own structures: unknown fields are refused; a field without a value counts as absent."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, alias_generator=to_camel)

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        return (
            {key: value for key, value in data.items() if value is not None}
            if isinstance(data, dict)
            else data
        )


class Open(Model):
    """Kubernetes' own structures: what is read of them is checked, the rest is the API server's."""

    model_config = ConfigDict(extra="allow")


class Variable(Open):
    """A variable of a container."""

    name: str
    value: str = ""


class Mount(Open):
    """A volume in a container."""

    name: str
    mount_path: str
    sub_path: str = ""


class Device(Open):
    """A block device in a container."""

    name: str
    device_path: str


class Volume(Open):
    """A volume of a pod."""

    name: str


class Requirements(Open):
    """Requests and limits."""

    requests: Plain = Field(default_factory=dict)
    limits: Plain = Field(default_factory=dict)


class Claim(Open):
    """A claim that exists."""

    claim_name: str = ""


class ClaimTemplate(Open):
    """A claim to make."""

    metadata: Plain = Field(default_factory=dict)


class Property(Model):
    """The type of one key of an object parameter or result."""

    type: Literal["string"] = "string"


class ParamSpec(Model):
    """A parameter a Task takes."""

    name: str
    type: ValueType | None = None
    description: str = ""
    properties: dict[str, Property | None] | None = None
    default: Any = None
    enum: list[str] = Field(default_factory=list)


class Param(Model):
    """A parameter's value."""

    name: str
    value: Any = ""


class Result(Model):
    """A result a Task or a Step declares."""

    name: str
    type: ValueType | None = None
    properties: dict[str, Property | None] | None = None
    description: str = ""


class TaskResult(Result):
    """A Task's result, which may be taken from a Step's."""

    value: Any = None


class WorkspaceDeclaration(Model):
    """A workspace a Task uses."""

    name: str
    description: str = ""
    mount_path: str = ""
    read_only: bool = False
    optional: bool = False


class WorkspaceUsage(Model):
    """A workspace that only some Steps or Sidecars see."""

    name: str
    mount_path: str = ""


class WorkspaceBinding(Model):
    """What a TaskRun binds to a workspace."""

    name: str
    sub_path: str = ""
    volume_claim_template: ClaimTemplate | None = None
    persistent_volume_claim: Claim | None = None
    empty_dir: Plain | None = None
    config_map: Plain | None = None
    secret: Plain | None = None
    projected: Plain | None = None
    csi: Plain | None = None


class StepTemplate(Model):
    """What all Steps have unless they say otherwise."""

    image: str = ""
    command: list[str] = Field(default_factory=list)
    args: list[str] = Field(default_factory=list)
    working_dir: str = ""
    env_from: list[Plain] = Field(default_factory=list)
    env: list[Variable] = Field(default_factory=list)
    compute_resources: Requirements = Field(default_factory=Requirements)
    volume_mounts: list[Mount] = Field(default_factory=list)
    volume_devices: list[Device] = Field(default_factory=list)
    image_pull_policy: str = ""
    security_context: Plain | None = None


class Output(Model):
    """Where a Step's standard output or error goes as well."""

    path: str = ""


class When(Model):
    """A condition of a Step."""

    input: str = ""
    operator: str = ""
    values: list[str] = Field(default_factory=list)
    cel: str = ""


class Ref(Model):
    """A reference by name or resolver. The rules, and their words, are those of Tekton's validateRef."""

    name: str = ""
    resolver: str = ""
    params: list[Param] = Field(default_factory=list)

    @model_validator(mode="after")
    def _resolvable(self) -> Self:
        if self.name and self.params:
            raise ValueError("expected exactly one, got both: name, params")
        if self.params and not self.resolver:
            raise ValueError("missing field(s): resolver")
        if self.name and self.resolver and not is_url(self.name):
            raise ValueError("invalid value: invalid URI for request: name")
        if self.name and not self.resolver and is_url(self.name):
            raise ValueError("missing field(s): resolver")
        return self


class TaskRef(Ref):
    """A Task by name or resolver."""

    kind: str = ""
    api_version: str = ""


class TaskStep(StepTemplate):
    """One Step."""

    name: str = ""
    display_name: str = ""
    script: str = ""
    timeout: Duration | None = None
    workspaces: list[WorkspaceUsage] = Field(default_factory=list)
    on_error: OnError | None = None
    stdout_config: Output | None = None
    stderr_config: Output | None = None
    ref: Ref | None = None
    params: list[Param] = Field(default_factory=list)
    results: list[Result] = Field(default_factory=list)
    when: list[When] = Field(default_factory=list)


class Sidecar(StepTemplate):
    """One Sidecar."""

    name: str = ""
    ports: list[Plain] = Field(default_factory=list)
    liveness_probe: Plain | None = None
    readiness_probe: Plain | None = None
    startup_probe: Plain | None = None
    lifecycle: Plain | None = None
    termination_message_path: str = ""
    termination_message_policy: str = ""
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    script: str = ""
    workspaces: list[WorkspaceUsage] = Field(default_factory=list)
    restart_policy: str | None = None


class TaskSpec(Model):
    """What a Task does."""

    params: list[ParamSpec] = Field(default_factory=list)
    display_name: str = ""
    description: str = ""
    steps: list[TaskStep] = Field(default_factory=list)
    volumes: list[Volume] = Field(default_factory=list)
    step_template: StepTemplate | None = None
    sidecars: list[Sidecar] = Field(default_factory=list)
    workspaces: list[WorkspaceDeclaration] = Field(default_factory=list)
    results: list[TaskResult] = Field(default_factory=list)


class StepActionSpec(Model):
    """What a Step does that refers to it."""

    description: str = ""
    image: str = ""
    command: list[str] = Field(default_factory=list)
    args: list[str] = Field(default_factory=list)
    env: list[Variable] = Field(default_factory=list)
    script: str = ""
    working_dir: str = ""
    params: list[ParamSpec] = Field(default_factory=list)
    results: list[Result] = Field(default_factory=list)
    security_context: Plain | None = None
    volume_mounts: list[Mount] = Field(default_factory=list)


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
            f"{field} names apiVersion {_quoted(reference.api_version)}, kind {_quoted(named)}: "
            f"custom tasks are not supported here; name a {kind}, without apiVersion and kind"
        )
    if named.lower() not in ("", kind.lower()):  # Tekton reads the kind of a custom task only
        raise ValueError(
            f"{field} names kind {_quoted(named)}, which is not supported here: "
            f"name a {kind} of the run's namespace"
        )


def _quoted(text: str) -> str:
    return f'"{text[:_SHOWN]}"'


class Breakpoints(Model):
    """Where a TaskRun waits for a person."""

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
