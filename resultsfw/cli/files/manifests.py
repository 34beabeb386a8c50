"""Pick the runs and what they refer to from the documents of all files, and validate them."""

import base64
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from resultsfw.cli.files.admission import admit, refuse_as_webhook
from resultsfw.cli.files.implied_run import implied_run, refuse_missing
from resultsfw.cli.files.inputs import Document
from resultsfw.cli.files.object_references import NAMESPACE, check_references, spec_of
from resultsfw.cli.files.run_params import with_params
from resultsfw.cli.files.run_workspaces import Bindings, with_bindings
from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.local.host_paths import HOST_PATH, host_path_in
from resultsfw.tekton.api.models import (
    validate_step_action_document,
    validate_task_document,
    validate_taskrun_document,
)
from resultsfw.tekton.api.unknown import unknown_fields
from resultsfw.tekton.pipelinerun.models import validate_pipeline_document, validate_pipelinerun_document

__all__ = ["GivenInputs", "Manifests", "checked", "pick"]

_GROUP: Final = "tekton.dev"
_PARSERS: Final[Mapping[str, Callable[[Object], object]]] = {
    "Task": validate_task_document,
    "TaskRun": validate_taskrun_document,
    "Pipeline": validate_pipeline_document,
    "PipelineRun": validate_pipelinerun_document,
    "StepAction": validate_step_action_document,
}
_OF_PODS: Final = ("PersistentVolumeClaim", "Role", "RoleBinding", "Secret", "ServiceAccount")
"""Kinds of Kubernetes' own, beside ConfigMaps, that pods of the runs use."""

_SILENT: Final = frozenset({"Namespace"})
"""Kinds that nobody misses: here every namespace exists."""
_LEFT_OUT: Final[Mapping[str, str]] = {
    "ClusterRole": "on this machine only Roles and RoleBindings grant anything",
    "ClusterRoleBinding": "on this machine only Roles and RoleBindings grant anything",
    "CustomRun": "nothing runs custom tasks on this machine",
    "LimitRange": "the limits of a namespace are not applied on this machine",
    "Pod": "nothing here uses it: each run creates a Pod of its own",
    "ResolutionRequest": "nothing here uses it: each run makes requests of its own",
    "ResourceQuota": "the limits of a namespace are not applied on this machine",
    "VerificationPolicy": "signatures of Tasks and Pipelines are not verified on this machine",
}
"""Why documents of a kind have no effect; of other kinds, because only a cluster has them."""

_MADE: Final = "nothing here uses it: its PipelineRun makes it anew"

