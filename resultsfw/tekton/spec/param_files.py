"""Place large parameters as files for Steps to read, and refuse them where Linux would not take them."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.limits import OBJECT_BYTES, OBJECT_HEADROOM, object_size
from resultsfw.tekton.spec.params import given_params, has_references, is_reference, param_value
from resultsfw.tekton.spec.variables import map_texts, protect

__all__ = [
    "ARGUMENT_BYTES",
    "LARGE_PARAM_BYTES",
    "PARAMS_DIR",
    "can_be_file",
    "compact_spec",
    "exceeds_argument_limit",
    "expand_compact_spec",
    "is_large",
    "is_needed_as_file",
    "large_params",
    "largest_param_note",
    "named_param_files",
    "params_as_files",
]


PARAMS_DIR: Final = "/tekton/params"
"""Where a large parameter lies as a file, under its name."""

_FILE: Final = re.compile(re.escape(PARAMS_DIR) + r"(?:/+([A-Za-z0-9_.-]+)|(?![A-Za-z0-9_.-]))")
"""The file of a parameter, or the folder with no name behind it that is seen."""

_FILE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""A parameter's name. No Task can declare others, and what a run calls so is no part of a path or a shell."""

ARGUMENT_BYTES: Final = 131_071
"""Bytes of one argument, or of one variable with its name: Linux' ``MAX_ARG_STRLEN`` less its end."""

_CAPACITY: Final = OBJECT_BYTES - 2 * OBJECT_HEADROOM
"""Bytes of a TaskRun with its Task's spec in the status, beside all else that comes into one."""

LARGE_PARAM_BYTES: Final = 32_768
"""Bytes of a parameter above which it is large: a script that holds it takes it from its file."""


def large_params(taskrun: Object, task_spec: Object) -> dict[str, bytes]:
    """Return the run's large parameters by name: a string as it is, an array or object as JSON."""
    return {name: text for name, text in _contents(taskrun, task_spec).items() if is_large(text)}


def params_as_files(
    taskrun: Object, task_spec: Object, scripts: Sequence[str | None] = ()
) -> dict[str, bytes]:
    """Return the parameters that are placed as files.

    These are parameters whose file the Task names, however small the value is this time, and large
    parameters that occur in a script, which reads them from the file. Unused parameters take no space.

    Args:
        taskrun: With the values of its parameters.
        task_spec: Substituted.
        scripts: Of Steps and Sidecars.
    """
    named = named_param_files(task_spec, taskrun)
    encoded = [script.encode("utf-8", "surrogatepass") for script in scripts if script]
    return {
        name: text
        for name, text in _contents(taskrun, task_spec).items()
        if is_needed_as_file(name, len(text), named)
        or (is_large(text) and any(text in script for script in encoded))
    }


def can_be_file(name: str) -> bool:
    """Return whether a parameter of that name can be a file: a name that leads out of the folder cannot."""
    return _FILE_NAME.fullmatch(name) is not None


def named_param_files(task_spec: Object, taskrun: Object | None = None) -> set[str]:
    """Return the names of parameters whose files a Task's Steps and Sidecars name.

    "" is among them where the folder is named and no name is seen behind it (``/tekton/params/*``): then
    every large parameter may be meant.
    """
    parts = [task_spec.get(part) for part in ("steps", "sidecars", "stepTemplate")]
    parts.append(((taskrun or {}).get("spec") or {}).get("podTemplate"))
    return {(match[1] or "").rstrip(".") for match in _FILE.finditer(json.dumps(parts))}


def is_needed_as_file(name: str, size: int, named: Collection[str]) -> bool:
    """Return whether a parameter of so many bytes must be a file, given `named_param_files`."""
    return can_be_file(name) and (name in named or ("" in named and size > LARGE_PARAM_BYTES))


def _contents(taskrun: Object, task_spec: Object) -> dict[str, bytes]:
    """Return what the file of each parameter holds; a reference to a result is placed by its backend."""
    values: dict[str, Any] = {
        param["name"]: param["default"]
        for param in task_spec.get("params") or ()
        if param.get("default") is not None
    }
    values |= dict(given_params(taskrun))
    return {
        name: _bytes(param_value(value))
        for name, value in values.items()
        if can_be_file(name) and not is_reference(value)
    }


