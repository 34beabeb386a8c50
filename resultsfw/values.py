"""Convert the text that a Step wrote to a value of the declared type: string, array or object."""

import json
from collections.abc import Sequence
from typing import Any, Final

from resultsfw.references import MARK
from resultsfw.types import ARTIFACTS, Problem, ProblemCode, ResultSpec, ResultType, Value

__all__ = [
    "array_of",
    "escape_surrogates",
    "format_names",
    "label",
    "mismatch_message",
    "missing_keys_message",
    "parse_value",
    "utf8_size",
]


_SHOWN: Final = 20
_LONGEST: Final = 255
"""Characters of a name in a list of names; a file name has at most as many bytes."""


def utf8_size(text: str) -> int | None:
    """Return the text's size in bytes of UTF-8; ``None`` if it cannot be encoded (a lone surrogate)."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return None


def escape_surrogates(text: str) -> str:
    """Return the text with every lone surrogate escaped, so that it can be encoded."""
    return text.encode("utf-8", "backslashreplace").decode()


def label(name: str, step: str | None = None) -> str:
    """Return a result's name, or that of artifacts' provenance, as messages show it."""
    if name == ARTIFACTS:
        return "provenance of the Task's artifacts" if step is None else f'artifacts of Step "{step}"'
    return f'result "{name}"' if step is None else f'result "{name}" of Step "{step}"'


def format_names(names: Sequence[str]) -> str:
    """Return names as messages list them: the first twenty, quoted, and the number of the others."""
    shown = ", ".join(
        f'"{name}"' if len(name) <= _LONGEST else f'"{name[:_LONGEST]}..."' for name in names[:_SHOWN]
    )
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def parse_value(declared: ResultSpec, text: str, *, step: str | None = None) -> Value | Problem:
    """Return the value of a declared result, or the problem of its text.

    Tekton's rules: a string is taken verbatim; an array or object is JSON text that begins with ``[`` or
    ``{`` and contains strings only. Unlike in Go's decoder, ``null`` is not a string here.
    """
    if declared.type == "string":
        return text
    got, value = _infer(text)
    if got != declared.type:
        return Problem(
            code=ProblemCode.TYPE_MISMATCH,
            message=f'expected to be "{declared.type}" type but was initialized to a different type "{got}"',
            result=declared.name,
            step=step,
        )
    if isinstance(value, dict) and MARK in value:
        return Problem(
            code=ProblemCode.TYPE_MISMATCH,
            message=f'expected to be "object" type but has the key "{MARK}", which only a reference may have',
            result=declared.name,
            step=step,
        )
    elements = [*value.keys(), *value.values()] if isinstance(value, dict) else value
    if not all(utf8_size(element) is not None for element in elements):
        return Problem(
            code=ProblemCode.NOT_UTF8,
            message=f"{label(declared.name, step)} is not UTF-8: it holds an escaped lone surrogate",
            result=declared.name,
            step=step,
        )
    if isinstance(value, dict) and (absent := [key for key in declared.properties if key not in value]):
        return Problem(
            code=ProblemCode.MISSING_KEYS, message=" ".join(absent), result=declared.name, step=step
        )
    return value


def array_of(text: str) -> list[str]:
    """Return the elements of a JSON list of strings; empty for any other text."""
    value = _infer(text)[1]
    return value if isinstance(value, list) else []


def mismatch_message(problems: list[Problem]) -> str:
    """Describe all type mismatches of a run in one sentence, in Tekton's words."""
    parts = sorted(
        f' "{p.result}": task result is {p.message}'
        if p.step is None
        else f' "{p.step}.{p.result}": step result is {p.message}'
        for p in problems
    )
    return (
        "Provided results don't match declared results; may be invalid JSON or missing result declaration: "
        + ",".join(parts)
    )


def missing_keys_message(problems: list[Problem]) -> str:
    """Describe all missing keys of a run in one sentence, in Tekton's words (Go's format of a map)."""
    objects = sorted((f"{p.step}.{p.result}" if p.step else str(p.result), p.message) for p in problems)
    shown = " ".join(f"{name}:[{keys}]" for name, keys in objects)
    return f"missing keys for these results which are required in TaskResult's properties map[{shown}]"


def _infer(text: str) -> tuple[ResultType, Value]:
    """Return the type that a text has by itself, and its value."""
    if text[:1] in ("[", "{"):
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError):
            return "string", text
        if isinstance(value, list) and all(isinstance(element, str) for element in value):
            return "array", value
        if isinstance(value, dict) and all(isinstance(element, str) for element in value.values()):
            return "object", value
    return "string", text
