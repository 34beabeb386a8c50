"""Make the run of a Task or Pipeline in files that contain no run."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from resultsfw.cli.files.inputs import Document
from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of

__all__ = ["implied_run", "refuse_missing"]

_NAME_LENGTH: Final = 63
_RUNS: Final[Mapping[str, tuple[str, str]]] = {
    "Task": ("TaskRun", "taskRef"),
    "Pipeline": ("PipelineRun", "pipelineRef"),
}


def implied_run(documents: Sequence[Document]) -> Document | None:
    """Return the run of the only Task or Pipeline that nothing else in the files uses; ``None`` without one.

    Of files with Pipelines, a Pipeline is run: the Tasks are its parts.

    Args:
        documents: The valid Tasks and Pipelines of the files.

    Raises:
        InputError: There are several.
    """
    pipelines = [document for document in documents if document.kind == "Pipeline"]
    tasks = [document for document in documents if document.kind == "Task"]
    nested = {name for pipeline in pipelines for name in _nested(pipeline.obj["spec"])}
    roots = [pipeline for pipeline in pipelines if pipeline.obj["metadata"].get("name") not in nested]
    candidates = roots or pipelines or tasks
    if not candidates:
        return None
    if len(candidates) > 1:
        listed = ", ".join(f"{document.label} ({document.where})" for document in candidates[:5])
        more = f" and {len(candidates) - 5} more" if len(candidates) > 5 else ""  # noqa: PLR2004
        kind = _RUNS[candidates[0].kind][0]
        raise InputError(
            f"no TaskRun or PipelineRun, and more than one could be run: {listed}{more}; name the file of "
            f"one, or add a {kind}",
            subject=candidates[0].source,
        )
    return _run_of(candidates[0])


def _run_of(document: Document) -> Document:
    kind, reference = _RUNS[document.kind]
    metadata = document.obj["metadata"]
    name = metadata["name"]
    run: Object = {
        "apiVersion": "tekton.dev/v1",
        "kind": kind,
        "metadata": {"name": f"{name[: _NAME_LENGTH - 4].rstrip('-.')}-run"},
        "spec": {reference: {"name": name}},
    }
    if metadata.get("namespace"):
        run["metadata"]["namespace"] = metadata["namespace"]
    return Document(document.source, document.number, run, document.text, document.within)


def _nested(spec: Object) -> Iterator[str]:
    """Yield the names of the Pipelines to which the Tasks of a Pipeline refer."""
    for _, task in tasks_of(spec):
        if name := (task.get("pipelineRef") or {}).get("name"):
            yield name
        yield from _nested(task.get("pipelineSpec") or {})


def refuse_missing(run: Document, spec: Object) -> None:
    """Refuse a run made here that lacks a param or workspace, and say by which option it is given.

    Raises:
        InputError: It lacks one.
    """
    given = {param["name"] for param in run.obj["spec"].get("params") or ()}
    bound = {binding["name"] for binding in run.obj["spec"].get("workspaces") or ()}
    params = [
        param["name"]
        for param in spec.get("params") or ()
        if param.get("default") is None and param["name"] not in given
    ]
    workspaces = [
        workspace["name"]
        for workspace in spec.get("workspaces") or ()
        if not workspace.get("optional") and workspace["name"] not in bound
    ]
    options = [f"-p {name}=VALUE" for name in params] + [f"-w name={name},emptyDir=" for name in workspaces]
    if options:
        wanted = [f'param "{name}"' for name in params] + [f'workspace "{name}"' for name in workspaces]
        raise run.refuse(f"it needs {', '.join(wanted)}: add {' '.join(options)}")
