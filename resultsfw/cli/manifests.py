"""What is to be run, picked from the documents of all files and checked before anything starts."""

import base64
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.cli.inputs import Document
from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.models import parse_task, parse_taskrun

__all__ = ["NAMESPACE", "Manifests", "checked", "pick"]

NAMESPACE: Final = "default"
"""Where an object without a namespace lives, as with kubectl."""

_GROUP: Final = "tekton.dev"
_SERVERS: Final = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields", "selfLink")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What the files hold.

    Attributes:
        taskruns: To be run, in order, ready to be created.
        needed: What they may refer to by name: Tasks, ConfigMaps, Secrets.
        maps: ConfigMaps, one of which may be the feature flags.
        others: What nothing is done with.
    """

    taskruns: Sequence[Object]
    needed: Sequence[Object]
    maps: Sequence[Document]
    others: Sequence[Document]


def pick(documents: Sequence[Document], files: Sequence[str]) -> Manifests:
    """Sort the documents of some files and check those that count.

    Raises:
        InputError: There is no TaskRun, or one that is wrong; the message names file, document, field.
    """
    for document in documents:
        if document.kind == "PipelineRun" and _is_tekton(document):
            raise document.refuse(
                f"{document.label}: PipelineRuns cannot be run yet; run its Tasks as TaskRuns", "kind"
            )
    runs = [one for one in documents if one.kind == "TaskRun" and _is_tekton(one)]
    tasks = [one for one in documents if one.kind == "Task" and _is_tekton(one)]
    if not runs:
        found = ", ".join(one.label for one in documents) or "nothing"
        named = ", ".join(files)
        raise InputError(f"{named}: no TaskRun to run; found: {found}", subject=named)
    maps = [_named(one) for one in documents if one.kind == "ConfigMap"]
    secrets = [_named(one) for one in documents if one.kind == "Secret"]
    for document in [*tasks, *runs]:
        checked(document)
    known = _by_name([*tasks, *runs, *maps, *secrets])
    for document in runs:
        _check_task(document, [name for kind, *name in known if kind == "Task"])
    used = {id(one) for one in (*runs, *tasks, *maps, *secrets)}
    return Manifests(
        taskruns=[_fresh(one.obj) for one in runs],
        needed=[_fresh(one.obj) for one in (*tasks, *maps, *secrets)],
        maps=maps,
        others=[one for one in documents if id(one) not in used],
    )


def checked(document: Document) -> Object:
    """A Task or TaskRun that has the shape of one.

    Raises:
        InputError: It has not; the message names file, document and field.
    """
    try:
        if document.kind == "Task":
            parse_task(document.obj)
        else:
            parse_taskrun(document.obj)
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


def _check_task(document: Document, tasks: Sequence[Sequence[str]]) -> None:
    """The Task that a run names must be there."""
    spec = document.obj["spec"]
    reference = spec.get("taskRef")
    if reference is None:
        return
    for field in ("resolver", "bundle"):
        if reference.get(field):
            raise document.refuse(
                "Tasks are taken from the files only, by taskRef.name; put the Task beside the run",
                f"spec.taskRef.{field}",
            )
    namespace = document.obj["metadata"].get("namespace") or NAMESPACE
    name = reference.get("name", "")
    if [namespace, name] in tasks:
        return
    there = [known for space, known in tasks if space == namespace]
    near = difflib.get_close_matches(name, there, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    listed = ", ".join(f"{space}/{known}" for space, known in tasks) or "none"
    raise document.refuse(
        f'no Task "{name}" in namespace "{namespace}" among these files (Tasks there: {listed}){hint}',
        "spec.taskRef.name",
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
