"""Bind the workspaces of a Pipeline Task's children to what the PipelineRun binds."""

import posixpath
from collections.abc import Iterator, Mapping

from resultsfw.cluster import Object
from resultsfw.tekton.api.kinds import ASSISTANT_ANNOTATION
from resultsfw.tekton.pipelinerun.affinity_assistant import assistant_of_task, bound_claim
from resultsfw.tekton.pipelinerun.variables import propagated_workspaces
from resultsfw.tekton.spec.coscheduling import Mode

__all__ = ["assistant_annotation", "task_workspaces"]


def task_workspaces(
    pipelinerun: Object, bound: Mapping[str, Object], task: Object, mode: Mode
) -> list[Object]:
    """Return the ``workspaces`` of a Pipeline Task's children; a template's claim is one for the whole run.

    Args:
        pipelinerun: The run.
        bound: What it binds, by workspace, with variables replaced.
        task: The Pipeline Task.
        mode: How pods are placed: it decides the names of claims.
    """
    given: list[Object] = []
    for usage, source in _used(bound, task):
        binding = {key: value for key, value in source.items() if key != "volumeClaimTemplate"}
        if source.get("volumeClaimTemplate") is not None:
            binding["persistentVolumeClaim"] = {"claimName": bound_claim(source, pipelinerun, mode)}
        binding["name"] = usage["name"]
        below = [part for part in (source.get("subPath"), usage.get("subPath")) if part]
        if below:
            # As Go's filepath.Join: a second path that begins with "/" is below the first, too.
            binding["subPath"] = below[0] if len(below) == 1 else posixpath.normpath("/".join(below))
        given.append(binding)
    return given


def assistant_annotation(
    pipelinerun: Object, bound: Mapping[str, Object], task: Object, mode: Mode
) -> dict[str, str]:
    """Return the annotation that places the pods of a Pipeline Task's children; empty if nothing does.

    Args:
        pipelinerun: The run.
        bound: What it binds, by workspace, as it is known before any Task has run.
        task: The Pipeline Task.
        mode: How pods are placed.
    """
    name = assistant_of_task(pipelinerun, mode, [source for _, source in _used(bound, task)])
    return {ASSISTANT_ANNOTATION: name} if name else {}


def _used(bound: Mapping[str, Object], task: Object) -> Iterator[tuple[Object, Object]]:
    """Yield each use of a workspace that the run binds, and its binding.

    The others are optional, or refused by the child's own validation.
    """
    for usage in (*(task.get("workspaces") or ()), *propagated_workspaces(task)):
        if (source := bound.get(usage.get("workspace") or usage["name"])) is not None:
            yield usage, source
