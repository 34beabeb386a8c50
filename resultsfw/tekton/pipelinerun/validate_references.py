"""What is wrong with a Pipeline's references, found before its first TaskRun is made."""

from collections.abc import Iterator, Mapping
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.api.refusals import USER_ERROR, RefusedRun
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.children import kind_of
from resultsfw.tekton.pipelinerun.dag import refs_of
from resultsfw.tekton.pipelinerun.declared_results import other_results
from resultsfw.tekton.pipelinerun.matrix import matrix_params
from resultsfw.tekton.pipelinerun.pipeline_spec import Plan
from resultsfw.tekton.pipelinerun.referred_tasks import MAX_TASKS, read_tasks
from resultsfw.tekton.pipelinerun.result_refs import ResultRef, result_refs
from resultsfw.tekton.pipelinerun.unreplaced import unreplaced_in
from resultsfw.tekton.pipelinerun.validate_matrix import untexted_results
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of
from resultsfw.tekton.resolution.requests import Requester
from resultsfw.tekton.resolution.terms import Terms
from resultsfw.tekton.spec.expansion import TooLargeError
from resultsfw.tekton.spec.params import ParamError
from resultsfw.tekton.spec.validate_taskrun import wrong_params

__all__ = ["refuse_references"]

_COUNTED: Final = ("params", "results", "steps", "sidecars", "workspaces")
_MOST_PARTS: Final = 500_000
"""Of all Tasks of a Pipeline: a large Task that is used thousands of times is gone through as often."""


def refuse_references(
    pipelinerun: Object,
    plan: Plan,
    cluster: Cluster,
    terms: Terms | None = None,
    *,
    custom_tasks: bool = True,
) -> None:
    """Raise for a Task that is not there, for what it is not given, or a result that it does not declare.

    Args:
        pipelinerun: The run.
        plan: What it is to do.
        cluster: Where Tasks and Pipelines are.
        terms: Of resolvers; ``None``: they may take until the run's timeout.
        custom_tasks: Whether there may be controllers of custom tasks.

    Raises:
        RefusedRun: With Tekton's reason; the message names who names what.
        AwaitingResolution: A resolver has not found one of the Tasks yet; all were asked for.
        ClusterError: A Task could not be read.
    """
    metadata = pipelinerun["metadata"]
    namespace = metadata.get("namespace", "")
    requester = Requester(pipelinerun, PIPELINERUNS, metadata["name"], terms)
    others = dict(
        other_results(plan.spec, cluster, requester, plan.name, most=MAX_TASKS, custom_tasks=custom_tasks)
    )
    referred = read_tasks(plan, cluster, pipelinerun, terms)
    specs = dict(_specs(plan, referred, namespace, f"{namespace}/{metadata['name']}"))
    results = {
        id(spec): frozenset(result["name"] for result in spec.get("results") or ()) for spec in specs.values()
    }
    declared = others | {name: results[id(spec)] for name, spec in specs.items()}
    untexted = {
        task["name"]: untexted_results(task, specs.get(task["name"], {})) for _, task in tasks_of(plan.spec)
    }
    for _, task in tasks_of(plan.spec):
        for ref in refs_of(task):
            _refuse_untexted(ref, untexted, f"{namespace}/{plan.name}")
            if why := _wrong(ref, declared):
                raise RefusedRun(
                    reasons.INVALID_RESULT_REFERENCE,
                    f'invalid result reference in pipeline task "{task["name"]}": {why}',
                )
    for result in plan.spec.get("results") or ():
        for ref in result_refs(result.get("value")):
            _refuse_untexted(ref, untexted, f"{namespace}/{plan.name}")
            if why := _wrong(ref, declared):
                raise RefusedRun(
                    reasons.INVALID_PIPELINE_RESULT,
                    f'Failed to resolve pipeline result reference for "{metadata["name"]}" with error '
                    f'invalid pipeline result "{result["name"]}": {why}',
                )
    _refuse_required(plan, specs)
    why = _unreplaced(plan, specs, declared)
    if why:
        raise RefusedRun(
            reasons.INVALID,
            f"{USER_ERROR}Pipeline {namespace}/{plan.name} can't be Run; it has an invalid spec: {why}",
        )


