"""Substitute the variables of a Task's spec: what Tekton stores in ``status.taskSpec``.

Tekton substitutes in passes: parameters, the run's context, paths of results, paths of exit codes,
workspaces.
Here each text is read once, with the same outcome: a parameter ``$(workspaces.source.path)/app`` means what
its author meant, as a later pass knows it. Everything else in a value is data, and is not read again.
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.durations import format_duration, parse_duration
from resultsfw.tekton.api.names import step_name
from resultsfw.tekton.spec.expansion import Budget, Expansion, Lookup, first_of
from resultsfw.tekton.spec.params import LITERAL_ANNOTATION, Params, given_texts, has_references, param_value
from resultsfw.tekton.spec.variables import authored, protect, unprotect
from resultsfw.tekton.spec.workspaces import claim_name, mount_path, workspace_volumes

__all__ = [
    "apply",
    "bindings",
    "expand_spec",
    "known_names",
    "later_names",
    "pod_template",
    "stored_spec",
    "substitute",
    "texts_of_run",
    "with_values",
]

STEPS_DIR: Final = "/tekton/steps"
RESULTS_DIR: Final = "/tekton/results"
ARTIFACTS_DIR: Final = "/tekton/artifacts"
CREDENTIALS_DIR: Final = "/tekton/creds"

_CONTAINER_TEXTS: Final = ("name", "image", "imagePullPolicy", "workingDir")
_CONTAINER_LISTS: Final = ("command", "args")
_CONTAINER_TREES: Final = ("env", "envFrom", "volumeMounts")
_STEP_TEXTS: Final = ("script", "onError")
_STEP_TREES: Final = ("stdoutConfig", "stderrConfig")
_EMPTY: Final[tuple[Any, ...]] = (None, "", [], False)

Names = Mapping[str, str]
"""What variables stand for, by name."""

ExpansionFor = Callable[[Object, str], Expansion]
"""From a Step, Sidecar or template and its path in the spec to what replaces its variables."""


def apply(task_spec: Object, taskrun: Object, *, task_name: str = "") -> Object:
    """Return the Task's spec with everything known before the pod starts put in, and Tekton's defaults.

    ``$(steps.S.results.R)`` stays: the entrypoint replaces it when the Step starts. Parts that need no change
    are shared with ``task_spec``: treat the result as read-only.

    Args:
        task_spec: As the Task or ``spec.taskSpec`` has it.
        taskrun: The run; its uid, namespace and ``retriesStatus`` are read too.
        task_name: Of the Task; without it, as Tekton, ``taskRef.name`` or the run's own name.

    Raises:
        ParamError: Defaults of parameters name each other in a circle.
        TooLargeError: The spec would be larger than one object can be.
    """
    return stored_spec(substitute(task_spec, taskrun, task_name=task_name), taskrun)


def stored_spec(substituted: Object, taskrun: Object) -> Object:
    """Return a substituted spec as the status holds it.

    Values stay protected where others are still to be put in: parameters that are references to results.
    """
    spec: Object = substituted if has_references(taskrun) else unprotect(substituted)
    return spec


def substitute(task_spec: Object, taskrun: Object, *, task_name: str = "") -> Object:
    """Return the spec as `apply` does, with values still protected: variables in it are its author's.

    Raises:
        ParamError: Defaults of parameters name each other in a circle.
        TooLargeError: The spec would be larger than one object can be.
    """
    names = _RunNames(_with_defaults(_authored(task_spec, taskrun)), taskrun, task_name)
    spec, budget = names.spec, Budget()
    if names.declared:
        spec["workspaces"] = names.declared
    return expand_spec(spec, lambda container, at: Expansion(names.lookup(container, at), budget))


def known_names(task_spec: Object, taskrun: Object) -> list[str]:
    """Return the names of all variables a text of the Task may hold, for suggestions."""
    names = _RunNames(_with_defaults(task_spec), taskrun, "")
    return [*(f"params.{name}" for name in sorted(names.params.names)), *sorted(names.later)]


def later_names(task_spec: Object, taskrun: Object) -> frozenset[str]:
    """Return the names that passes after the parameters replace, in values a run is given, too.

    Raises:
        ParamError: Defaults of parameters name each other in a circle.
    """
    return _RunNames(_with_defaults(task_spec), taskrun, "").later


def expand_spec(spec: Object, expansion_for: ExpansionFor) -> Object:
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


def bindings(taskrun: Object, task_spec: Object) -> list[Object]:
    """Return the TaskRun's workspace bindings, variables replaced and claims in place of templates.

    Raises:
        ParamError: Defaults of parameters name each other in a circle.
        TooLargeError: They would be larger than one object can be.
    """
    bound: list[Object] = unprotect(_bindings(taskrun, _run_lookup(taskrun, task_spec)))
    return bound


def pod_template(taskrun: Object, task_spec: Object) -> Object:
    """Return the TaskRun's ``podTemplate`` with variables replaced; empty if there is none.

    Raises:
        ParamError: Defaults of parameters name each other in a circle.
        TooLargeError: It would be larger than one object can be.
    """
    template: Object = unprotect(_pod_template(taskrun, _run_lookup(taskrun, task_spec)))
    return template


def texts_of_run(taskrun: Object, task_spec: Object) -> Object:
    """Return what of a run's own texts reaches its pod, by field, with values still protected.

    Raises:
        ParamError: Defaults of parameters name each other in a circle.
        TooLargeError: They would be larger than one object can be.
    """
    lookup = _run_lookup(taskrun, task_spec)
    claims = [
        binding["volumeClaimTemplate"]  # a claim is made as it is written
        for binding in (taskrun.get("spec") or {}).get("workspaces") or []
        if binding.get("volumeClaimTemplate") is not None
    ]
    return {
        "workspaces": _bindings(taskrun, lookup),
        "volumeClaimTemplate": _authored_part(claims, taskrun),
        "podTemplate": _pod_template(taskrun, lookup),
    }


def with_values(taskrun: Object, values: Mapping[str, Any]) -> Object:
    """Return a copy of a run with values in place of its parameters that were references; they are data."""
    params = [
        {**param, "value": _mapped(values[param["name"]], protect)}
        if param["name"] in values
        else {
            **param,
            "value": _authored_part(param.get("value"), taskrun),
        }
        for param in taskrun["spec"].get("params") or ()
    ]
    annotations = {**(taskrun["metadata"].get("annotations") or {}), LITERAL_ANNOTATION: "true"}
    return {
        **taskrun,
        "metadata": {**taskrun["metadata"], "annotations": annotations},
        "spec": {**taskrun["spec"], "params": params},
    }


class _RunNames:
    """All that variables of one TaskRun stand for.

    Attributes:
        spec: The Task's, with Tekton's defaults.
        params: The parameters.
        later: What the passes after the parameters know, in any container.
        declared: The workspaces, those that are only bound among them: Tekton declares them.
    """

    def __init__(self, spec: Object, taskrun: Object, task_name: str) -> None:
        self.spec = spec
        steps = spec.get("steps") or []
        self._common: Names = {
            **_context(taskrun, task_name),
            **_result_paths(spec.get("results") or []),
            **_exit_code_paths(steps),
            "credentials.path": CREDENTIALS_DIR,
        }
        self._own = {f"steps[{index}]": _step_paths(step, index) for index, step in enumerate(steps)}
        # What bindings name must be known before they say which workspaces there are.
        contexts = _run_lookup(taskrun, spec)
        self._bound = _bindings(taskrun, contexts)
        self.declared = _declarations(spec, self._bound, contexts)
        self._workspaces = _workspaces(self.declared, self._bound)
        self.later = frozenset().union(self._common, self._workspaces, *self._own.values())
        self.params = Params(spec.get("params") or [], given_texts(taskrun), self.later.__contains__)

    def lookup(self, container: Object, at: str) -> Lookup:
        """Return what replaces the variables of one container, which may mount workspaces elsewhere."""
        later = first_of(
            _mounted_elsewhere(container, self._workspaces).get,
            self._common.get,
            self._own.get(at, {}).get,
            self._workspaces.get,
        )
        return first_of(self.params.lookup(later), later)


def _run_lookup(taskrun: Object, task_spec: Object) -> Lookup:
    """What stands for the variables outside of the Task: parameters, and the run's context."""
    context = _context(taskrun, "")
    params = Params(task_spec.get("params") or [], given_texts(taskrun), context.__contains__)
    return first_of(params.lookup(context.get), context.get)


