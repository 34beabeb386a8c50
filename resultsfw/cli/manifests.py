"""Pick the runs and what they refer to from the documents of all files, and validate them."""

import base64
import difflib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.cli.admission import admit
from resultsfw.cli.inputs import Document
from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.local.host_paths import HOST_PATH, host_path_in
from resultsfw.local.resolvers import refusal_of
from resultsfw.tekton.api.models import (
    validate_step_action_document,
    validate_task_document,
    validate_taskrun_document,
)
from resultsfw.tekton.api.unknown import unknown_fields
from resultsfw.tekton.pipelinerun.children import is_custom
from resultsfw.tekton.pipelinerun.models import validate_pipeline_document, validate_pipelinerun_document
from resultsfw.tekton.pipelinerun.validate_pipeline import SECTIONS

__all__ = ["NAMESPACE", "Manifests", "checked", "pick"]

NAMESPACE: Final = "default"
"""Namespace of an object that names none, as with kubectl."""

_GROUP: Final = "tekton.dev"
_PARSERS: Final[Mapping[str, Callable[[Object], object]]] = {
    "Task": validate_task_document,
    "TaskRun": validate_taskrun_document,
    "Pipeline": validate_pipeline_document,
    "PipelineRun": validate_pipelinerun_document,
    "StepAction": validate_step_action_document,
}
_OF_PODS: Final = ("PersistentVolumeClaim", "Secret", "ServiceAccount")
"""Kinds of Kubernetes' own, beside ConfigMaps, that pods of the runs use."""

_SET_BY_SERVER: Final = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """The objects of the files.

    Attributes:
        runs: TaskRuns and PipelineRuns to be run, in order, ready to be created.
        needed: Objects that they may refer to by name: Tasks, Pipelines, StepActions, ConfigMaps, Secrets,
            PersistentVolumeClaims, ServiceAccounts.
        maps: ConfigMaps, one of which may be the feature flags.
        others: Documents that are not used.
        warnings: A sentence for each field that an API server would not know, or would correct.
    """

    runs: Sequence[Object]
    needed: Sequence[Object]
    maps: Sequence[Document]
    others: Sequence[Document]
    warnings: Sequence[str] = ()


def pick(documents: Sequence[Document], files: Sequence[str], resolvers: Collection[str] = ()) -> Manifests:
    """Sort the documents of files by their use and validate them.

    Args:
        documents: Of the files.
        files: Their names.
        resolvers: Resolvers that may fetch from elsewhere.

    Raises:
        InputError: There is no run, or a document is invalid; the message names file, document, field.
    """
    documents, corrections = admit(documents)
    tekton = [document for document in documents if _is_tekton(document)]
    runs = [document for document in tekton if document.kind in ("TaskRun", "PipelineRun")]
    tasks = [document for document in tekton if document.kind in ("Task", "Pipeline", "StepAction")]
    if not runs:
        found = ", ".join(document.label for document in documents) or "nothing"
        named = ", ".join(files)
        raise InputError(f"{named}: no TaskRun or PipelineRun to run; found: {found}", subject=named)
    maps = [_require_name(document) for document in documents if document.kind == "ConfigMap"]
    used_by_pods = [_require_name(document) for document in documents if document.kind in _OF_PODS]
    for document in [*tasks, *runs]:
        checked(document)
        if field := host_path_in(document.obj):
            raise document.refuse(HOST_PATH, field)
    for document in runs:
        if str(document.obj["spec"].get("status") or "").endswith("Pending"):
            raise document.refuse(
                "is pending, and nothing here would start the run: remove it", "spec.status"
            )
    known = _by_name([*tasks, *runs, *maps, *used_by_pods])
    for document in [*tasks, *runs]:
        for kind, field, reference in _references(document.obj):
            if resolver := reference.get("resolver"):
                if why := refusal_of(resolver, resolvers):
                    raise document.refuse(why, f"{field}.resolver")
                continue
            same_kind = [(namespace, name) for other, namespace, name in known if other == kind]
            _check_reference(document, kind, field, reference, same_kind)
    used = {id(document) for document in (*runs, *tasks, *maps, *used_by_pods)}
    return Manifests(
        runs=[_as_created(document.obj) for document in runs],
        needed=[_as_created(document.obj) for document in (*tasks, *maps, *used_by_pods)],
        maps=maps,
        others=[document for document in documents if id(document) not in used],
        warnings=[
            *corrections,
            *(
                f"{document.where}: {line}"
                for document in (*tasks, *runs)
                for line in unknown_fields(document.obj)
            ),
        ],
    )


