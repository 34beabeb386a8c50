"""Compute the hash of a TaskRun's status as Tekton does: its annotation ``tekton.dev/status-hash``.

It is SHA-256 of the JSON that Go's ``encoding/json`` makes of ``TaskRunStatusFields`` of v1beta1 (Tekton,
``pkg/spire/verify.go``), into which the API server converts a TaskRun of v1. So the text depends on the order
of Go's struct fields, on which of them are left out when empty, and on Tekton's version.

``tekton_types.json`` has these facts: for each type that is reachable from the status, its fields in order as
``[name, left out, type]`` or ``[name, left out, type, name in v1]``. Left out is 0 for never, 1 if empty
(``omitempty``), 2 if zero (``omitzero``). A type is ``s`` (string), ``b`` (bool), ``i`` (integer), ``*``
pointer, ``[`` slice or ``{`` map of the rest, ``!`` a type that writes itself, or a name in the table.
Embedded structs are expanded. Fields that the conversion does not copy are missing. The table was made by
reflection over Tekton Pipelines after v1.15 (commit 3ee1745a) with version 0.36 of Kubernetes' API.
"""

import functools
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, Final

from resultsfw import jsons
from resultsfw.cluster import Object
from resultsfw.durations import format_duration, parse_duration
from resultsfw.errors import InputError
from resultsfw.signatures.tekton_quantities import canonical_quantity

__all__ = ["status_hash"]

_ROOT: Final = "TaskRunStatusFields"
_TIME: Final = re.compile(r"[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9]Z")
_ZERO_TIME: Final = "0001-01-01T00:00:00Z"
_RESTORED: Final = (
    "tekton.dev/v1beta1.task-deprecations",
    "tekton.dev/v1beta1CloudEvents",
    "tekton.dev/v1beta1ResourcesResult",
    "tekton.dev/v1beta1ResourcesStatus",
)
"""Annotations of a TaskRun that was created as v1beta1, from which the conversion restores old fields."""

_DEFAULTS: Final = {("ParamSpec", "type"): "string"}
"""What the conversion fills in."""

_ALWAYS: Final = 0
_IF_EMPTY: Final = 1

_Table = Mapping[str, list[list[Any]]]


def status_hash(taskrun: Object) -> str:
    """Return the hash in hexadecimal of a TaskRun of v1, as the API server stores it.

    Raises:
        InputError: Tekton's text cannot be rebuilt: a quantity or time of a rare form, an old field, or a
            value of another type than the API's. The message names the field.
    """
    return hashlib.sha256(status_text(taskrun)).hexdigest()


def status_text(taskrun: Object) -> bytes:
    """Return the text that is hashed.

    Raises:
        InputError: See `status_hash`.
    """
    metadata = taskrun.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    for name in _RESTORED:
        if isinstance(annotations, dict) and name in annotations:
            raise InputError(
                f"Tekton's hash of the status cannot be computed: the annotation {name} restores old fields",
                subject=name,
            )
    status = taskrun.get("status") or {}
    if jsons.is_deeper_than(status, jsons.MAX_DEPTH):
        raise _refused("status", "is too deeply nested")
    try:
        return jsons.go_json(_struct(_ROOT, status, "status")).encode()
    except UnicodeEncodeError as error:
        raise _refused("status", "has a text that is not UTF-8") from error


@functools.cache
def _types() -> _Table:
    text = resources.files("resultsfw.signatures").joinpath("tekton_types.json").read_text("utf-8")
    table: _Table = json.loads(text)
    return table


def _refused(path: str, why: str) -> InputError:
    return InputError(f"Tekton's hash of the status cannot be computed: {path} {why}", subject=path)