def _pod_template(taskrun: Object, lookup: Lookup) -> Object:
    template = (taskrun.get("spec") or {}).get("podTemplate")
    if not template:
        return {}
    expansion = Expansion(lookup, Budget())
    replaced: Object = expansion.tree(_authored_part(template, taskrun), "podTemplate")
    if selector := replaced.get("nodeSelector"):
        replaced["nodeSelector"] = {
            expansion.text(key, "podTemplate.nodeSelector"): value for key, value in selector.items()
        }
    return replaced


def _bindings(taskrun: Object, lookup: Lookup) -> list[Object]:
    bound = (taskrun.get("spec") or {}).get("workspaces") or []
    if not bound:
        return []
    uid = (taskrun.get("metadata") or {}).get("uid", "")
    expansion = Expansion(lookup, Budget())
    replaced = []
    for index, binding in enumerate(_authored_part(bound, taskrun)):
        at = f"workspaces[{index}]"
        if binding.get("volumeClaimTemplate") is not None:
            claim = {"claimName": claim_name(binding, uid)}
            kept = {key: binding[key] for key in ("name", "subPath") if key in binding}
            replaced.append(
                {**expansion.tree(kept, at), "name": binding["name"], "persistentVolumeClaim": claim}
            )
        else:
            replaced.append({**expansion.tree(binding, at), "name": binding["name"]})
    return replaced


