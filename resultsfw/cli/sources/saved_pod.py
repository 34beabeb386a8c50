"""The fields of a saved Pod that `resultsfw collect` and `resultsfw explain` read, and their types."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

__all__ = ["SavedPod"]


_Seconds = Annotated[int, Field(ge=0, lt=2**63)]
"""Seconds as the API server stores them."""


class _Fields(BaseModel):
    """What is read of a mapping; its other fields may be anything."""

    model_config = ConfigDict(strict=True, alias_generator=to_camel)


class _Metadata(_Fields):
    name: str
    namespace: str = ""
    uid: str = ""
    annotations: dict[str, Any] = {}
    owner_references: list[dict[str, Any]] = []
    deletion_timestamp: str | None = None


class _Container(_Fields):
    name: str
    args: list[str] = []


class _Terminated(_Fields):
    message: str = ""
    reason: str = ""
    exit_code: int = 0
    finished_at: str | None = None


class _State(_Fields):
    terminated: _Terminated = _Terminated()
    waiting: dict[str, Any] = {}
    running: dict[str, Any] = {}


class _ContainerStatus(_Fields):
    name: str
    state: _State = _State()


class _Spec(_Fields):
    containers: list[_Container]
    init_containers: list[_Container] = []
    ephemeral_containers: list[_Container] = []
    active_deadline_seconds: _Seconds | None = None
    termination_grace_period_seconds: _Seconds | None = None


class _Status(_Fields):
    phase: str = ""
    start_time: str | None = None
    conditions: list[dict[str, Any]] = []
    container_statuses: list[_ContainerStatus] = []
    init_container_statuses: list[_ContainerStatus] = []


class SavedPod(_Fields):
    """A Pod as kubectl saved it. It is validated only: other code reads the mapping itself."""

    metadata: _Metadata
    spec: _Spec
    status: _Status = _Status()
