"""Read a run's Pipeline, refuse what cannot run, and plan the rest: params and context put in."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import InputError, NotFoundError
from resultsfw.tekton.api.inherited import inherited_metadata
from resultsfw.tekton.api.kinds import PIPELINE_LABEL, PIPELINERUNS, PIPELINES
from resultsfw.tekton.api.names import container_name
from resultsfw.tekton.api.policies import DEFAULT_COMBINATIONS
from resultsfw.tekton.api.refusals import USER_ERROR, RefusedRun
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.children import is_custom
from resultsfw.tekton.pipelinerun.dag import CycleError, Graph, graph_of
from resultsfw.tekton.pipelinerun.matrix import MatrixError, is_matrixed, refuse_combinations
from resultsfw.tekton.pipelinerun.matrix_values import substitute_matrix
from resultsfw.tekton.pipelinerun.models import validate_pipeline_document, validate_pipelinerun_document
from resultsfw.tekton.pipelinerun.validate_pipeline import SECTIONS, pipeline_errors, tasks_of
from resultsfw.tekton.pipelinerun.variables import PipelineNames, bound_workspaces
from resultsfw.tekton.resolution.outcomes import ResolutionFailed
from resultsfw.tekton.resolution.references import Reference, reference_of
from resultsfw.tekton.resolution.requests import Requester
from resultsfw.tekton.resolution.resolver import resolve
from resultsfw.tekton.resolution.terms import Terms
from resultsfw.tekton.spec.expansion import Budget, Expansion, TooLargeError, first_of
from resultsfw.tekton.spec.params import ParamError, given_params, param_type, param_value, value_type
from resultsfw.tekton.spec.run_texts import escape_run_protection
from resultsfw.tekton.spec.validate_taskrun import shown_value
from resultsfw.tekton.spec.variables import escape_protection

__all__ = [
    "PipelineSource",
    "Plan",
    "make_plan",
    "missing_metadata",
    "read_pipeline",
    "substitute_task",
]

_MOST_ENTRIES: Final = 32
"""Entries of ``taskRunSpecs`` for one Task. Tekton merges any number, one over the other."""
_TASK_FIELDS: Final = (
    "displayName",
    "taskRef",
    "pipelineRef",
    "when",
    "params",
    "matrix",
    "workspaces",
    "onError",
)

_OWN_FIELDS: Final = ("params", "matrix")
"""Fields in which a whole array or object may stand."""


@dataclass(frozen=True, slots=True)
class PipelineSource:
    """A run's Pipeline as it is written.

    Attributes:
        spec: As written.
        name: Of the Pipeline; the run's own where it is embedded.
        metadata: Of the Pipeline, where it was read from the cluster or a resolver; else empty.
        ref_source: Where a resolver found it; ``None`` without one.
    """

    spec: Object
    name: str
    metadata: Object
    ref_source: Object | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to do.

    Attributes:
        spec: The Pipeline's, with everything put in that is known before any Task has run.
        graph: The order of its Tasks; those of ``finally`` have none.
        name: Of the Pipeline.
        names: What variables stand for.
        workspaces: What the run binds, by name, with all put in that is known before any Task has run.
        max_combinations: Of one matrix.
    """

    spec: Object
    graph: Graph
    name: str
    names: PipelineNames
    workspaces: Mapping[str, Object]
    max_combinations: int = DEFAULT_COMBINATIONS


