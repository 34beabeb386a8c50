"""Models of what a Task and a StepAction consist of: Steps, Sidecars, parameters, results, workspaces."""

import re
from typing import Any, Final, Literal, Self

from pydantic import Field, model_validator

from resultsfw.tekton.api.model_parts import (
    Claim,
    ClaimTemplate,
    Device,
    Duration,
    Model,
    Mount,
    OnError,
    Plain,
    Requirements,
    ValueType,
    Variable,
    Volume,
)

__all__ = [
    "Output",
    "Param",
    "ParamSpec",
    "Property",
    "Ref",
    "Result",
    "Sidecar",
    "StepActionSpec",
    "StepTemplate",
    "TaskRef",
    "TaskResult",
    "TaskSpec",
    "TaskStep",
    "When",
    "WorkspaceBinding",
    "WorkspaceDeclaration",
    "WorkspaceUsage",
    "is_url",
]

_URL: Final = re.compile(r"[A-Za-z0-9_-]:/")


def is_url(name: str) -> bool:
    """Return whether a reference's name is a URL, as Tekton tells (RefNameLikeUrl): it is for a resolver."""
    return _URL.search(name) is not None


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
    """The fields that all Steps have unless they set their own."""

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
