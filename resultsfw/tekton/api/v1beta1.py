"""Convert documents of ``tekton.dev/v1beta1`` to ``tekton.dev/v1``, as Tekton's webhook converts them.

Source: ``pkg/apis/pipeline/v1beta1/*_conversion.go`` and ``*_validation.go``. The tables list what differs;
the structure of the specs is that of `resultsfw.tekton.api.fields`. A StepAction has no v1: its v1alpha1 and
its v1beta1 are the same but for their names, and v1beta1 is what is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.api.fields import FIELDS, ROOTS

__all__ = ["V1", "V1BETA1", "Conversion", "convert_to_v1", "is_convertible"]

V1: Final = "tekton.dev/v1"
V1BETA1: Final = "tekton.dev/v1beta1"
_V1ALPHA1: Final = "tekton.dev/v1alpha1"
_STEP_ACTION: Final = "StepAction"

_RESOURCES: Final = {"resources": "computeResources"}
_OVERRIDES: Final = {"stepOverrides": "stepSpecs", "sidecarOverrides": "sidecarSpecs"}
_RENAMED: Final[Mapping[str, Mapping[str, str]]] = {
    "Step": _RESOURCES,
    "StepTemplate": _RESOURCES,
    "Sidecar": _RESOURCES,
    "TaskRunStepSpec": _RESOURCES,
    "TaskRunSidecarSpec": _RESOURCES,
    "TaskRunSpec": _OVERRIDES,
    "PipelineTaskRunSpec": {
        **_OVERRIDES,
        "taskServiceAccountName": "serviceAccountName",
        "taskPodTemplate": "podTemplate",
    },
}
"""By type: the field's name in v1beta1, and in v1."""

_MOVED: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "PipelineRunSpec": {
        "podTemplate": ("taskRunTemplate", "podTemplate"),
        "serviceAccountName": ("taskRunTemplate", "serviceAccountName"),
        "timeout": ("timeouts", "pipeline"),
    }
}
"""By type: the field's name in v1beta1, and the structure of v1 and the field in it that has the value."""

_ONLY_V1: Final[Mapping[str, Mapping[str, str]]] = {
    "PipelineRunSpec": {"taskRunTemplate": "podTemplate and serviceAccountName"}
}
"""By type: fields that v1beta1 does not have, beside the renamed, and what it has instead."""

_NO_RESOURCES: Final = "PipelineResources were removed from Tekton: use params, results and workspaces"
_NO_BUNDLE: Final = (
    'bundle was removed from Tekton: name the resolver "bundles", with the params bundle, name and kind'
)
_REFUSED: Final[Mapping[str, Mapping[str, str]]] = {
    "TaskSpec": {"resources": _NO_RESOURCES},
    "EmbeddedTask": {"resources": _NO_RESOURCES},
    "TaskRunSpec": {"resources": _NO_RESOURCES},
    "TaskRef": {"bundle": _NO_BUNDLE},
    "PipelineSpec": {"resources": _NO_RESOURCES},
    "PipelineTask": {"resources": _NO_RESOURCES},
    "PipelineRunSpec": {"resources": _NO_RESOURCES},
    "PipelineRef": {"bundle": _NO_BUNDLE},
}
"""By type: fields that Tekton's webhook refuses, and what to do instead."""

_OF_STEPS: Final = frozenset(
    {
        "ports",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
        "lifecycle",
        "terminationMessagePath",
        "terminationMessagePolicy",
        "stdin",
        "stdinOnce",
        "tty",
    }
)
_DROPPED: Final[Mapping[str, frozenset[str]]] = {"Step": _OF_STEPS, "StepTemplate": _OF_STEPS | {"name"}}
"""By type: deprecated fields that Tekton accepts, and that have no effect in v1."""

_EMPTY: Final[tuple[Any, ...]] = (None, "", [], {}, False)
_DEEPEST: Final = 100
"""Limit of levels. Pipelines may be embedded in Pipelines, so the types alone set none."""