def read_pipeline(pipelinerun: Object, cluster: Cluster, terms: Terms | None = None) -> PipelineSource:
    """Validate a run's document and return its Pipeline.

    A status that holds one already is followed: a Pipeline that changes later does not change a run.

    Args:
        pipelinerun: The run.
        cluster: Where its Pipeline is.
        terms: Of resolvers; ``None``: they may take until the run's timeout.

    Raises:
        RefusedRun: There is none, or it cannot be read.
        AwaitingResolution: A resolver has not answered yet.
        ClusterError: It could not be read.
    """
    metadata = pipelinerun["metadata"]
    namespace = metadata.get("namespace", "")
    try:
        validate_pipelinerun_document(pipelinerun)
    except InputError as error:
        raise _invalid(f"{namespace}/{metadata['name']}", error.message) from error
    spec = pipelinerun["spec"]
    reference = spec.get("pipelineRef") or {}
    name = _name_of(pipelinerun, reference)
    if known := pipelinerun.get("status", {}).get("pipelineSpec"):
        return PipelineSource(known, name, {})
    if spec.get("pipelineSpec") is not None:
        return PipelineSource(spec["pipelineSpec"], name, {})
    whose = f"Error retrieving pipeline for pipelinerun {namespace}/{metadata['name']}"
    requester = Requester(pipelinerun, PIPELINERUNS, metadata["name"], terms)
    try:
        found = resolve(cluster, _reference(pipelinerun, whose), requester, validate_pipeline_document)
    except NotFoundError as error:
        raise RefusedRun(reasons.COULDNT_GET_PIPELINE, f"{whose}: {error.message}") from error
    except ResolutionFailed as error:
        why = f"resolver failed to get Pipeline {reference.get('name') or ''}: {error.message}"
        raise RefusedRun(reasons.COULDNT_GET_PIPELINE, f"{whose}: {why}", subject=error.subject) from error
    except InputError as error:
        raise _invalid(f"{namespace}/{name}", error.message) from error
    except (ParamError, TooLargeError) as error:
        raise RefusedRun(reasons.COULDNT_GET_PIPELINE, f"{whose}: {USER_ERROR}{error.message}") from error
    pipeline = found.document
    return PipelineSource(
        pipeline["spec"], pipeline["metadata"].get("name") or name, pipeline["metadata"], found.ref_source
    )


def _name_of(pipelinerun: Object, reference: Object) -> str:
    """Return the name of a run's Pipeline; that of one which a resolver found is in the run's label."""
    metadata = pipelinerun["metadata"]
    if reference.get("resolver"):
        return (metadata.get("labels") or {}).get(PIPELINE_LABEL) or str(metadata["name"])
    return reference.get("name") or str(metadata["name"])


def _reference(pipelinerun: Object, whose: str) -> Reference:
    """Return the run's reference to its Pipeline, with what is known of the run put in.

    Raises:
        RefusedRun: It names nothing.
        ParamError, TooLargeError: Its variables cannot be replaced.
    """
    ref = escape_run_protection(pipelinerun["spec"].get("pipelineRef") or {}, pipelinerun)
    if not (ref.get("resolver") or ref.get("name")):
        raise RefusedRun(
            reasons.COULDNT_GET_PIPELINE,
            f"{whose}: it refers to no Pipeline: give pipelineRef.name, pipelineRef.resolver or pipelineSpec",
        )
    expansion = Expansion(PipelineNames(pipelinerun, {}, "").lookup, Budget())
    return reference_of(ref, PIPELINES, expansion, "spec.pipelineRef")


def _invalid(of: str, why: str) -> RefusedRun:
    """Return the refusal of a Pipeline whose own text is wrong."""
    return RefusedRun(
        reasons.INVALID, f"{USER_ERROR}Pipeline {of} can't be Run; it has an invalid spec: {why}", subject=of
    )


def make_plan(
    pipelinerun: Object, spec: Object, name: str, *, max_combinations: int = DEFAULT_COMBINATIONS
) -> Plan:
    """Return the spec with parameters and context put in, and the order of its Tasks.

    Args:
        pipelinerun: The run.
        spec: Of its Pipeline, as written.
        name: Of the Pipeline.
        max_combinations: Of one matrix.

    Raises:
        RefusedRun: It cannot be run; with Tekton's reason.
    """
    metadata = pipelinerun["metadata"]
    whose = f"{USER_ERROR}PipelineRun {metadata.get('namespace', '')}/{metadata['name']}"
    of = f"{metadata.get('namespace', '')}/{name}"
    try:
        graph = graph_of(spec)
    except CycleError as error:
        raise RefusedRun(reasons.INVALID_GRAPH, f"{whose}'s Pipeline DAG is invalid: {error}") from error
    for why in pipeline_errors(spec):
        raise _invalid(of, why)
    _refuse_params(pipelinerun, spec, whose, of)
    _refuse_workspaces(pipelinerun, spec, whose, of)
    try:
        names = PipelineNames(pipelinerun, spec, name)
        budget = Budget()
        whole = dict(spec)
        for section in SECTIONS:
            if spec.get(section):
                whole[section] = [
                    _task(task, names, budget, f"spec.{section}[{index}]")
                    for index, task in enumerate(escape_protection(spec[section]))
                ]
        _refuse_matrices(whole, max_combinations, of)
        workspaces = bound_workspaces(pipelinerun, names)
        return Plan(whole, graph, name, names, workspaces, max_combinations)
    except ParamError as error:
        raise RefusedRun(
            reasons.INVALID, f"{USER_ERROR}Failed to apply parameters to Pipeline {of}: {error.message}"
        ) from error
    except TooLargeError as error:
        raise RefusedRun(reasons.TOO_LARGE, f"{USER_ERROR}Pipeline {of}: {error.message}") from error


