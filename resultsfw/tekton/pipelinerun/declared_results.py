"""Find the declared results of custom tasks and Pipelines in Pipelines before the first child is created."""

import json
from collections.abc import Iterator
from typing import Any

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import InputError, NotFoundError
from resultsfw.tekton.api.kinds import CUSTOMRUNS, PIPELINERUNS, PIPELINES
from resultsfw.tekton.api.refusals import USER_ERROR, RefusedRun
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.children import kind_of
from resultsfw.tekton.pipelinerun.matrix import is_matrixed
from resultsfw.tekton.pipelinerun.models import validate_pipeline_document
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of
from resultsfw.tekton.resolution.outcomes import ResolutionFailed
from resultsfw.tekton.resolution.references import described, reference_of
from resultsfw.tekton.resolution.requests import Requester
from resultsfw.tekton.resolution.resolver import resolve
from resultsfw.tekton.spec.expansion import Budget, Expansion

__all__ = ["AnyName", "other_results"]


class AnyName(frozenset[str]):
    """The result names of a custom task, which declares none: every name is accepted."""

    def __contains__(self, name: object) -> bool:
        """Return whether there may be a result of that name."""
        return isinstance(name, str)


def other_results(
    spec: Object, cluster: Cluster, requester: Requester, pipeline: str, *, most: int, custom_tasks: bool
) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the names of the results of each Pipeline Task that is a custom task or a Pipeline.

    Args:
        spec: Of the Pipeline that is to run.
        cluster: Where Pipelines are.
        requester: The run, which asks resolvers for Pipelines.
        pipeline: The name of the Pipeline.
        most: How many different Pipelines it may name: each is a request.
        custom_tasks: Whether there may be controllers of custom tasks.

    Raises:
        RefusedRun: A Pipeline cannot be run, or there is none; or custom tasks are not run here.
        AwaitingResolution: A resolver has not found one of the Pipelines yet.
        ClusterError: A Pipeline could not be read.
    """
    namespace = requester.namespace
    whose = f"Pipeline {namespace}/{pipeline} can't be Run"
    others = [task for _, task in tasks_of(spec) if kind_of(task) in (CUSTOMRUNS, PIPELINERUNS)]
    refs = [task.get("pipelineRef") or {} for task in others]
    names = {ref.get("name") for ref in refs if not ref.get("resolver")} - {None, ""}
    if (count := len(names) + sum(bool(ref.get("resolver")) for ref in refs)) > most:
        raise RefusedRun(
            reasons.INVALID,
            f"{USER_ERROR}{whose}; it names {count} different Pipelines, over the limit of {most}; "
            f"embed some of them, or split it into several Pipelines",
        )
    known: dict[str, frozenset[str]] = {}
    for task in others:
        if kind_of(task) == CUSTOMRUNS:
            if not custom_tasks:
                raise _no_controller(task, whose)
            yield task["name"], AnyName()
        elif is_matrixed(task):
            yield task["name"], frozenset()  # they may be no texts, and an array holds nothing else
        elif task.get("pipelineSpec") is not None:
            yield task["name"], _names(task["pipelineSpec"])
        elif task["pipelineRef"].get("resolver"):
            yield task["name"], _names(_resolved(cluster, task["pipelineRef"], requester, whose))
        else:
            name = task["pipelineRef"].get("name") or ""
            if name not in known:
                known[name] = _names(_read(cluster, namespace, name, whose))
            yield task["name"], known[name]


def _names(spec: Object) -> frozenset[str]:
    return frozenset(result["name"] for result in spec.get("results") or ())


def _read(cluster: Cluster, namespace: str, name: str, whose: str) -> Any:
    try:
        pipeline = cluster.get(PIPELINES, namespace, name)
        validate_pipeline_document(pipeline)
    except NotFoundError as error:
        raise RefusedRun(
            reasons.COULDNT_GET_PIPELINE,
            f"{whose}; it contains child Pipelines that don't exist: "
            f'Couldn\'t retrieve Pipeline "{name}": {error.message}',
        ) from error
    except InputError as error:
        raise RefusedRun(
            reasons.INVALID, f'{USER_ERROR}{whose}; its child Pipeline "{name}" is invalid: {error.message}'
        ) from error
    return pipeline["spec"]


def _resolved(cluster: Cluster, ref: Object, requester: Requester, whose: str) -> Any:
    """Return the spec of a Pipeline that a resolver finds; the child PipelineRun asks for it again."""
    # The Pipeline's variables are replaced already; what is left is the resolver's, as under Tekton.
    reference = reference_of(ref, PIPELINES, Expansion(lambda _: None, Budget()), "pipelineRef")
    try:
        found = resolve(cluster, reference, requester, validate_pipeline_document)
    except ResolutionFailed as error:
        name = json.dumps(reference.name or described(ref), ensure_ascii=False)
        raise RefusedRun(
            reasons.COULDNT_GET_PIPELINE,
            f"{whose}; it contains child Pipelines that don't exist: Couldn't retrieve Pipeline {name}: "
            f"resolver failed to get Pipeline {reference.name}: {error.message}",
        ) from error
    return found.document["spec"]


def _no_controller(task: Object, whose: str) -> RefusedRun:
    named = task.get("taskRef") or task["taskSpec"]
    return RefusedRun(
        reasons.COULDNT_GET_TASK,
        f'{USER_ERROR}{whose}: Pipeline Task "{task["name"]}" is a custom task ({named["apiVersion"]}, '
        f"{named['kind']}), and no controller of custom tasks runs here; run it on a cluster that has one",
    )