_SET_BY_SERVER: Final = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "managedFields",
    "selfLink",
)
_FOLDER_CLAIM: Final[Object] = {
    "accessModes": ["ReadWriteMany"],
    "resources": {"requests": {"storage": "1Gi"}},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenInputs:
    """What the command line gives the runs.

    Attributes:
        params: Of ``-p``, as typed.
        bindings: Of ``-w``.
    """

    params: Sequence[str] = ()
    bindings: Bindings = field(default_factory=Bindings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """The objects of the files.

    Attributes:
        runs: TaskRuns and PipelineRuns to be run, in order, ready to be created.
        tasks: Tasks, Pipelines and StepActions.
        needed: Other objects that they may refer to by name: ConfigMaps, Secrets, PersistentVolumeClaims,
            ServiceAccounts, Roles and RoleBindings.
        maps: ConfigMaps, one of which may be the feature flags.
        left_out: A sentence for each document without effect.
        warnings: A sentence for each field that an API server would not know, or would correct.
        folders: Folders of this machine, by namespace and name of the claim that stands for each.
    """

    runs: Sequence[Object]
    tasks: Sequence[Object]
    needed: Sequence[Object]
    maps: Sequence[Document]
    left_out: Sequence[str]
    warnings: Sequence[str] = ()
    folders: Mapping[tuple[str, str], Path] = field(default_factory=dict)


def pick(
    documents: Sequence[Document],
    files: Sequence[str],
    resolvers: Collection[str] = (),
    given: GivenInputs | None = None,
) -> Manifests:
    """Sort the documents of files by their use, give the runs what the command line gives, and validate them.

    Args:
        documents: Of the files.
        files: Their names.
        resolvers: Resolvers that may fetch from elsewhere.
        given: What the command line gives the runs.

    Raises:
        InputError: There is no run, or a document is invalid; the message names file, document, field.
    """
    given = given or GivenInputs()
    documents, corrections = admit(documents)
    tekton = [document for document in documents if _is_tekton(document)]
    made = _made_by_others(tekton)
    tekton = [document for document in tekton if id(document) not in made]
    tasks = [document for document in tekton if document.kind in ("Task", "Pipeline", "StepAction")]
    maps = [_require_name(document) for document in documents if document.kind == "ConfigMap"]
    used_by_pods = [_require_name(document) for document in documents if document.kind in _OF_PODS]
    runs, claims = _runs(tekton, tasks, documents, files, given)
    known = _by_name([*tasks, *runs, *maps, *used_by_pods])
    for document in [*tasks, *runs]:
        check_references(document, known, resolvers)
    own = [document for document in tekton if document.kind in _PARSERS]
    used = {id(document) for document in (*own, *maps, *used_by_pods)}
    return Manifests(
        runs=[_as_created(document.obj) for document in runs],
        tasks=[_as_created(document.obj) for document in tasks],
        needed=[
            *(_as_created(document.obj) for document in (*maps, *used_by_pods)),
            *(_folder_claim(*claim) for claim in claims),
        ],
        maps=maps,
        left_out=[
            _left_out(document, _MADE if id(document) in made else "")
            for document in documents
            if id(document) not in used and document.kind not in _SILENT
        ],
        warnings=[
            *corrections,
            *(
                f"{document.where}: {line}"
                for document in (*tasks, *runs)
                for line in unknown_fields(document.obj)
            ),
        ],
        folders={claim: given.bindings.folders[claim[1]] for claim in claims},
    )


def _runs(
    tekton: Sequence[Document],
    tasks: Sequence[Document],
    documents: Sequence[Document],
    files: Sequence[str],
    given: GivenInputs,
) -> tuple[list[Document], list[tuple[str, str]]]:
    """Return the runs as they are to be created, and the claims that stand for folders in them."""
    runs = [document for document in tekton if document.kind in ("TaskRun", "PipelineRun")]
    for document in [*tasks, *runs]:
        checked(document)
    implied = None if runs else implied_run(tasks)
    runs = runs or ([implied] if implied else [])
    if not runs:
        found = ", ".join(document.label for document in documents) or "nothing"
        named = ", ".join(files)
        raise InputError(
            f"{named}: no TaskRun, PipelineRun, Task or Pipeline to run; found: {found}", subject=named
        )
    specs = [spec_of(run.obj, tasks) for run in runs]
    runs = with_params(runs, specs, given.params)
    runs, claims = with_bindings(runs, specs, given.bindings)
    if implied and specs[0] is not None:
        refuse_missing(runs[0], specs[0])
    for document in [*tasks, *runs]:
        _check(document)
    return runs, claims


def _check(document: Document) -> None:
    """Refuse a document of valid shape that a cluster would not store, or that nothing here could run."""
    refuse_as_webhook(document)
    if path := host_path_in(document.obj):
        raise document.refuse(HOST_PATH, path)
    if str(document.obj["spec"].get("status") or "").endswith("Pending"):
        raise document.refuse("is pending, and nothing here would start the run: remove it", "spec.status")


def _made_by_others(documents: Sequence[Document]) -> set[int]:
    """Return the ids of the runs whose PipelineRun is among the documents, as in a saved List."""
    metadata = [document.obj.get("metadata") for document in documents if document.kind == "PipelineRun"]
    pipelineruns = {
        (str(given.get("namespace")), str(given.get("name"))) for given in metadata if isinstance(given, dict)
    }
    return {
        id(document) for document in documents for owner in _owners(document.obj) if owner in pipelineruns
    }


def _owners(obj: Object) -> Iterator[tuple[str, str]]:
    """Yield namespace and name of the PipelineRuns that an unchecked document names as its owners."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(owners := metadata.get("ownerReferences"), list):
        return
    for owner in owners:
        if isinstance(owner, dict) and owner.get("kind") == "PipelineRun":
            yield str(metadata.get("namespace")), str(owner.get("name"))


def _left_out(document: Document, why: str = "") -> str:
    why = why or _LEFT_OUT.get(document.kind, f"only a cluster has objects of kind {document.kind}")
    return f"{document.label} ({document.where}): {why}"


def _folder_claim(namespace: str, name: str) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": _FOLDER_CLAIM}


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


def _as_created(obj: Object) -> Object:
    """Return the object as it is created: without its status and other fields that a server sets."""
    metadata: dict[str, Any] = {k: v for k, v in obj["metadata"].items() if k not in _SET_BY_SERVER}
    metadata["namespace"] = metadata.get("namespace") or NAMESPACE
    created = {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}
    if texts := created.pop("stringData", None):
        encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in texts.items()}
        created["data"] = {**(created.get("data") or {}), **encoded}
    return created
