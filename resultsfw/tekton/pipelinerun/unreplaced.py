"""Find variables in a Pipeline that nothing will ever replace, before its first TaskRun is made."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.artifact_refs import parse_artifact_ref
from resultsfw.tekton.pipelinerun.matrix import is_matrixed, matrix_params
from resultsfw.tekton.pipelinerun.matrix_results import parse_length
from resultsfw.tekton.pipelinerun.pipeline_spec import Plan
from resultsfw.tekton.pipelinerun.result_refs import parse_reference
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of
from resultsfw.tekton.pipelinerun.variables import propagated_workspaces
from resultsfw.tekton.spec.params import LITERAL_ANNOTATION, parse_name
from resultsfw.tekton.spec.substitution import Substitution
from resultsfw.tekton.spec.unreplaced import Unreplaced, in_task, unreplaced
from resultsfw.tekton.spec.variables import SUGGEST_FROM, nearest, variables_in

__all__ = ["unreplaced_in"]

_PARTS: Final = ("path", "claim", "volume", "bound")
"""What a Task may ask of a workspace."""

_FIELDS: Final = ("taskRef", "pipelineRef", "when", "workspaces", "onError")


def unreplaced_in(
    plan: Plan,
    specs: Mapping[str, Object],
    declared: Mapping[str, Collection[str]],
    *,
    suggest: bool = False,
) -> Iterator[Unreplaced]:
    """Yield the variables of the Pipeline's own texts that stand for nothing.

    Args:
        plan: The run's, with parameters and contexts put in.
        specs: The spec of each Pipeline Task's Task; of a custom task and a Pipeline there is none.
        declared: The results that each declares.
        suggest: Name the nearest variable that there is, which costs each Task as much as there are names.

    Raises:
        ParamError: Defaults of an embedded Task's parameters name each other in a circle.
        TooLargeError: An embedded Task would be larger than one object can be.
    """
    results = [f"tasks.{task}.results.{result}" for task, names in declared.items() for result in names]
    known = [
        *(f"params.{name}" for name in sorted(plan.names.params.names)),
        *plan.names.later,
        *results,
    ]
    if not suggest or len(known) > SUGGEST_FROM:
        known = []
    tasks = {task["name"] for section, task in tasks_of(plan.spec) if section == "tasks"}
    matrixed = {task["name"] for _, task in tasks_of(plan.spec) if is_matrixed(task)}
    counts = dict.fromkeys(("tasks", "finally"), -1)

    def is_result(variable: str) -> bool:
        ref = parse_reference(variable)
        if ref is not None:
            return ref.result in declared.get(ref.task, ())
        artifact = parse_artifact_ref(variable)
        if artifact is not None:
            return artifact.section == "tasks" and artifact.owner in tasks
        length = parse_length(variable)
        return (
            length is not None
            and length.task in matrixed
            and (not length.result or length.result in declared.get(length.task, ()))
        )

    def is_result_or_state(variable: str) -> bool:
        return is_result(variable) or _is_state(variable, tasks)

    for name, binding in plan.workspaces.items():
        texts = {key: value for key, value in binding.items() if key != "volumeClaimTemplate"}
        yield from unreplaced(texts, f"spec.workspaces[{name}]", known, is_result)
    for section, task in tasks_of(plan.spec):
        counts[section] += 1
        at = f"spec.{section}[{counts[section]}]"
        later = is_result_or_state if section == "finally" else is_result
        for field in _FIELDS:
            yield from unreplaced(task.get(field), f"{at}.{field}", known, later)
        yield from _in_its_name(task, at, known, later)
        if (spec := specs.get(task["name"])) is not None:
            yield from _in_its_task(task, at, spec, bound=plan.workspaces, known=known, later=later)
        else:
            yield from unreplaced(task.get("params"), f"{at}.params", known, later)
            yield from unreplaced(task.get("matrix"), f"{at}.matrix", known, later)


def _in_its_name(
    task: Object, at: str, known: Collection[str], later: Callable[[str], bool]
) -> Iterator[Unreplaced]:
    """Yield those in the name that a child is shown under, into which the child's own params are put."""
    own = {f"params.{param['name']}" for param in _given(task)}

    def is_known(variable: str) -> bool:
        return variable in own or later(variable)

    yield from unreplaced(task.get("displayName"), f"{at}.displayName", known, is_known)


def _in_its_task(
    task: Object,
    at: str,
    spec: Object,
    *,
    bound: Collection[str],
    known: Collection[str],
    later: Callable[[str], bool],
) -> Iterator[Unreplaced]:
    """Yield those in what a Task is given and in an embedded Task's text: a TaskRun knows more names."""
    combined = list(matrix_params(task.get("matrix")))  # each combination has one text of an array
    propagated = (usage for usage in propagated_workspaces(task) if usage["name"] in bound)
    usages = (*(task.get("workspaces") or ()), *propagated)
    taskrun: Object = {
        "metadata": {"name": "", "annotations": {LITERAL_ANNOTATION: ""}},
        "spec": {
            "params": [*(task.get("params") or ()), *({**param, "value": ""} for param in combined)],
            "workspaces": [{"name": usage["name"], "emptyDir": {}} for usage in usages],
            "taskSpec": task.get("taskSpec"),
        },
    }
    substitution = cache(lambda: Substitution(spec, taskrun))  # takes time, and few texts need it
    results = {param["name"] for param in _given(task) if any(variables_in(param.get("value")))}

    def inside_later(variable: str) -> bool:
        # What a result is, text or array, is known when it is there.
        name = parse_name(variable) if results else None
        return later(variable) or (
            name is not None and (name.base in results or name.base.partition(".")[0] in results)
        )

    for param in _given(task):
        for found in unreplaced(
            param.get("value"),
            f"{at}.params[{param['name']}]",
            (),
            lambda name: later(name) or name in substitution().later,
        ):
            yield replace(found, nearest=nearest(found.variable, [*known, *substitution().later]))
    if task.get("taskSpec") is not None:
        for found in in_task(substitution().task_spec, (), inside_later):
            # A workspace of the run becomes an embedded Task's by being named, and here it was misspelt.
            nameable = [f"workspaces.{name}.{part}" for name in bound for part in _PARTS]
            inside = list(dict.fromkeys([*known, *substitution().known_names(), *nameable])) if known else []
            field = f"{at}.taskSpec.{found.field}"
            yield Unreplaced(found.variable, field, found.nearest or nearest(found.variable, inside))


def _given(task: Object) -> list[Object]:
    """Return the params of a Pipeline Task, with those of its matrix."""
    return [*(task.get("params") or ()), *matrix_params(task.get("matrix"))]


def _is_state(variable: str, tasks: Collection[str]) -> bool:
    """Return whether a variable says how Tasks ended, which those of ``finally`` may ask."""
    words = variable.split(".")
    if words == ["tasks", "status"]:
        return True
    return len(words) == 3 and words[0] == "tasks" and words[1] in tasks and words[2] in ("status", "reason")  # noqa: PLR2004
