"""What is wrong with a document, in words a person understands."""

import difflib
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

__all__ = ["told"]

_SHOWN: Final = 80
_KINDS: Final[dict[type, str]] = {dict: "a mapping", list: "a list"}
_WANTED: Final = {
    "string_type": "text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "bool_type": "true or false",
    "int_type": "a whole number",
}
_NEAR: Final = 0.7


def told(model: type[BaseModel], error: ValidationError) -> list[tuple[str, str]]:
    """Each problem of a document: the path of its field (empty: the whole), and what is wrong there."""
    problems = error.errors(include_url=False)
    return [(_path(problem["loc"]), _said(model, problem)) for problem in problems]


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
        near = difflib.get_close_matches(
            str(problem["loc"][-1]), _fields(model, problem["loc"][:-1]), 1, _NEAR
        )
        return f'unknown field; did you mean "{near[0]}"?' if near else "unknown field"
    if kind == "literal_error":
        return f"must be {problem['ctx']['expected']}, not {_shown(given)}"
    if kind == "greater_than_equal":
        return f"must be at least {problem['ctx']['ge']}, not {given}"
    wanted = _WANTED.get(kind)
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
