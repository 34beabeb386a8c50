"""What the models of documents are made of: types of fields, and the structures of Kubernetes' own."""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from resultsfw.durations import parse_duration

__all__ = [
    "Claim",
    "ClaimTemplate",
    "Device",
    "Duration",
    "Model",
    "Mount",
    "Name",
    "OnError",
    "Open",
    "Plain",
    "Requirements",
    "ValueType",
    "Variable",
    "Volume",
    "quoted",
]

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LONGEST_NAME: Final = 63
"""Of a run, Task, Pipeline or Pipeline Task (Tekton's webhook): the names become labels' values."""

_SHOWN: Final = 80
"""Characters of a kind or apiVersion that a message shows."""


def quoted(text: str) -> str:
    """Return the beginning of a kind or apiVersion in quotation marks, for a message."""
    return f'"{text[:_SHOWN]}"'


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
