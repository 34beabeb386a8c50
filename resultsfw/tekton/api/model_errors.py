"""Say what is wrong with a document in plain words, and never what the document holds.

A message goes to conditions, events and logs, and any value may be a secret. The path names the
field.
"""

import difflib
import re
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

__all__ = ["field_errors"]

_KINDS: Final[dict[type, str]] = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    int: "a number",
    float: "a number",
    type(None): "nothing",
}
_WANTED: Final = {
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "bool_type": "true or false",
    "int_type": "a whole number",
}
_NEAR: Final = 0.7
_NAME: Final = 80  # characters; a comparison takes time with their square


def field_errors(model: type[BaseModel], error: ValidationError) -> list[tuple[str, str]]:
    """Return each problem of a document: the path of its field (empty: the whole), and what is wrong."""
    problems = error.errors(include_url=False)
    return [(_path(problem["loc"]), _message(model, problem)) for problem in problems]


def _path(location: tuple[int | str, ...]) -> str:
    """Return a field's path as people write it: ``spec.steps[1].onError``."""
    path = ""
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if path else part
    return path


def _message(model: type[BaseModel], problem: ErrorDetails) -> str:
    """Return a problem in words a person understands."""
    kind, given = problem["type"], problem["input"]
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(
            str(problem["loc"][-1])[:_NAME], _fields(model, problem["loc"][:-1]), 1, _NEAR
        )
        return f'unknown field; did you mean "{near[0]}"?' if near else "unknown field"
    if kind == "literal_error":
        expected = problem["ctx"]["expected"]
        near = difflib.get_close_matches(str(given)[:_NAME], re.findall("'([^']*)'", expected), 1, _NEAR)
        return f"must be {expected}" + (f'; did you mean "{near[0]}"?' if near else "")
    if kind == "greater_than_equal":
        return f"must be at least {problem['ctx']['ge']}"
    wanted = _WANTED.get(kind)
    if wanted is None:
        return problem["msg"]
    hint = " (put it in quotes)" if kind == "string_type" and isinstance(given, bool | int | float) else ""
    return f"must be {wanted}, not {_kind_of(given)}{hint}"


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return _KINDS.get(type(value), type(value).__name__)


def _fields(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the fields that are known where a document has another one."""
    here: type[BaseModel] | None = model
    for part in location:
        if isinstance(part, int) or here is None:
            continue
        field = next((field for field in here.model_fields.values() if field.alias == part), None)
        here = None if field is None else _model_in(field.annotation)
    return [field.alias or "" for field in here.model_fields.values()] if here else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model in ``X``, ``list[X]``, ``X | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    arguments = getattr(annotation, "__args__", ())
    return next((model for model in map(_model_in, arguments) if model is not None), None)
