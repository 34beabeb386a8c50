"""Refuse a Pipeline that contains itself, and Pipelines that are nested too deep or have too many runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import NotFoundError
from resultsfw.tekton.api.fields import MAX_NESTED_PIPELINES
from resultsfw.tekton.api.kinds import PIPELINE_LABEL, PIPELINERUNS
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.children import kind_of
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of

__all__ = ["MAX_RUNS_OF_LEVEL", "Ancestry", "ancestry_of", "refuse_nesting"]

MAX_RUNS_OF_LEVEL: Final = 10_000
"""PipelineRuns on one level below one PipelineRun: eight levels of a hundred each are 10^16."""


@dataclass(frozen=True, slots=True)
class Ancestry:
    """A PipelineRun and those that it is a child of.

    Attributes:
        pipelines: Their Pipelines, from the inner to the outer.
        breadth: The product of how many child PipelineRuns each above it has. If that is limited for every
            run of a level, the runs of the level are, whatever they have beside each other: each is at most
            one part in so many of the whole.
    """

    pipelines: Sequence[str]
    breadth: int


def ancestry_of(pipelinerun: Object, cluster: Cluster) -> Ancestry:
    """Return the ancestry of a PipelineRun.

    As Tekton's ``detectPipelineRefCycle``: by owner references, and by the label of each. More than
    `MAX_NESTED_PIPELINES` levels are not read.

    Raises:
        ClusterError: An ancestor could not be read. An ancestor that is gone ends the search.
    """
    names: list[str] = []
    breadth = 1
    current, namespace = pipelinerun, pipelinerun["metadata"].get("namespace", "")
    while len(names) <= MAX_NESTED_PIPELINES:
        metadata = current["metadata"]
        names.append((metadata.get("labels") or {}).get(PIPELINE_LABEL) or metadata["name"])
        owners = metadata.get("ownerReferences") or ()
        parent = next((owner for owner in owners if owner.get("kind") == PIPELINERUNS.kind), None)
        if parent is None:
            break
        try:
            current = cluster.get(PIPELINERUNS, namespace, str(parent.get("name", "")))
        except NotFoundError:
            break
        breadth *= max(1, _nested_runs(current))
    return Ancestry(names, breadth)


def _nested_runs(pipelinerun: Object) -> int:
    """Return how many child PipelineRuns a run has, or is to have as far as its Pipeline's text says."""
    status = pipelinerun.get("status") or {}
    spec = status.get("pipelineSpec") or (pipelinerun.get("spec") or {}).get("pipelineSpec") or {}
    written = [task for _, task in tasks_of(spec) if kind_of(task) == PIPELINERUNS]
    begun = [child for child in status.get("childReferences") or () if child.get("kind") == PIPELINERUNS.kind]
    return max(len(written), len(begun))


def refuse_nesting(child: Object, above: Ancestry, siblings: int) -> None:
    """Refuse a child PipelineRun of a Pipeline that is running above it, and one too deep or one of too many.

    Args:
        child: To be created.
        above: Of its parent.
        siblings: How many child PipelineRuns its parent is to have.

    Raises:
        RefusedRun: It is one of these; with Tekton's reason and message for a cycle.
    """
    pipelines, named = above.pipelines, f'PipelineRun "{child["metadata"]["name"]}"'
    name = (child["spec"].get("pipelineRef") or {}).get("name")
    if name in pipelines:
        chain = " ".join(pipelines[: pipelines.index(name)])
        raise RefusedRun(
            reasons.CREATE_RUN_FAILED,
            f'detected cycle in pipeline-in-pipeline: pipeline "{name}" is already running in ancestor chain '
            f"[{chain}]",
        )
    if len(pipelines) > MAX_NESTED_PIPELINES:
        raise RefusedRun(
            reasons.CREATE_RUN_FAILED,
            f"{named} would nest Pipelines deeper than the limit of {MAX_NESTED_PIPELINES} levels; make the "
            f"Pipelines flatter",
        )
    if len(pipelines) > 1 and (runs := above.breadth * siblings) > MAX_RUNS_OF_LEVEL:
        raise RefusedRun(
            reasons.CREATE_RUN_FAILED,
            f"{named} could be one of {runs} PipelineRuns on its level of Pipelines in Pipelines, over the "
            f"limit of {MAX_RUNS_OF_LEVEL}; use fewer Pipelines in each, or fewer levels",
        )