@dataclass(frozen=True, slots=True)
class Conversion:
    """A converted document.

    Attributes:
        document: The document of ``tekton.dev/v1``, without a status; it shares parts with the original.
        dropped: Paths of deprecated fields that have no effect, in Tekton either; a person should see them.
    """

    document: Object
    dropped: tuple[str, ...] = ()


def is_convertible(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a Task, TaskRun, Pipeline or PipelineRun of ``tekton.dev/v1beta1``."""
    kind = str(document.get("kind"))  # it may be anything
    return document.get("apiVersion") == V1BETA1 and kind in ROOTS and kind != _STEP_ACTION


def convert_to_v1(document: Object) -> Conversion:
    """Convert a document of v1beta1, or a StepAction of v1alpha1; all others are returned as they are.

    Only names and places of fields are judged here. What else is wrong with a document, its shape included,
    is left to the validation of the v1 document.

    Args:
        document: Of any version and kind, and any shape below ``spec``; it is not changed.

    Raises:
        InputError: A field was removed from Tekton, or is given in v1beta1's form and in v1's; ``subject`` is
            the path of the field.
    """
    if document.get("kind") == _STEP_ACTION and document.get("apiVersion") == _V1ALPHA1:
        return Conversion({**document, "apiVersion": V1BETA1})
    if not is_convertible(document):
        return Conversion(document)
    dropped: list[str] = []
    converted = {key: value for key, value in document.items() if key != "status"}
    converted["apiVersion"] = V1
    if "spec" in document:
        converted["spec"] = _converted(document["spec"], ROOTS[document["kind"]], "spec", dropped)
    return Conversion(converted, tuple(dropped))


def _converted(value: Any, of: str, path: str, dropped: list[str], level: int = 0) -> Any:
    """Return a value of a type in the form of v1."""
    if level > _DEEPEST:
        raise InputError(f"{path[:_DEEPEST]}...: is nested deeper than {_DEEPEST} levels", subject=path)
    if isinstance(value, list):
        return [
            _converted(item, of, f"{path}[{index}]", dropped, level + 1) for index, item in enumerate(value)
        ]
    return _converted_fields(value, of, path, dropped, level) if isinstance(value, Mapping) else value


def _converted_fields(
    given: Mapping[str, Any], of: str, path: str, dropped: list[str], level: int
) -> dict[str, Any]:
    """Return the fields of one structure in the form of v1."""
    refused, renamed, moved = _REFUSED.get(of, {}), _RENAMED.get(of, {}), _MOVED.get(of, {})
    only_v1 = {**{new: old for old, new in renamed.items()}, **_ONLY_V1.get(of, {})}
    fields: dict[str, Any] = {}
    for name, value in given.items():
        where = f"{path}.{name}"
        if name in refused and value not in _EMPTY:
            raise InputError(f"{where}: {refused[name]}", subject=where)
        if name in only_v1:
            raise InputError(f"{where}: is a field of {V1}: use {only_v1[name]}", subject=where)
        if name in _DROPPED.get(of, ()):
            dropped += [where] if value not in _EMPTY else []
        elif name not in refused and name not in moved:
            new = renamed.get(name, name)
            rule = FIELDS[of].get(new)
            inner = rule.of if rule is not None else ""
            fields[new] = _converted(value, inner, where, dropped, level + 1) if inner else value
    return fields | _moved_fields(given, moved, fields, path)


def _moved_fields(
    given: Mapping[str, Any], moved: Mapping[str, tuple[str, str]], fields: Mapping[str, Any], path: str
) -> dict[str, Any]:
    """Return the structures of v1 that hold what v1beta1 has beside them."""
    structures: dict[str, Any] = {}
    for name, (structure, inner) in moved.items():
        if given.get(name) is None:
            continue
        if fields.get(structure) not in _EMPTY:
            where = f"{path}.{name}"
            raise InputError(f"{where}: give either {name} or {structure}", subject=where)
        structures.setdefault(structure, {})[inner] = given[name]
    return structures
