"""The shape of TaskRun and Task documents: bad input is refused here, by the path of its field."""

import difflib
import re
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.durations import parse_duration

__all__ = ["Task", "TaskRun", "TaskSpec", "parse_task", "parse_taskrun"]

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LONGEST_NAME: Final = 253
_SHOWN: Final = 80
_KINDS: Final = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number"}


def _name(text: str) -> str:
    if len(text) > _LONGEST_NAME or not _NAME.fullmatch(text):
        rule = f'use at most {_LONGEST_NAME} lower case letters, digits, "-" and "."'
        raise ValueError(f'"{text[:_SHOWN]}" is no name: {rule}')
    return text


def _duration(text: str) -> str:
    if parse_duration(text) < 0:
        raise ValueError(f'"{text}" is below zero')
    return text


def _on_error(text: str) -> str:
    if text not in {"continue", "stopAndFail"} and not text.startswith("$(params"):
        raise ValueError(f'"{text[:_SHOWN]}" is neither "continue" nor "stopAndFail"')
    return text


Plain = dict[str, Any]
"""A structure of Kubernetes' own, which the API server checks when the pod is made."""

Name = Annotated[str, AfterValidator(_name)]
Duration = Annotated[str, AfterValidator(_duration)]
OnError = Annotated[str, AfterValidator(_on_error)]
Kind = Literal["string", "array", "object"]


class _Model(BaseModel):
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


class Property(_Model):
    """The type of one key of an object parameter or result."""

    type: Literal["string"] = "string"


class ParamSpec(_Model):
    """A parameter a Task takes."""

    name: str
    type: Kind | None = None
    description: str = ""
    properties: dict[str, Property | None] | None = None
    default: Any = None
    enum: list[str] = []


class Param(_Model):
    """A parameter's value."""

    name: str
    value: Any = ""


class Result(_Model):
    """A result a Task or a Step declares."""

    name: str
    type: Kind | None = None
    properties: dict[str, Property | None] | None = None
    description: str = ""


class TaskResult(Result):
    """A Task's result, which may be taken from a Step's."""

    value: Any = None


class WorkspaceDeclaration(_Model):
    """A workspace a Task uses."""

    name: str
    description: str = ""
    mount_path: str = ""
    read_only: bool = False
    optional: bool = False


class WorkspaceUsage(_Model):
    """A workspace that only some Steps or Sidecars see."""

    name: str
    mount_path: str = ""


class WorkspaceBinding(_Model):
    """What a TaskRun binds to a workspace."""

    name: str
    sub_path: str = ""
    volume_claim_template: Plain | None = None
    persistent_volume_claim: Plain | None = None
    empty_dir: Plain | None = None
    config_map: Plain | None = None
    secret: Plain | None = None
    projected: Plain | None = None
    csi: Plain | None = None


class StepTemplate(_Model):
    """What all Steps have unless they say otherwise."""

    image: str = ""
    command: list[str] = []
    args: list[str] = []
    working_dir: str = ""
    env_from: list[Plain] = []
    env: list[Plain] = []
    compute_resources: Plain = {}
    volume_mounts: list[Plain] = []
    volume_devices: list[Plain] = []
    image_pull_policy: str = ""
    security_context: Plain | None = None


class Output(_Model):
    """Where a Step's standard output or error goes as well."""

    path: str = ""


class When(_Model):
    """A condition of a Step."""

    input: str = ""
    operator: str = ""
    values: list[str] = []
    cel: str = ""


class Reference(_Model):
    """A Task or StepAction by name or resolver."""

    name: str = ""
    kind: str = ""
    api_version: str = ""
    resolver: str = ""
    params: list[Param] = []


class Step(StepTemplate):
    """One Step."""

    name: str = ""
    display_name: str = ""
    script: str = ""
    timeout: Duration | None = None
    workspaces: list[WorkspaceUsage] = []
    on_error: OnError | None = None
    stdout_config: Output | None = None
    stderr_config: Output | None = None
    ref: Reference | None = None
    params: list[Param] = []
    results: list[Result] = []
    when: list[When] = []


class Sidecar(StepTemplate):
    """One Sidecar."""

    name: str
    ports: list[Plain] = []
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
    workspaces: list[WorkspaceUsage] = []
    restart_policy: str | None = None