def exceeds_argument_limit(containers: Sequence[Object], params: Mapping[str, bytes]) -> str:
    """Return why a container could never start: an argument or variable over Linux' limit; else empty."""
    for container in containers:
        words = [*(container.get("command") or ()), *(container.get("args") or ())]
        for word in words:
            if len(text := word.encode()) > ARGUMENT_BYTES:
                return _over_argument_limit(container["name"], "an argument", text, params)
        for variable in container.get("env") or ():
            text = f"{variable['name']}={variable.get('value') or ''}".encode()
            if len(text) > ARGUMENT_BYTES:
                return _over_argument_limit(
                    container["name"], f'the variable "{variable["name"]}"', text, params
                )
    return ""


def largest_param_note(params: Mapping[str, bytes]) -> str:
    """Return what to add to a message about a run that is too large: its largest parameter, if any."""
    if not params:
        return ""
    name = max(params, key=lambda name: len(params[name]))
    return f'; its parameter "{name}" has {len(params[name])} bytes'


def compact_spec(task_spec: Object, taskrun: Object) -> Object:
    """Return the Task's spec as a status can hold it.

    Where run and spec are too large together for one object, large parameters are ``$(params.NAME)``
    again; `expand_compact_spec` puts them in. A value with the text of such a reference gets one more "~".
    """
    params = _texts(taskrun, task_spec)
    if not params:
        return task_spec
    pattern = _reference_to(params)

    def protect_references(text: str) -> str:
        return pattern.sub(r"$(~\1params.\2)", text)

    whole: Object = _map_spec(task_spec, protect_references)
    if object_size(whole) + object_size({**taskrun, "status": None}) <= _CAPACITY:
        return whole
    protected_params = {name: protect_references(text) for name, text in params.items()}
    shorter: Object = _map_spec(whole, lambda text: _shortened(text, protected_params))
    return shorter


def expand_compact_spec(task_spec: Object, taskrun: Object) -> Object:
    """Return the Task's spec of a status with its large parameters in it, as before `compact_spec`."""
    params = _texts(taskrun, task_spec)
    if not params:
        return task_spec

    def put(match: re.Match[str]) -> str:
        tildes, name = match[1], match[2]
        return f"$({tildes[1:]}params.{name})" if tildes else params[name]

    pattern = _reference_to(params)
    whole: Object = _map_spec(task_spec, lambda text: pattern.sub(put, text))
    return whole


def _texts(taskrun: Object, task_spec: Object) -> dict[str, str]:
    """Return large parameters that are strings, as they stand in the spec."""
    large = large_params(taskrun, task_spec)
    texts = {name: value for name, value in given_params(taskrun) if name in large and isinstance(value, str)}
    return {name: protect(text) for name, text in texts.items()} if has_references(taskrun) else texts


def _reference_to(names: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"\$\((~*)params\.({'|'.join(map(re.escape, names))})\)")


def _shortened(text: str, params: Mapping[str, str]) -> str:
    """Return a text with references in place of what parameters put into it."""
    parts: list[tuple[str, bool]] = [(text, False)]
    for name, value in sorted(params.items(), key=lambda param: len(param[1]), reverse=True):
        split: list[tuple[str, bool]] = []
        for part, done in parts:
            if done:
                split.append((part, True))
                continue
            first, *others = part.split(value)
            split.append((first, False))
            for other in others:
                split += [(f"$(params.{name})", True), (other, False)]
        parts = split
    return "".join(part for part, _ in parts)


def _map_spec(task_spec: Object, change: Callable[[str], str]) -> Object:
    """Return a spec with its texts changed, except the parameters' declarations and defaults."""
    changed: Object = map_texts(task_spec, change, skip=("params",))
    return changed


def _over_argument_limit(container: str, what: str, text: bytes, params: Mapping[str, bytes]) -> str:
    inside = [(name, len(value)) for name, value in params.items() if value in text]
    message = (
        f'{what} of container "{container}" has {len(text)} bytes, over the limit of {ARGUMENT_BYTES} bytes '
        f"that Linux sets to one"
    )
    if not inside:
        return message
    name, size = max(inside, key=lambda param: param[1])
    return (
        f'{message}; parameter "{name}" has {size} bytes of them: read it from the file {PARAMS_DIR}/{name}'
    )


def _bytes(value: Any) -> bytes:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def is_large(content: bytes) -> bool:
    """Return whether a parameter is too large to stand in every script that uses it."""
    return len(content) > LARGE_PARAM_BYTES