def checked(document: Document) -> Object:
    """Validate a document of a kind in `_PARSERS` and return it.

    Raises:
        InputError: It is invalid; the message names file, document and field.
    """
    try:
        _PARSERS[document.kind](document.obj)
    except InputError as error:
        raise document.refuse(error.message, error.subject, names_field=True) from error
    return document.obj


def _is_tekton(document: Document) -> bool:
    return str(document.obj["apiVersion"]).partition("/")[0] == _GROUP


def _require_name(document: Document) -> Document:
    """Return the document of an object that is referred to, if it has a name, which may not be generated."""
    metadata = document.obj.get("metadata")
    if not isinstance(metadata, dict):
        raise document.refuse("is missing" if metadata is None else "must be a mapping", "metadata")
    if not isinstance(metadata.get("name"), str):
        raise document.refuse("must be text" if metadata.get("name") else "is missing", "metadata.name")
    return document


def _by_name(documents: Sequence[Document]) -> dict[tuple[str, str, str], Document]:
    """Return the documents by kind, namespace and name; each may occur only once."""
    known: dict[tuple[str, str, str], Document] = {}
    for document in documents:
        metadata = document.obj["metadata"]
        if name := metadata.get("name"):
            key = (document.kind, metadata.get("namespace") or NAMESPACE, name)
            first = known.setdefault(key, document)
            if first is not document:
                raise document.refuse(f"{document.label} is already in {first.where}", "metadata.name")
    return known


def _references(obj: Object) -> Iterator[tuple[str, str, Object]]:
    """Yield the kind, the field and the reference of everything a document refers to by name."""
    spec = obj["spec"]
    if obj["kind"] == "Task":
        yield from _step_references(spec, "spec")
    if obj["kind"] == "TaskRun" and spec.get("taskSpec") is not None:
        yield from _step_references(spec["taskSpec"], "spec.taskSpec")
    for kind, field in (("Task", "taskRef"), ("Pipeline", "pipelineRef")):
        if spec.get(field) is not None:
            yield kind, f"spec.{field}", spec[field]
    if obj["kind"] in ("Pipeline", "PipelineRun"):
        inner, path = (
            (spec, "spec")
            if obj["kind"] == "Pipeline"
            else (spec.get("pipelineSpec") or {}, "spec.pipelineSpec")
        )
        yield from _pipeline_references(inner, path)


def _pipeline_references(pipeline_spec: Object, path: str) -> Iterator[tuple[str, str, Object]]:
    """Yield the references of a Pipeline's Tasks, and of Pipelines in it. A custom task refers to nothing."""
    for section in SECTIONS:
        for index, task in enumerate(pipeline_spec.get(section) or ()):
            at = f"{path}.{section}[{index}]"
            if is_custom(task):
                continue
            for kind, field in (("Task", "taskRef"), ("Pipeline", "pipelineRef")):
                if task.get(field) is not None:
                    yield kind, f"{at}.{field}", task[field]
            yield from _step_references(task.get("taskSpec") or {}, f"{at}.taskSpec")
            yield from _pipeline_references(task.get("pipelineSpec") or {}, f"{at}.pipelineSpec")


def _step_references(task_spec: Object, path: str) -> Iterator[tuple[str, str, Object]]:
    """Yield the references of a Task's Steps to StepActions."""
    for index, step in enumerate(task_spec.get("steps") or ()):
        if step.get("ref") is not None:
            yield "StepAction", f"{path}.steps[{index}].ref", step["ref"]


def _check_reference(
    document: Document, kind: str, path: str, reference: Object, known: Sequence[tuple[str, str]]
) -> None:
    """Refuse a reference to an object that is not in the files."""
    namespace = document.obj["metadata"].get("namespace") or NAMESPACE
    name = reference.get("name", "")
    if (namespace, name) in known:
        return
    near = difflib.get_close_matches(name, [other for space, other in known if space == namespace], n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    listed = ", ".join(f"{space}/{other}" for space, other in known) or "none"
    raise document.refuse(
        f'no {kind} "{name}" in namespace "{namespace}" among these files ({kind}s there: {listed}){hint}',
        f"{path}.name",
    )


def _as_created(obj: Object) -> Object:
    """Return the object as it is created: without its status and other fields that a server sets."""
    metadata: dict[str, Any] = {k: v for k, v in obj["metadata"].items() if k not in _SET_BY_SERVER}
    metadata["namespace"] = metadata.get("namespace") or NAMESPACE
    created = {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}
    if texts := created.pop("stringData", None):
        encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in texts.items()}
        created["data"] = {**(created.get("data") or {}), **encoded}
    return created
