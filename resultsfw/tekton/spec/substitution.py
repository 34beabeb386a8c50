"""Substitute the variables of a Task's spec: what Tekton stores in ``status.taskSpec``.

Tekton substitutes in passes: parameters, the run's context, paths of results and of exit codes, workspaces.
Here each text is read once, with the same outcome: a parameter ``$(workspaces.source.path)/app`` means what
its author meant, as a later pass knows it. Everything else in a value is data, and is not read again.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.durations import format_duration, parse_duration
from resultsfw.tekton.spec.expansion import Budget, Expansion, Lookup, first_of
from resultsfw.tekton.spec.params import (
    LITERAL_ANNOTATION,
    Params,
    given_params,
    given_texts,
    has_references,
    is_reference,
)
from resultsfw.tekton.spec.run_texts import (
    RunTexts,
    escape_run_protection,
    replace_bindings,
    replace_pod_template,
    run_lookup,
    run_params,
)
from resultsfw.tekton.spec.step_actions import (
    StepActionError,
    StepActions,
    merged_step,
    step_failure,
    with_declared_results,
)
from resultsfw.tekton.spec.task_defaults import with_defaults, without_empty
from resultsfw.tekton.spec.variable_names import (
    common_names,
    mounted_elsewhere,
    step_names,
    workspace_names,
)
from resultsfw.tekton.spec.variables import escape_protection, map_texts, protect, unprotect

__all__ = ["Substitution", "apply", "stored_spec", "substitute_spec", "with_values"]

_CONTAINER_TEXTS: Final = ("name", "image", "imagePullPolicy", "workingDir")
_CONTAINER_LISTS: Final = ("command", "args")
_CONTAINER_TREES: Final = ("env", "envFrom", "volumeMounts")
_STEP_TEXTS: Final = ("script", "onError")
_STEP_TREES: Final = ("stdoutConfig", "stderrConfig")

ExpansionFor = Callable[[Object, str], Expansion]
"""From a Step, Sidecar or template and its path in the spec to what replaces its variables."""


class Substitution:
    """All that the variables of one TaskRun stand for, worked out once for each start.

    Validation, the status and the suggestion for a misspelt variable take from it what they need.

    Args:
        task_spec: As the Task or ``spec.taskSpec`` has it.
        taskrun: The run; its uid, namespace and ``retriesStatus`` are read too.
        task_name: Of the Task; without it, as Tekton, ``taskRef.name`` or the run's own name.
        actions: The specs of the StepActions that Steps refer to, by the Step's index; without them such
            Steps stay as they are.

    Attributes:
        params: The run's parameters.
        later: The names that passes after the parameters replace, in values a run is given, too.

    Raises:
        ParamError: Defaults of parameters name each other in a circle.
        StepActionError: A Step and its StepAction do not fit together.
        TooLargeError: Texts would be larger than one object can be.
    """

    def __init__(
        self, task_spec: Object, taskrun: Object, *, task_name: str = "", actions: StepActions = ()
    ) -> None:
        self._spec = with_defaults(_authored_spec(task_spec, taskrun))
        if actions:
            self._spec["steps"] = with_declared_results(self._spec["steps"], actions)
        steps = self._spec.get("steps") or []
        self._common = common_names(self._spec, taskrun, task_name)
        self._own = {f"steps[{index}]": step_names(step, index) for index, step in enumerate(steps)}
        # What bindings name must be known before they say which workspaces there are.
        params = run_params(taskrun, self._spec)
        self._taskrun, self._run_lookup = taskrun, run_lookup(taskrun, params)
        self._bound = replace_bindings(taskrun, self._run_lookup)
        self._declared = _declarations(self._spec, self._bound, self._run_lookup)
        self._workspaces = workspace_names(self._declared, self._bound)
        self.later = frozenset().union(self._common, self._workspaces, *self._own.values())
        # Only in a value that holds variables does it matter which of them a later pass knows.
        self.params = (
            Params(self._spec.get("params") or [], given_texts(taskrun), self.later.__contains__)
            if params.are_given_variables
            else params
        )
        if actions:
            self._spec["steps"] = self._with_actions(steps, actions)

    @cached_property
    def task_spec(self) -> Object:
        """The spec with everything known before the pod starts put in; values are still protected.

        ``$(steps.S.results.R)`` stays: the entrypoint replaces it when the Step starts. Parts that need no
        change are shared with the Task's spec: treat it as read-only.

        Raises:
            TooLargeError: The spec would be larger than one object can be.
        """
        budget = Budget()
        spec = {**self._spec, **({"workspaces": self._declared} if self._declared else {})}
        return substitute_spec(spec, lambda container, at: Expansion(self._lookup(container, at), budget))

    @cached_property
    def run_texts(self) -> RunTexts:
        """The run's own texts; values are still protected.

        Raises:
            TooLargeError: They would be larger than one object can be.
        """
        return RunTexts(self._bound, replace_pod_template(self._taskrun, self._run_lookup))

    def known_names(self) -> list[str]:
        """Return the names of all variables a text of the Task may hold, for suggestions."""
        return [*(f"params.{name}" for name in sorted(self.params.names)), *sorted(self.later)]

    def _with_actions(self, steps: Sequence[Object], actions: StepActions) -> list[Object]:
        """Return the Steps with their StepActions merged in."""
        later = {name for name, value in given_params(self._taskrun) if is_reference(value)}
        budget = Budget()
        merged = []
        for index, (step, action) in enumerate(zip(steps, actions, strict=True)):
            at = f"steps[{index}]"
            if action is None:
                merged.append(step)
                continue
            try:
                lookup = self._lookup(step, at)
                merged.append(
                    merged_step(step, action, lookup, is_later=later.__contains__, budget=budget, at=at)
                )
            except StepActionError as error:
                raise StepActionError(step_failure(step, index, error.message)) from error
        return merged

    def _lookup(self, container: Object, at: str) -> Lookup:
        """Return what replaces the variables of one container, which may mount workspaces elsewhere."""
        later = first_of(
            mounted_elsewhere(container, self._workspaces).get,
            self._common.get,
            self._own.get(at, {}).get,
            self._workspaces.get,
        )
        return first_of(self.params.lookup(later), later)


def apply(task_spec: Object, taskrun: Object, *, task_name: str = "", actions: StepActions = ()) -> Object:
    """Return the Task's spec as its TaskRun's status holds it; see `Substitution` and `stored_spec`.

    Raises:
        ParamError: Defaults of parameters name each other in a circle.
        StepActionError: A Step and its StepAction do not fit together.
        TooLargeError: The spec would be larger than one object can be.
    """
    substitution = Substitution(task_spec, taskrun, task_name=task_name, actions=actions)
    return stored_spec(substitution.task_spec, taskrun)


def stored_spec(substituted: Object, taskrun: Object) -> Object:
    """Return a substituted spec as the status holds it.

    Values stay protected where others are still to be put in: parameters that are references to results.
    """
    spec: Object = substituted if has_references(taskrun) else unprotect(substituted)
    return spec


def substitute_spec(spec: Object, expansion_for: ExpansionFor) -> Object:
    """Return a spec with the variables in its Steps, template, Sidecars and volumes replaced."""
    spec = dict(spec)
    for part, expand in (("steps", _step), ("sidecars", _sidecar)):
        if containers := spec.get(part):
            spec[part] = [
                expand(container, expansion_for(container, f"{part}[{index}]"), f"{part}[{index}]")
                for index, container in enumerate(containers)
            ]
    if (template := spec.get("stepTemplate")) is not None:
        spec["stepTemplate"] = _container(template, expansion_for({}, "stepTemplate"), "stepTemplate")
    if volumes := spec.get("volumes"):
        spec["volumes"] = expansion_for({}, "volumes").tree(volumes, "volumes")
    return spec


def with_values(taskrun: Object, values: Mapping[str, Any]) -> Object:
    """Return a copy of a run with values in place of its parameters that were references; they are data."""
    params = [
        {**param, "value": map_texts(values[param["name"]], protect)}
        if param["name"] in values
        else {**param, "value": escape_run_protection(param.get("value"), taskrun)}
        for param in taskrun["spec"].get("params") or ()
    ]
    annotations = {**(taskrun["metadata"].get("annotations") or {}), LITERAL_ANNOTATION: "true"}
    return {
        **taskrun,
        "metadata": {**taskrun["metadata"], "annotations": annotations},
        "spec": {**taskrun["spec"], "params": params},
    }


def _authored_spec(task_spec: Object, taskrun: Object) -> Object:
    """Return the spec in which ``$(~name)`` stands for a value's ``$(name)``, and for nothing else."""
    embedded = (taskrun.get("spec") or {}).get("taskSpec") is not None
    spec: Object = escape_run_protection(task_spec, taskrun) if embedded else escape_protection(task_spec)
    return spec