class TaskSpec(_Model):
    """What a Task does."""

    params: list[ParamSpec] = []
    display_name: str = ""
    description: str = ""
    steps: list[Step] = []
    volumes: list[Plain] = []
    step_template: StepTemplate | None = None
    sidecars: list[Sidecar] = []
    workspaces: list[WorkspaceDeclaration] = []
    results: list[TaskResult] = []


class Resources(_Model):
    """The ``computeResources`` a TaskRun gives to one Step or Sidecar."""

    name: str
    compute_resources: Plain = {}


class TaskRunSpec(_Model):
    """What is to run, with what."""

    debug: Plain | None = None
    params: list[Param] = []
    service_account_name: str = ""
    task_ref: Reference | None = None
    task_spec: TaskSpec | None = None
    status: Literal["", "TaskRunCancelled", "TaskRunPending"] = ""
    status_message: str = ""
    retries: Annotated[int, Field(ge=0)] = 0
    timeout: Duration | None = None
    pod_template: Plain | None = None
    workspaces: list[WorkspaceBinding] = []
    step_specs: list[Resources] = []
    sidecar_specs: list[Resources] = []
    compute_resources: Plain | None = None
    managed_by: str | None = None

    @model_validator(mode="after")
    def _one_task(self) -> Self:
        if (self.task_ref is None) == (self.task_spec is None):
            raise ValueError("must have exactly one of taskRef and taskSpec")
        return self


class Metadata(_Model):
    """What is read of an object's metadata; the rest is the API server's."""

    model_config = ConfigDict(extra="allow")

    name: Name | None = None
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.name is None and not self.generate_name:
            raise ValueError("must have a name")
        return self


class TaskRun(_Model):
    """A TaskRun; its status is not ours to refuse."""

    api_version: Literal["tekton.dev/v1"]
    kind: Literal["TaskRun"]
    metadata: Metadata
    spec: TaskRunSpec
    status: Plain = {}


class Task(_Model):
    """A Task."""

    api_version: Literal["tekton.dev/v1"]
    kind: Literal["Task"]
    metadata: Metadata
    spec: TaskSpec


_Document = TypeVar("_Document", TaskRun, Task)


def parse_taskrun(obj: Object) -> TaskRun:
    """A TaskRun document, as a person wrote it or as an API server returns it.

    Raises:
        InputError: It is none; ``subject`` is the path of the first wrong field.
    """
    return _parsed(TaskRun, obj)


def parse_task(obj: Object) -> Task:
    """A Task document.

    Raises:
        InputError: It is none; ``subject`` is the path of the first wrong field.
    """
    return _parsed(Task, obj)


def _parsed(model: type[_Document], obj: Object) -> _Document:
    try:
        return model.model_validate(obj)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        problems = [(_path(problem["loc"]), _said(model, problem)) for problem in errors]
    raise InputError(
        "; ".join(f"{path}: {said}" if path else said for path, said in problems), subject=problems[0][0]
    )


def _path(location: tuple[int | str, ...]) -> str:
    """A field's path as people write it: ``spec.steps[1].onError``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def _said(model: type[BaseModel], problem: ErrorDetails) -> str:
    """A problem in words a person understands."""
    kind, given = problem["type"], problem["input"]
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(problem["loc"][-1]), _fields(model, problem["loc"][:-1]), 1, 0.7)
        return f'unknown field; did you mean "{near[0]}"?' if near else "unknown field"
    if kind == "literal_error":
        return f"must be {problem['ctx']['expected']}, not {_shown(given)}"
    if kind == "greater_than_equal":
        return f"must be at least {problem['ctx']['ge']}, not {given}"
    wanted = {
        "string_type": "text",
        "list_type": "a list",
        "dict_type": "a mapping",
        "model_type": "a mapping",
        "bool_type": "true or false",
        "int_type": "a whole number",
    }.get(kind)
    if wanted is None:
        return problem["msg"]
    hint = " (put it in quotes)" if kind == "string_type" and isinstance(given, bool | int | float) else ""
    return f"must be {wanted}, not {_shown(given)}{hint}"


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value[:_SHOWN]}"'
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return _KINDS.get(type(value), "nothing" if value is None else type(value).__name__)


def _fields(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The fields that are known where a document has another one."""
    here: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or here is None:
            continue
        field = next((field for field in here.model_fields.values() if field.alias == part), None)
        here = None if field is None else _model_in(field.annotation)
    return [field.alias or "" for field in here.model_fields.values()] if here else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model in ``X``, ``list[X]``, ``X | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    arguments = getattr(annotation, "__args__", ())
    return next((model for model in map(_model_in, arguments) if model is not None), None)
