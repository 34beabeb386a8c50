"""Parameters of a Task: their types, their values in a run, and how texts refer to them."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeGuard

from resultsfw.cluster import Object
from resultsfw.references import MARK

__all__ = [
    "FORMS",
    "REFERENCE",
    "Values",
    "has_references",
    "is_reference",
    "names_in",
    "param_type",
    "param_value",
    "parameters",
    "replace",
    "shielded",
    "texts_in",
    "unshielded",
    "value_type",
]

REFERENCE: Final = re.compile(r"\$\(([^()]*)\)")
"""A reference to anything; the first group is what is between the brackets."""

Values = Mapping[str, str]
"""What stands for references, by what is between their brackets."""

FORMS: Final = ("params.{}", 'params["{}"]', "params['{}']", "inputs.params.{}")
"""How a text refers to a parameter as a whole."""


_LITERAL: Final = re.compile(r"\$\((?=~*(?:inputs\.)?params[.\[])")
_SHIELDED: Final = re.compile(r"\$\(~(?=~*(?:inputs\.)?params[.\[])")


def shielded(text: str) -> str:
    """A value's text, in which what looks like a reference to a parameter stays what it is: ``$(~params.x)``.

    For a spec in which others are put in later; `unshielded` takes it back.
    """
    return _LITERAL.sub("$(~", text) if "$(" in text else text


def unshielded(value: Any) -> Any:
    """A copy of plain data as it was before `shielded`."""
    if isinstance(value, str):
        return _SHIELDED.sub("$(", value) if "$(~" in value else value
    if isinstance(value, list):
        return [unshielded(one) for one in value]
    if isinstance(value, dict):
        return {key: unshielded(one) for key, one in value.items()}
    return value


def is_reference(value: Any) -> TypeGuard[dict[str, str]]:
    """Whether a parameter's value is a reference to a result that is kept elsewhere."""
    return isinstance(value, dict) and MARK in value


def has_references(taskrun: Object) -> bool:
    """Whether a parameter of a run is such a reference."""
    params = (taskrun.get("spec") or {}).get("params") or ()
    return any(is_reference(one.get("value")) for one in params)


def texts_in(value: Any) -> Iterator[str]:
    """Every text in plain data."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from texts_in(element)
    elif isinstance(value, dict):
        for element in value.values():
            yield from texts_in(element)


def names_in(value: Any) -> Iterator[str]:
    """What is between the brackets of every reference in plain data, in order."""
    for text in texts_in(value):
        if "$(" in text:
            for match in REFERENCE.finditer(text):
                yield match[1]


def replace(text: str, values: Values) -> str:
    """Put values in for ``$(name)`` in one pass; names that are not there stay as they are."""
    if "$(" not in text:
        return text
    return REFERENCE.sub(lambda match: values.get(match[1], match[0]), text)


def param_value(value: Any) -> str | list[str] | dict[str, str]:
    """A parameter's value as Tekton decodes it: what holds more than strings is its JSON text."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, list) and all(isinstance(element, str | None) for element in value):
        return [element or "" for element in value]
    if isinstance(value, dict) and all(isinstance(element, str | None) for element in value.values()):
        return {key: element or "" for key, element in value.items()}
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def value_type(value: Any) -> str:
    """The type of a decoded parameter value: string, array or object."""
    return "array" if isinstance(value, list) else "object" if isinstance(value, dict) else "string"


def param_type(param: Object) -> str:
    """The type of a declared parameter, said or inferred as Tekton infers it."""
    if param.get("type"):
        return str(param["type"])
    if param.get("properties") is not None:
        return "object"
    return value_type(param_value(param.get("default")))


def parameters(taskrun: Object, task_spec: Object) -> tuple[dict[str, str], dict[str, list[str]]]:
    """What stands for each parameter reference: texts, and lists for whole arrays.

    Nothing does for one whose value is a reference to a result (`is_reference`): it is put in later.
    Defaults first, the TaskRun's values over them. A default that refers to another parameter
    gets that one's default, as in Tekton, or its value if it has no default.
    """
    texts: dict[str, str] = {}
    arrays: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    given_arrays: dict[str, list[str]] = {}
    later: set[str] = set()
    for param in (taskrun.get("spec") or {}).get("params") or []:
        if is_reference(param.get("value")):
            later.add(param["name"])
        else:
            _add_param(param["name"], param_value(param.get("value")), given, given_arrays)
    referring: dict[str, str] = {}
    for param in task_spec.get("params") or []:
        if param.get("default") is None or param["name"] in later:
            continue
        value = param_value(param["default"])
        if isinstance(value, str) and "$(params." in value:
            referring[param["name"]] = value
        else:
            _add_param(param["name"], value, texts, arrays)
    for name, value in referring.items():
        _add_param(name, replace(value, {**given, **texts}), texts, arrays)
    return {**texts, **given}, {**arrays, **given_arrays}


def _add_param(
    name: str, value: str | list[str] | dict[str, str], texts: dict[str, str], arrays: dict[str, list[str]]
) -> None:
    if isinstance(value, dict):
        texts.update({f"params.{name}.{key}": text for key, text in value.items()})
        return
    for form in FORMS:
        reference = form.format(name)
        if isinstance(value, str):
            texts[reference] = value
        else:
            arrays[reference] = value
            texts.update({f"{reference}[{index}]": text for index, text in enumerate(value)})
