"""Check that what the documents of files refer to by name is among them, and find the specs of their runs."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from resultsfw.cli.files.inputs import Document
from resultsfw.cli.files.run_params import EMBEDDED
from resultsfw.cluster import Object
from resultsfw.local.resolvers import CLUSTER, refusal_of
from resultsfw.tekton.pipelinerun.children import is_custom
from resultsfw.tekton.pipelinerun.validate_pipeline import SECTIONS

__all__ = ["NAMESPACE", "check_references", "spec_of"]

NAMESPACE: Final = "default"
"""Namespace of an object that names none, as with kubectl."""

_REFERENCES: Final[Mapping[str, tuple[str, str]]] = {
    "TaskRun": ("taskRef", "Task"),
    "PipelineRun": ("pipelineRef", "Pipeline"),
}


def check_references(
    document: Document, known: Collection[tuple[str, str, str]], resolvers: Collection[str]
) -> None:
    """Refuse a reference to an object that is not in the files, or by a resolver that is not allowed.

    Args:
        document: A valid Task, Pipeline, StepAction or run.
        known: Kind, namespace and name of each object in the files.
        resolvers: Resolvers that may fetch from elsewhere.

    Raises:
        InputError: The message names file, document and field.
    """
    for kind, field, reference in _references(document.obj):
        if resolver := reference.get("resolver"):
            if why := refusal_of(resolver, resolvers):
                raise document.refuse(why, f"{field}.resolver")
            continue
        same_kind = [(namespace, name) for other, namespace, name in known if other == kind]
        _check_reference(document, kind, field, reference, same_kind)


def spec_of(run: Object, tasks: Sequence[Document]) -> Object | None:
    """Return the spec of a run's Task or Pipeline; ``None`` if it is not among the files.

    Args:
        run: A valid TaskRun or PipelineRun.
        tasks: The Tasks and Pipelines of the files.
    """
    spec = run["spec"]
    if (embedded := spec.get(EMBEDDED[run["kind"]])) is not None:
        return dict(embedded)
    field, kind = _REFERENCES[run["kind"]]
    reference = spec.get(field) or {}
    name, namespace = reference.get("name"), run["metadata"].get("namespace")
    if reference.get("resolver") == CLUSTER:
        params = {param["name"]: param.get("value") for param in reference.get("params") or ()}
        name, namespace = params.get("name"), params.get("namespace") or namespace
    elif reference.get("resolver"):
        return None
    wanted = (kind, namespace or NAMESPACE, name)
    for document in tasks:
        metadata = document.obj["metadata"]
        if (document.kind, metadata.get("namespace") or NAMESPACE, metadata.get("name")) == wanted:
            return dict(document.obj["spec"])
    return None


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
