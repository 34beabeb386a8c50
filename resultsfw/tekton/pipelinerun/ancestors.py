"""Refuse a Pipeline that contains itself, and Pipelines that are nested too deep."""

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import NotFoundError
from resultsfw.tekton.api.fields import MAX_NESTED_PIPELINES
from resultsfw.tekton.api.kinds import PIPELINE_LABEL, PIPELINERUNS
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.pipelinerun import reasons

__all__ = ["pipelines_above", "refuse_cycle"]


def pipelines_above(pipelinerun: Object, cluster: Cluster) -> list[str]:
    """Return the Pipelines of a PipelineRun and of those it is a child of, from the inner to the outer.

    As Tekton's ``detectPipelineRefCycle``: by owner references, and by the label of each. More than
    `MAX_NESTED_PIPELINES` levels are not read.

    Raises:
        ClusterError: An ancestor could not be read. An ancestor that is gone ends the search.
    """
    names: list[str] = []
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
    return names


def refuse_cycle(child: Object, above: list[str]) -> None:
    """Refuse a child PipelineRun of a Pipeline that is running above it, and one too deep.

    Args:
        child: To be created.
        above: The Pipelines of its parent and of those above.

    Raises:
        RefusedRun: It is one of these; with Tekton's reason and message for a cycle.
    """
    name = (child["spec"].get("pipelineRef") or {}).get("name")
    if name in above:
        chain = " ".join(above[: above.index(name)])
        raise RefusedRun(
            reasons.CREATE_RUN_FAILED,
            f'detected cycle in pipeline-in-pipeline: pipeline "{name}" is already running in ancestor chain '
            f"[{chain}]",
        )
    if len(above) > MAX_NESTED_PIPELINES:
        raise RefusedRun(
            reasons.CREATE_RUN_FAILED,
            f'PipelineRun "{child["metadata"]["name"]}" would nest Pipelines deeper than the limit of '
            f"{MAX_NESTED_PIPELINES} levels; make the Pipelines flatter",
        )