def _refuse_untexted(ref: ResultRef, untexted: Mapping[str, Mapping[str, str]], pipeline: str) -> None:
    """Refuse a result of a matrix whose type is not string: no param can hold an array of arrays."""
    kind = untexted.get(ref.task, {}).get(ref.result)
    if kind is not None:
        raise RefusedRun(
            reasons.INVALID,
            f"{USER_ERROR}Pipeline {pipeline} can't be Run; it has an invalid spec: invalid value: Matrixed "
            f"PipelineTasks emitting results must have an underlying type string, but result {ref.result} "
            f"has type {kind} in pipelineTask {ref.task}",
        )


def _specs(
    plan: Plan, referred: Mapping[str, Object], namespace: str, where: str
) -> Iterator[tuple[str, Object]]:
    """Yield the spec of each Pipeline Task's Task."""
    parts = 0
    for _, task in tasks_of(plan.spec):
        if kind_of(task) != TASKRUNS:
            continue
        spec = task.get("taskSpec")
        if spec is None:
            spec = referred[task["name"]]
        parts += sum(len(spec.get(part) or ()) for part in _COUNTED)
        if parts > _MOST_PARTS:
            raise RefusedRun(
                reasons.INVALID,
                f"{USER_ERROR}Pipeline {namespace}/{plan.name} can't be Run: its Tasks have {parts} or "
                f"more params, results, Steps, Sidecars and workspaces together, over the limit of "
                f"{_MOST_PARTS}; a Task counts each time it is used",
            )
        # A reference to a whole result is a text until there is one.
        combined = [{**param, "value": ""} for param in matrix_params(task.get("matrix"))]
        params = [*(task.get("params") or ()), *combined]
        given = {"spec": {"params": params, "taskRef": task.get("taskRef")}, "metadata": {}}
        if why := wrong_params(given, spec).removeprefix(USER_ERROR):
            raise RefusedRun(
                reasons.INVALID,
                f"{USER_ERROR}Validation failed for pipelinerun {where.partition('/')[2]} with error {why}",
            )
        yield task["name"], spec


def _unreplaced(plan: Plan, specs: Mapping[str, Object], declared: Mapping[str, frozenset[str]]) -> str:
    """Describe the first variable that nothing defines, and its field; empty if there is none."""
    try:
        found = next(unreplaced_in(plan, specs, declared), None)
        if found is not None:
            # Only a Pipeline that misspelt one pays for the suggestion.
            found = next(unreplaced_in(plan, specs, declared, suggest=True), found)
    except (ParamError, TooLargeError) as error:
        return error.message
    return "" if found is None else f"{found.message}: {found.field}"


def _refuse_required(plan: Plan, specs: Mapping[str, Object]) -> None:
    """Refuse an optional workspace of the Pipeline that a Task requires, as Tekton does.

    One that a Pipeline Task maps by name is refused in any case (``ValidateOptionalWorkspaces``), another one
    if the run does not bind it (``getTaskrunWorkspaces``).

    Raises:
        RefusedRun: There is one.
    """
    optional = {item["name"] for item in plan.spec.get("workspaces") or () if item.get("optional")}
    for _, task in tasks_of(plan.spec) if optional else ():
        for usage in (task.get("workspaces") or ()) if task["name"] in specs else ():
            workspace = usage.get("workspace") or usage["name"]
            if workspace not in optional:
                continue
            declared = specs[task["name"]].get("workspaces") or ()
            needed = {item["name"]: not item.get("optional") for item in declared}.get(usage["name"])
            if needed and usage.get("workspace"):
                raise RefusedRun(
                    reasons.REQUIRED_WORKSPACE,
                    f'{USER_ERROR}Optional workspace not supported by task: pipeline workspace "{workspace}" '
                    f'is marked optional but pipeline task "{task["name"]}" requires it be provided',
                )
            if needed is not False and workspace not in plan.workspaces:
                raise RefusedRun(
                    reasons.CREATE_RUN_FAILED,
                    f'expected workspace "{workspace}" to be provided by pipelinerun for pipeline task '
                    f'"{task["name"]}"',
                )


def _wrong(ref: ResultRef, declared: dict[str, frozenset[str]]) -> str:
    if ref.task not in declared:
        return f'referenced pipeline task "{ref.task}" does not exist'
    if ref.result not in declared[ref.task]:
        return f'"{ref.result}" is not a named result returned by pipeline task "{ref.task}"'
    return ""