def _refuse_matrices(spec: Object, limit: int, of: str) -> None:
    """Refuse a matrix of too many combinations, as far as they are known before any Task has run."""
    for section in SECTIONS:
        for index, task in enumerate(spec.get(section) or ()):
            if is_matrixed(task):
                try:
                    refuse_combinations(task["matrix"], limit)
                except MatrixError as error:
                    raise _invalid(of, f"{error.message}: {section}[{index}].matrix") from error


def _task(task: Object, names: PipelineNames, budget: Budget, at: str) -> Object:
    retries = {"context.pipelineTask.retries": str(task.get("retries") or 0)}
    known = Expansion(first_of(names.lookup, retries.get), budget)
    inner = None
    if task.get("taskSpec") is not None and not is_custom(task):
        # Tekton lets a Pipeline's parameters through to embedded Tasks that are not given their own.
        inner = Expansion(names.inner(task), budget)
    changed = substitute_task(task, known, at, fields=_TASK_FIELDS, inner=inner)
    if is_matrixed(task) and task.get("displayName"):
        # Its params are those of each combination (`resultsfw.tekton.pipelinerun.display_names`).
        contexts = Expansion(first_of(names.later.get, retries.get), budget)
        changed["displayName"] = contexts.text(task["displayName"], f"{at}.displayName")
    if inner is not None and (declared := task["taskSpec"].get("params")):
        own = {param["name"] for param in declared}
        defaults = Expansion(names.inner(task, besides=own), budget)
        changed["taskSpec"]["params"] = [
            {**param, "default": defaults.value(param["default"], f"{at}.taskSpec.params[{param['name']}]")}
            if param.get("default") is not None
            else param
            for param in declared
        ]
    return changed


def substitute_task(
    task: Object,
    known: Expansion,
    at: str,
    *,
    fields: Sequence[str],
    inner: Expansion | None,
    passing: Expansion | None = None,
) -> Object:
    """Return a Pipeline Task with variables replaced.

    Args:
        task: As it is.
        known: What is known in it.
        at: Its path in the Pipeline.
        fields: Where variables may stand.
        inner: What is known in the text of its embedded Task, if it has one.
        passing: What a parameter may be as a whole, before ``known`` is asked.

    Raises:
        TooLargeError: It would be larger than one object can be.
    """
    changed = {
        key: known.tree(value, f"{at}.{key}") if key in fields and key not in _OWN_FIELDS else value
        for key, value in task.items()
    }
    if is_matrixed(task):
        changed["matrix"] = substitute_matrix(task["matrix"], f"{at}.matrix", known, passing)
    if given := task.get("params"):
        changed["params"] = [
            {**param, "value": _expand(param.get("value"), f"{at}.params[{param['name']}]", known, passing)}
            for param in given
        ]
    if inner is not None and (spec := task.get("taskSpec")) is not None and not is_custom(task):
        kept = {key: spec[key] for key in ("params", "results", "metadata") if key in spec}
        changed["taskSpec"] = {**inner.tree(spec, f"{at}.taskSpec"), **kept}
        for index, step in enumerate(spec.get("steps") or ()):
            if given := step.get("params"):  # of a StepAction: a value may become an array or object
                where = f"{at}.taskSpec.steps[{index}].params"
                changed["taskSpec"]["steps"][index]["params"] = [
                    {**param, "value": inner.value(param.get("value"), f"{where}[{param['name']}]")}
                    for param in given
                ]
    return changed


def _expand(value: Any, field: str, known: Expansion, passing: Expansion | None) -> Any:
    whole = passing.whole(value) if passing is not None and isinstance(value, str) else None
    if isinstance(whole, list | dict):
        return list(whole) if isinstance(whole, list) else dict(whole)
    return known.value(value, field)