def _declarations(spec: Object, bound: Sequence[Object], lookup: Lookup) -> list[Object]:
    """Return the declared workspaces, and those that are only bound: Tekton declares them."""
    expansion = Expansion(lookup, Budget())
    declared = [
        {**workspace, "mountPath": expansion.text(workspace["mountPath"], f"workspaces[{index}].mountPath")}
        if workspace.get("mountPath")
        else workspace
        for index, workspace in enumerate(spec.get("workspaces") or [])
    ]
    names = {workspace["name"] for workspace in declared}
    return declared + [{"name": binding["name"]} for binding in bound if binding["name"] not in names]


def _step(step: Object, expansion: Expansion, at: str) -> Object:
    replaced = _container(step, expansion, at)
    replaced.setdefault("name", "")
    if "timeout" in replaced:
        with contextlib.suppress(ValueError):  # validation says what is wrong with it
            replaced["timeout"] = format_duration(parse_duration(replaced["timeout"]))
    for field in _STEP_TEXTS:
        if replaced.get(field):
            replaced[field] = expansion.text(replaced[field], f"{at}.{field}")
    for field in _STEP_TREES:
        if replaced.get(field):
            replaced[field] = expansion.tree(replaced[field], f"{at}.{field}")
    if when := replaced.get("when"):
        replaced["when"] = [
            _when(expression, expansion, f"{at}.when[{index}]") for index, expression in enumerate(when)
        ]
    return replaced