def _authored(task_spec: Object, taskrun: Object) -> Object:
    """The spec in which ``$(~name)`` stands for a value's ``$(name)``, and for nothing else."""
    embedded = (taskrun.get("spec") or {}).get("taskSpec") is not None
    spec: Object = _authored_part(task_spec, taskrun) if embedded else authored(task_spec)
    return spec


def _authored_part(part: Any, taskrun: Object) -> Any:
    """The same of a part of the run itself: one that a PipelineRun made says that it is written so."""
    if LITERAL_ANNOTATION in (taskrun["metadata"].get("annotations") or {}):
        return part
    return authored(part)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_mapped(element, change) for element in value]
    if isinstance(value, dict):
        return {key: _mapped(element, change) for key, element in value.items()}
    return value


def _with_defaults(task_spec: Object) -> Object:
    """A copy with the types Tekton infers and the fields it always writes."""
    spec = _trimmed(task_spec)
    if params := spec.get("params"):
        spec["params"] = [_param_defaults(param) for param in params]
    if results := spec.get("results"):
        spec["results"] = [_typed(_trimmed(result)) for result in results]
    if workspaces := spec.get("workspaces"):
        spec["workspaces"] = [_trimmed(workspace) for workspace in workspaces]
    return spec


def _param_defaults(param: Object) -> Object:
    default = param.get("default")
    trimmed = _trimmed(param)
    if default is not None:
        trimmed["default"] = param_value(default)
    if (
        "type" not in trimmed
        and "properties" not in trimmed
        and isinstance(trimmed.get("default"), list | dict)
    ):
        trimmed["type"] = "array" if isinstance(trimmed["default"], list) else "object"
    return _typed(trimmed)


def _typed(declared: Object) -> Object:
    """A declared parameter or result with its type, and the types of its properties."""
    properties = declared.get("properties")
    declared.setdefault("type", "string" if properties is None else "object")
    if properties:
        declared["properties"] = {
            key: {"type": "string", **_trimmed(value or {})} for key, value in properties.items()
        }
    return declared


def _trimmed(part: Object) -> Object:
    """A copy without the empty fields that Go leaves out."""
    return {key: value for key, value in part.items() if value not in _EMPTY}