def _struct(name: str, value: Any, path: str) -> Object:
    """Return a struct's fields in Go's order."""
    if not isinstance(value, dict):
        raise _refused(path, "is not an object")
    fields: Object = {}
    for row in _types()[name]:
        field, mode, kind = row[:3]
        source = row[-1] if len(row) > len(("name", "mode", "kind")) else field
        where = f"{path}.{source}"
        given = value.get(source)
        if given is None and source in value and kind == "!paramValue":
            given = ""  # Go's decoder calls the type with null, which it takes for an empty text
        given = given or _DEFAULTS.get((name, field), given)
        written = _zero(kind, where) if given is None else _value(kind, given, where)
        if mode == _ALWAYS or not _is_left_out(kind, mode, given, written):
            fields[field] = written
    return fields


def _is_left_out(kind: str, mode: int, given: Any, written: Any) -> bool:
    """Return whether Go leaves a field out: structs never by ``omitempty``, pointers only if nil."""
    if kind[0] == "*":
        return given is None
    if mode == _IF_EMPTY:
        return (kind in _PLAIN or kind[0] in "[{") and not written
    return written is None


def _zero(kind: str, path: str) -> Any:
    """Return what Go writes for a value that is not given."""
    if kind in _PLAIN:
        return _PLAIN[kind]()
    if kind[0] in "*[{":
        return None
    if kind[0] == "!":
        return _ZEROS[kind](path)
    return _struct(kind, {}, path)


def _value(kind: str, value: Any, path: str) -> Any:
    """Return a value as Go writes it. ``value`` is not ``None``."""
    if kind in _PLAIN:
        if type(value) is not _PLAIN[kind]:
            raise _refused(path, f"is not of type {_PLAIN[kind].__name__}")
        return value
    match kind[0]:
        case "*":
            return _value(kind[1:], value, path)
        case "[":
            if not isinstance(value, list):
                raise _refused(path, "is not a list")
            items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
            return [
                _zero(kind[1:], where) if item is None else _value(kind[1:], item, where)
                for where, item in items
            ]
        case "{":
            if not isinstance(value, dict):
                raise _refused(path, "is not an object")
            return {
                key: _zero(kind[1:], path) if value[key] is None else _value(kind[1:], value[key], path)
                for key in sorted(value)
            }
        case "!":
            return _WRITERS[kind](value, path)
        case _:
            return _struct(kind, value, path)


def _time(value: Any, path: str) -> str | None:
    if not (isinstance(value, str) and _TIME.fullmatch(value)):
        raise _refused(path, "is not a time in seconds of UTC")
    return None if value == _ZERO_TIME else value


def _duration(value: Any, path: str) -> str:
    try:
        return format_duration(parse_duration(value))
    except ValueError as error:
        raise _refused(path, f"is {error}") from error


def _quantity(value: Any, path: str) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise _refused(path, "is not a quantity")
    try:
        return canonical_quantity(str(value).strip())
    except ValueError as error:
        raise _refused(path, f"is {error}") from error


def _int_or_string(value: Any, path: str) -> int | str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise _refused(path, "is neither a number nor a text")
    return value


def _param(value: Any, path: str) -> Any:
    """Return a param's or result's value: Go keeps one of another type as the text in which it arrived."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) for item in items):
        raise _refused(path, "has values that are not texts")
    return dict(sorted(value.items())) if isinstance(value, dict) else value


def _unknown(_value: Any, path: str) -> Any:
    raise _refused(path, "is of a type that is not rebuilt here")


_PLAIN: Final[Mapping[str, type]] = {"s": str, "b": bool, "i": int}
_WRITERS: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "!time": _time,
    "!volatileTime": _time,
    "!duration": _duration,
    "!quantity": _quantity,
    "!intOrString": _int_or_string,
    "!paramValue": _param,
    "!fieldsV1": _unknown,
}
_ZEROS: Final[Mapping[str, Callable[[str], Any]]] = {
    "!time": lambda _: None,
    "!volatileTime": lambda _: None,
    "!duration": lambda _: "0s",
    "!quantity": lambda _: "0",
    "!intOrString": lambda _: 0,
    "!paramValue": lambda path: _unknown(None, path),
    "!fieldsV1": lambda path: _unknown(None, path),
}
