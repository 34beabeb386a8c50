"""Give runs the params of the command line: ``-p NAME=VALUE``, as ``tkn`` takes them, or with JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from resultsfw.cli.files.inputs import Document
from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of
from resultsfw.tekton.spec.params import param_type, param_value, parse_name, value_type
from resultsfw.tekton.spec.variables import nearest, variables_in

__all__ = ["EMBEDDED", "with_params"]

OPTION: Final = "-p"
_ANY: Final = "any"
"""Type of a param whose declaration is not known: the Task is fetched by a resolver."""
EMBEDDED: Final[Mapping[str, str]] = {"TaskRun": "taskSpec", "PipelineRun": "pipelineSpec"}
"""Field of a run that holds its Task or Pipeline, by the run's kind."""
_FORMS: Final[Mapping[str, str]] = {
    "array": 'elements between commas, or a JSON array of strings such as ["a","b"]',
    "object": 'KEY:VALUE between commas, or a JSON object of strings such as {"key":"value"}',
}


def with_params(
    runs: Sequence[Document], specs: Sequence[Object | None], options: Sequence[str]
) -> list[Document]:
    """Return the runs with the params of the command line; each run gets those that it declares.

    Args:
        runs: The runs, of valid shape.
        specs: The spec of the Task or Pipeline of each run; ``None`` where a resolver fetches it.
        options: ``NAME=VALUE``, as typed. Of a name that is there twice, the last one counts.

    Raises:
        InputError: An option has another form, names no param of any run, or its value is not of its type.
    """
    texts = dict(map(_parse, options))
    given: list[dict[str, Any]] = [{} for _ in runs]
    known = [_types(run.obj, spec) for run, spec in zip(runs, specs, strict=True)]
    for name, text in texts.items():
        users = [
            (values, _ANY if types is None else types[name])
            for values, types in zip(given, known, strict=True)
            if types is None or name in types
        ]
        if not users:
            raise _unknown(name, {name for types in known for name in types or ()})
        for values, kind in users:
            values[name] = _value(name, text, kind)
    return [_given(run, values) for run, values in zip(runs, given, strict=True)]


def _parse(option: str) -> tuple[str, str]:
    name, equals, text = option.partition("=")
    if not (equals and name):
        raise InputError(f'{OPTION} "{option}" is not of the form NAME=VALUE', subject=OPTION)
    return name, text


def _unknown(name: str, known: set[str]) -> InputError:
    like = nearest(name, sorted(known))
    hint = f'; did you mean "{like}"?' if like else ""
    listed = ", ".join(sorted(known)) or "none"
    return InputError(
        f'{OPTION} {name}: no run in these files declares the param "{name}" (declared: {listed}){hint}',
        subject=OPTION,
    )


def _types(run: Object, spec: Object | None) -> dict[str, str] | None:
    """Return the type of each param that a run can be given; ``None`` if any may be declared elsewhere."""
    if spec is None:
        return None
    given = {param["name"]: value_type(param_value(param.get("value"))) for param in _params(run["spec"])}
    declared = {param["name"]: param_type(param) for param in _params(spec)}
    embedded = run["spec"].get(EMBEDDED[run["kind"]])
    # The params of a run are those of an embedded Task, too, without a declaration (propagated parameters).
    named = [parse_name(variable) for variable in variables_in(embedded)]
    used = {name.base: "string" for name in named if name is not None and "." not in name.base}
    inner = {
        param["name"]: param_type(param)
        for _, task in (tasks_of(embedded or {}) if run["kind"] == "PipelineRun" else ())
        for param in _params(task.get("taskSpec") or {})
    }
    return {**used, **inner, **given, **declared}


def _params(spec: Object) -> Sequence[Object]:
    params: Sequence[Object] = spec.get("params") or ()
    return params


def _value(name: str, text: str, kind: str) -> Any:
    """Return the value of a param of a type. Messages never quote the value, which may be a secret."""
    if kind == "string":
        return text
    found = _read_json(text)
    if kind == _ANY:
        return text if found is None else found
    if found is not None and value_type(found) == kind:
        return found
    if kind == "array" and not text.startswith("["):
        return text.split(",") if text else []
    if kind == "object" and not text.startswith("{"):
        pairs = [field.partition(":") for field in text.split(",")]
        if all(colon and key.strip() for key, colon, _ in pairs):
            return {key.strip(): value.strip() for key, _, value in pairs}
    raise InputError(f"{OPTION} {name}: is of type {kind}: {_FORMS.get(kind, kind)}", subject=OPTION)


def _read_json(text: str) -> list[str] | dict[str, str] | None:
    """Return a JSON array or object of strings; ``None`` for any other text."""
    if not text.startswith(("[", "{")):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    values = found if isinstance(found, list) else list(found.values())
    return found if all(isinstance(value, str) for value in values) else None


def _given(run: Document, values: Mapping[str, Any]) -> Document:
    if not values:
        return run
    spec = run.obj["spec"]
    params = [
        {**param, "value": values[param["name"]]} if param["name"] in values else param
        for param in _params(spec)
    ]
    names = {param["name"] for param in params}
    params += [{"name": name, "value": value} for name, value in values.items() if name not in names]
    return replace(run, obj={**run.obj, "spec": {**spec, "params": params}})