def _sidecar(sidecar: Object, expansion: Expansion, at: str) -> Object:
    replaced = _container(sidecar, expansion, at)
    replaced.setdefault("name", "")
    if replaced.get("script"):
        replaced["script"] = expansion.text(replaced["script"], f"{at}.script")
    return replaced


def _container(container: Object, expansion: Expansion, at: str) -> Object:
    """Return a copy of a Step, Sidecar or template with variables replaced where Tekton replaces them."""
    replaced = without_empty(container)
    for field in _CONTAINER_TEXTS:
        if field in replaced:
            replaced[field] = expansion.text(replaced[field], f"{at}.{field}")
    for field in _CONTAINER_LISTS:
        if field in replaced:
            replaced[field] = expansion.texts(replaced[field], f"{at}.{field}")
            if not replaced[field]:
                del replaced[field]
    for field in _CONTAINER_TREES:
        if field in replaced:
            replaced[field] = expansion.tree(replaced[field], f"{at}.{field}")
    replaced.setdefault("computeResources", {})
    return replaced


def _when(expression: Object, expansion: Expansion, at: str) -> Object:
    replaced = without_empty(expression)
    whole = expansion.value(replaced.get("input", ""), f"{at}.input")
    if isinstance(whole, list):
        replaced["input"] = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    for field in ("input", "cel"):
        if field in replaced and not (field == "input" and isinstance(whole, list)):
            replaced[field] = expansion.text(replaced[field], f"{at}.{field}")
    if "values" in replaced:
        replaced["values"] = expansion.texts(replaced["values"], f"{at}.values")
    return replaced