def _context(taskrun: Object, task_name: str) -> Names:
    metadata = taskrun.get("metadata") or {}
    reference = (taskrun.get("spec") or {}).get("taskRef") or {}
    retries = (taskrun.get("status") or {}).get("retriesStatus") or []
    return {
        "context.taskRun.name": metadata.get("name", ""),
        "context.taskRun.namespace": metadata.get("namespace", ""),
        "context.taskRun.uid": metadata.get("uid", ""),
        "context.task.name": task_name or reference.get("name") or metadata.get("name", ""),
        "context.task.retry-count": str(len(retries)),
    }


def _result_paths(results: Sequence[Object]) -> Names:
    return {
        form.format(result["name"]): f"{RESULTS_DIR}/{result['name']}"
        for result in results
        for form in ("results.{}.path", 'results["{}"].path', "results['{}'].path")
        if result.get("name")
    }


def _step_paths(step: Object, index: int) -> Names:
    folder = f"{STEPS_DIR}/step-{step_name(step, index)}"
    paths = {
        form.format(result["name"]): f"{folder}/results/{result['name']}"
        for result in step.get("results") or []
        for form in ("step.results.{}.path", 'step.results["{}"].path', "step.results['{}'].path")
        if result.get("name")
    }
    paths["step.artifacts.path"] = f"{folder}/artifacts/provenance.json"
    paths["artifacts.path"] = f"{ARTIFACTS_DIR}/provenance.json"
    return paths


def _exit_code_paths(steps: Sequence[Object]) -> Names:
    names = [step_name(step, index) for index, step in enumerate(steps)]
    return {f"steps.step-{name}.exitCode.path": f"{STEPS_DIR}/step-{name}/exitCode" for name in names}


def _declarations(spec: Object, bound: Sequence[Object], lookup: Lookup) -> list[Object]:
    """The declared workspaces, and those that are only bound: Tekton declares them."""
    expansion = Expansion(lookup, Budget())
    declared = [
        {**workspace, "mountPath": expansion.text(workspace["mountPath"], f"workspaces[{index}].mountPath")}
        if workspace.get("mountPath")
        else workspace
        for index, workspace in enumerate(spec.get("workspaces") or [])
    ]
    names = {workspace["name"] for workspace in declared}
    return declared + [{"name": binding["name"]} for binding in bound if binding["name"] not in names]


def _workspaces(declared: Sequence[Object], bound: Sequence[Object]) -> Names:
    """What stands for each workspace variable in a container that mounts them where they are declared."""
    if not declared:
        return {}
    claims = {
        binding["name"]: (binding.get("persistentVolumeClaim") or {}).get("claimName") or ""
        for binding in bound
    }
    volumes = {name: volume["name"] for name, volume in workspace_volumes(bound).items()}
    values: dict[str, str] = {}
    for workspace in declared:
        name = workspace["name"]
        there = name in claims or not workspace.get("optional")
        values[f"workspaces.{name}.bound"] = "true" if there else "false"
        values[f"workspaces.{name}.path"] = mount_path(workspace) if there else ""
        # Tekton leaves these two as they are written where an optional workspace is not bound.
        values[f"workspaces.{name}.claim"] = claims.get(name, "")
        values[f"workspaces.{name}.volume"] = volumes.get(name, "")
    return values


def _mounted_elsewhere(container: Object, workspaces: Names) -> Names:
    """The paths of the workspaces that a container mounts where it says itself."""
    return {
        path: usage["mountPath"]
        for usage in container.get("workspaces") or []
        if usage.get("mountPath") and workspaces.get(path := f"workspaces.{usage['name']}.path")
    }


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
    """A copy of a Step, Sidecar or template with variables replaced where Tekton replaces them."""
    replaced = _trimmed(container)
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
    replaced = _trimmed(expression)
    whole = expansion.value(replaced.get("input", ""), f"{at}.input")
    if isinstance(whole, list):
        replaced["input"] = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    for field in ("input", "cel"):
        if field in replaced and not (field == "input" and isinstance(whole, list)):
            replaced[field] = expansion.text(replaced[field], f"{at}.{field}")
    if "values" in replaced:
        replaced["values"] = expansion.texts(replaced["values"], f"{at}.values")
    return replaced
