"""What is to be run, picked from the documents of all files and checked before anything starts."""

import base64
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.cli.inputs import Document
from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.api.models import parse_task, parse_taskrun
from resultsfw.tekton.api.unknown import unknown_fields
from resultsfw.tekton.pipelinerun.models import parse_pipeline, parse_pipelinerun
from resultsfw.tekton.pipelinerun.validate_pipeline import SECTIONS

__all__ = ["NAMESPACE", "Manifests", "checked", "pick"]

NAMESPACE: Final = "default"
"""Where an object without a namespace lives, as with kubectl."""

_GROUP: Final = "tekton.dev"
_PARSERS: Final[Mapping[str, Callable[[Object], object]]] = {
    "Task": parse_task,
    "TaskRun": parse_taskrun,
    "Pipeline": parse_pipeline,
    "PipelineRun": parse_pipelinerun,
}
_SERVERS: Final = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What the files hold.

    Attributes:
        runs: TaskRuns and PipelineRuns to be run, in order, ready to be created.
        needed: What they may refer to by name: Tasks, Pipelines, ConfigMaps, Secrets.
        maps: ConfigMaps, one of which may be the feature flags.
        others: What nothing is done with.
        doubts: A sentence for each field that an API server would not know.
    """

    runs: Sequence[Object]
    needed: Sequence[Object]
    maps: Sequence[Document]
    others: Sequence[Document]
    doubts: Sequence[str] = ()


def pick(documents: Sequence[Document], files: Sequence[str]) -> Manifests:
    """Sort the documents of some files and check those that count.

    Raises:
        InputError: There is no run, or one that is wrong; the message names file, document, field.
    """
    runs = [one for one in documents if one.kind in ("TaskRun", "PipelineRun") and _is_tekton(one)]
    tasks = [one for one in documents if one.kind in ("Task", "Pipeline") and _is_tekton(one)]
    if not runs:
        found = ", ".join(one.label for one in documents) or "nothing"
        named = ", ".join(files)
        raise InputError(f"{named}: no TaskRun or PipelineRun to run; found: {found}", subject=named)
    maps = [_named(one) for one in documents if one.kind == "ConfigMap"]
    secrets = [_named(one) for one in documents if one.kind == "Secret"]
    for document in [*tasks, *runs]:
        checked(document)
    for document in runs:
        if str(document.obj["spec"].get("status") or "").endswith("Pending"):
            raise document.refuse("is to wait, and nobody can let it go on here: leave it out", "spec.status")
    known = _by_name([*tasks, *runs, *maps, *secrets])
    for document in [*tasks, *runs]:
        for kind, field, reference in _references(document.obj):
            there = [(space, name) for other, space, name in known if other == kind]
            _check_reference(document, kind, field, reference, there)
    used = {id(one) for one in (*runs, *tasks, *maps, *secrets)}
    return Manifests(
        runs=[_fresh(one.obj) for one in runs],
        needed=[_fresh(one.obj) for one in (*tasks, *maps, *secrets)],
        maps=maps,
        others=[one for one in documents if id(one) not in used],
        doubts=[f"{one.where}: {line}" for one in (*tasks, *runs) for line in unknown_fields(one.obj)],
    )


def checked(document: Document) -> Object:
    """A Task, Pipeline, TaskRun or PipelineRun that has the shape of one.

    Raises:
        InputError: It has not; the message names file, document and field.
    """
    try:
        _PARSERS[document.kind](document.obj)
    except InputError as error:
        raise document.refuse(error.message, error.subject, said=True) from error
    return document.obj


def _is_tekton(document: Document) -> bool:
    return str(document.obj["apiVersion"]).partition("/")[0] == _GROUP


def _named(document: Document) -> Document:
    """One of Kubernetes' own kinds, with a name."""
    metadata = document.obj.get("metadata")
    if not isinstance(metadata, dict):
        raise document.refuse("is missing" if metadata is None else "must be a mapping", "metadata")
    if not isinstance(metadata.get("name"), str):
        raise document.refuse("must be text" if metadata.get("name") else "is missing", "metadata.name")
    return document


def _by_name(documents: Sequence[Document]) -> dict[tuple[str, str, str], Document]:
    """The documents by kind, namespace and name; none may be there twice."""
    known: dict[tuple[str, str, str], Document] = {}
    for document in documents:
        metadata = document.obj["metadata"]
        if name := metadata.get("name"):
            key = (document.kind, metadata.get("namespace") or NAMESPACE, name)
            first = known.setdefault(key, document)
            if first is not document:
                raise document.refuse(f"{document.label} stands in {first.where} already", "metadata.name")
    return known


def _references(obj: Object) -> Iterator[tuple[str, str, Object]]:
    """What a document refers to by name: its kind, the field that does, the reference."""
    spec = obj["spec"]
    for kind, field in (("Task", "taskRef"), ("Pipeline", "pipelineRef")):
        if spec.get(field) is not None:
            yield kind, f"spec.{field}", spec[field]
    if obj["kind"] in ("Pipeline", "PipelineRun"):
        inner, path = (
            (spec, "spec")
            if obj["kind"] == "Pipeline"
            else (spec.get("pipelineSpec") or {}, "spec.pipelineSpec")
        )
        for section in SECTIONS:
            for index, task in enumerate(inner.get(section) or ()):
                if task.get("taskRef") is not None:
                    yield "Task", f"{path}.{section}[{index}].taskRef", task["taskRef"]


def _check_reference(
    document: Document, kind: str, path: str, reference: Object, known: Sequence[tuple[str, str]]
) -> None:
    """What a document names must be there."""
    for field in ("resolver", "bundle"):
        if reference.get(field):
            raise document.refuse(
                f"{kind}s are taken from the files only, by name; put the {kind} beside the run",
                f"{path}.{field}",
            )
    namespace = document.obj["metadata"].get("namespace") or NAMESPACE
    name = reference.get("name", "")
    if (namespace, name) in known:
        return
    there = [one for space, one in known if space == namespace]
    near = difflib.get_close_matches(name, there, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    listed = ", ".join(f"{space}/{one}" for space, one in known) or "none"
    raise document.refuse(
        f'no {kind} "{name}" in namespace "{namespace}" among these files ({kind}s there: {listed}){hint}',
        f"{path}.name",
    )


def _fresh(obj: Object) -> Object:
    """The object as it would be created: what a server added, a status above all, is left behind."""
    metadata: dict[str, Any] = {k: v for k, v in obj["metadata"].items() if k not in _SERVERS}
    metadata["namespace"] = metadata.get("namespace") or NAMESPACE
    fresh = {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}
    if texts := fresh.pop("stringData", None):
        encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in texts.items()}
        fresh["data"] = {**(fresh.get("data") or {}), **encoded}
    return fresh