def _refuse_params(pipelinerun: Object, spec: Object, whose: str, of: str) -> None:
    declared: list[Object] = list(spec.get("params") or ())
    given: dict[str, Any] = {name: param_value(value) for name, value in given_params(pipelinerun)}
    if missing := [
        param["name"] for param in declared if param.get("default") is None and param["name"] not in given
    ]:
        raise RefusedRun(
            reasons.PARAMETER_MISSING,
            f"{whose} is missing some parameters required by Pipeline {of}: "
            f"pipelineRun missing parameters: [{' '.join(missing)}]",
        )
    types = {param["name"]: param_type(param) for param in declared}
    wrong = [name for name, value in given.items() if name in types and value_type(value) != types[name]]
    if wrong:
        raise RefusedRun(
            reasons.PARAMETER_TYPE,
            f"{whose} parameters have mismatching types with Pipeline {of}'s parameters: "
            f"parameters have inconsistent types : [{' '.join(wrong)}]",
        )
    for param in declared:
        value = given.get(param["name"])
        if param.get("enum") and isinstance(value, str) and value and value not in param["enum"]:
            raise RefusedRun(
                reasons.INVALID_PARAM_VALUE,
                f"{whose} parameters have invalid value: param `{param['name']}` value: "
                f"{shown_value(value)} is not in the enum list",
            )
    for param in declared:
        keys = set(param.get("properties") or ())
        there = {*(given.get(param["name"]) or ()), *(param_value(param.get("default")) or ())}
        if types[param["name"]] == "object" and (lacking := sorted(keys - there)):
            raise RefusedRun(
                reasons.PARAMETER_KEYS,
                f"{whose} parameters is missing object keys required by Pipeline {of}'s "
                f"parameters: pipelineRun missing object keys for parameters: "
                f"map[{param['name']}:[{' '.join(lacking)}]]",
            )


def _refuse_workspaces(pipelinerun: Object, spec: Object, whose: str, of: str) -> None:
    bound = {workspace["name"] for workspace in pipelinerun["spec"].get("workspaces") or ()}
    for workspace in spec.get("workspaces") or ():
        if workspace["name"] not in bound and not workspace.get("optional"):
            raise RefusedRun(
                reasons.INVALID_WORKSPACES,
                f"{whose} doesn't bind Pipeline {of}'s Workspaces correctly: pipeline requires "
                f'workspace with name "{workspace["name"]}" be provided by pipelinerun',
            )
    optional = {workspace["name"] for workspace in spec.get("workspaces") or () if workspace.get("optional")}
    for _, task in tasks_of(spec):
        # A custom task cannot say that a workspace is optional to it.
        usable = bound if is_custom(task) else bound | optional
        for usage in task.get("workspaces") or ():
            if (wanted := usage.get("workspace") or usage["name"]) not in usable:
                raise RefusedRun(
                    reasons.CREATE_RUN_FAILED,
                    f'expected workspace "{wanted}" to be provided by pipelinerun for pipeline task '
                    f'"{task["name"]}"',
                )
    names = {task["name"] for _, task in tasks_of(spec)}
    given = pipelinerun["spec"].get("taskRunSpecs") or ()
    entries = Counter(entry.get("pipelineTaskName") or "" for entry in given)
    if most := [name for name, count in entries.most_common(1) if count > _MOST_ENTRIES]:
        raise RefusedRun(
            reasons.INVALID_TASKRUN_SPECS,
            f"{whose} has {entries[most[0]]} taskRunSpecs for one Task, over the limit of {_MOST_ENTRIES}: "
            f'"{most[0]}"; write them as one',
        )
    for entry in pipelinerun["spec"].get("taskRunSpecs") or ():
        if entry.get("pipelineTaskName") not in names:
            raise RefusedRun(
                reasons.INVALID_TASKRUN_SPECS,
                f"{whose} doesn't define taskRunSpecs correctly: pipelineRun's taskrunSpecs "
                f'defined wrong taskName: "{entry.get("pipelineTaskName", "")}", does not exist in Pipeline',
            )


def missing_metadata(pipelinerun: Object, source: PipelineSource) -> dict[str, Any]:
    """Return the ``metadata`` to be added to a run that begins; empty if it has all of it.

    What the run says itself stays. Runs that embed their Pipeline and differ in a generated name only have
    one label in common (Tekton's propagatePipelineNameLabelToPipelineRun).
    """
    name = source.name
    if pipelinerun["spec"].get("pipelineSpec") is not None:
        name = container_name(pipelinerun["metadata"].get("generateName") or "") or name
    return inherited_metadata(pipelinerun, source.metadata, label=PIPELINE_LABEL, name=name)
