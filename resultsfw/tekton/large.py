"""Large parameters: as files for Steps to read, and refused where Linux would not take them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.params import param_value
from resultsfw.tekton.scripts import PARAMS_DIR

__all__ = ["FILE_BYTES", "WALL_BYTES", "beyond_wall", "large_params"]

FILE_BYTES: Final = 32_768
"""Bytes of a parameter above which it lies as a file at ``/tekton/params/NAME``, too."""

WALL_BYTES: Final = 131_071
"""Bytes of one argument, or of one variable with its name: Linux' ``MAX_ARG_STRLEN`` less its end."""


def large_params(taskrun: Object, task_spec: Object) -> dict[str, bytes]:
    """The run's parameters that are large, by name: a string as it is, an array or object as JSON."""
    values: dict[str, Any] = {
        one["name"]: one["default"] for one in task_spec.get("params") or () if one.get("default") is not None
    }
    values |= {one["name"]: one.get("value") for one in (taskrun.get("spec") or {}).get("params") or ()}
    texts = {name: _bytes(param_value(value)) for name, value in values.items()}
    return {name: text for name, text in texts.items() if len(text) > FILE_BYTES}


def beyond_wall(containers: Sequence[Object], params: Mapping[str, bytes]) -> str:
    """Why a container's process could never be started: an argument or variable no kernel takes."""
    for container in containers:
        words = [*(container.get("command") or ()), *(container.get("args") or ())]
        for word in words:
            if len(text := word.encode()) > WALL_BYTES:
                return _told(container["name"], "an argument", text, params)
        for variable in container.get("env") or ():
            text = f"{variable['name']}={variable.get('value') or ''}".encode()
            if len(text) > WALL_BYTES:
                return _told(container["name"], f'the variable "{variable["name"]}"', text, params)
    return ""


def _told(container: str, what: str, text: bytes, params: Mapping[str, bytes]) -> str:
    inside = [(name, len(value)) for name, value in params.items() if value in text]
    said = (
        f'{what} of container "{container}" has {len(text)} bytes, over the limit of {WALL_BYTES} bytes that '
        f"Linux sets to one"
    )
    if not inside:
        return said
    name, size = max(inside, key=lambda one: one[1])
    return f'{said}; parameter "{name}" has {size} bytes of them: read it from the file {PARAMS_DIR}/{name}'


def _bytes(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")
