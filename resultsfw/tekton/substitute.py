"""From a Task's spec and a TaskRun to the spec Tekton stores in ``status.taskSpec``.

Tekton substitutes in passes: parameters, the run's context, paths of results, paths of exit
codes, workspaces. Within a pass what was put in is not looked at again; a later pass does look
at it, so that a parameter ``$(workspaces.source.path)/app`` means what its author meant.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.durations import format_duration, parse_duration
from resultsfw.tekton.params import (
    REFERENCE,
    Values,
    has_references,
    param_value,
    parameters,
    replace,
    shielded,
)
from resultsfw.tekton.workspaces import claim_name, mount_path, workspace_volumes

__all__ = [
    "apply",
    "bindings",
    "credentials_path",
    "pod_template",
    "step_name",
]

STEPS_DIR: Final = "/tekton/steps"
RESULTS_DIR: Final = "/tekton/results"
ARTIFACTS_DIR: Final = "/tekton/artifacts"
CREDENTIALS_DIR: Final = "/tekton/creds"

_CONTAINER_TEXTS: Final = ("name", "image", "imagePullPolicy", "workingDir")
_CONTAINER_LISTS: Final = ("command", "args")
_CONTAINER_TREES: Final = ("env", "envFrom", "volumeMounts")
_EMPTY: Final[tuple[Any, ...]] = (None, "", [], False)

Arrays = Mapping[str, Sequence[str]]


def apply(task_spec: Object, taskrun: Object, *, task_name: str = "", later: bool = False) -> Object:
    """The Task's spec with everything known before the pod starts put in, and Tekton's defaults.

    ``$(steps.S.results.R)`` stays: the entrypoint replaces it when the Step starts. Parts that
    need no change are shared with ``task_spec``: treat the result as read-only.

    Args:
        task_spec: As the Task or ``spec.taskSpec`` has it.
        taskrun: The run; its uid, namespace and ``retriesStatus`` are read too.
        task_name: Of the Task; without it, as Tekton, ``taskRef.name`` or the run's own name.
        later: Other parameters are put in later, as where one is a reference to a result: values are
            `resultsfw.tekton.params.shielded` from that.
    """
    spec = _with_defaults(task_spec)
    params, arrays = parameters(taskrun, spec)
    if later or has_references(taskrun):
        params = {name: shielded(text) for name, text in params.items()}
        arrays = {name: [shielded(text) for text in texts] for name, texts in arrays.items()}
    common: list[Values] = [params, _context(taskrun, task_name)]
    results = _result_paths(spec.get("results") or [])
    exit_codes = _exit_code_paths(spec.get("steps") or [])
    bound = bindings(taskrun, spec)
    declared = _declarations(spec, bound, common)
    if declared:
        spec["workspaces"] = declared

    def passes(container: Object, own: Sequence[Values] = ()) -> list[Values]:
        return [*common, *own, results, exit_codes, _workspaces(declared, bound, container)]

    steps = []
    for index, step in enumerate(spec.get("steps") or []):
        own = (_step_paths(step, index),)
        steps.append(_step(step, passes(step, own), arrays))
    if steps:
        spec["steps"] = steps
    if (template := spec.get("stepTemplate")) is not None:
        spec["stepTemplate"] = _container(template, passes({}), arrays)
    if sidecars := spec.get("sidecars"):
        spec["sidecars"] = [_sidecar(sidecar, passes(sidecar), arrays) for sidecar in sidecars]
    if volumes := spec.get("volumes"):
        spec["volumes"] = _tree(volumes, passes({}))
    return spec


def bindings(taskrun: Object, task_spec: Object) -> list[Object]:
    """The TaskRun's workspace bindings with parameters put in, and claims in place of their templates."""
    bound = (taskrun.get("spec") or {}).get("workspaces") or []
    if not bound:
        return []
    uid = (taskrun.get("metadata") or {}).get("uid", "")
    texts, _ = parameters(taskrun, task_spec)
    replaced = []
    for binding in bound:
        if binding.get("volumeClaimTemplate") is not None:
            claim = {"claimName": claim_name(binding, uid)}
            kept = {key: binding[key] for key in ("name", "subPath") if key in binding}
            replaced.append({**_tree(kept, [texts]), "name": binding["name"], "persistentVolumeClaim": claim})
        else:
            replaced.append({**_tree(binding, [texts]), "name": binding["name"]})
    return replaced


def pod_template(taskrun: Object, task_spec: Object) -> Object:
    """The TaskRun's ``podTemplate`` with parameters put in; empty if there is none."""
    template = (taskrun.get("spec") or {}).get("podTemplate")
    if not template:
        return {}
    texts, _ = parameters(taskrun, task_spec)
    replaced: Object = _tree(template, [texts])
    if selector := replaced.get("nodeSelector"):
        replaced["nodeSelector"] = {replace(key, texts): value for key, value in selector.items()}
    return replaced


def credentials_path(task_spec: Object) -> Object:
    """The spec with ``$(credentials.path)`` put in; Tekton does this for the pod only."""
    passes: list[Values] = [{"credentials.path": CREDENTIALS_DIR}]
    spec = dict(task_spec)
    for part, change in (("steps", _step), ("sidecars", _sidecar)):
        if spec.get(part):
            spec[part] = [change(container, passes, {}) for container in spec[part]]
    if spec.get("stepTemplate"):
        spec["stepTemplate"] = _container(spec["stepTemplate"], passes, {})
    return spec


def step_name(step: Object, index: int) -> str:
    """A Step's name as paths and containers have it, without ``step-``."""
    return step.get("name") or f"unnamed-{index}"


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


def _context(taskrun: Object, task_name: str) -> Values:
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


def _result_paths(results: Sequence[Object]) -> Values:
    return {
        form.format(result["name"]): f"{RESULTS_DIR}/{result['name']}"
        for result in results
        for form in ("results.{}.path", 'results["{}"].path', "results['{}'].path")
        if result.get("name")
    }


def _step_paths(step: Object, index: int) -> Values:
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


def _exit_code_paths(steps: Sequence[Object]) -> Values:
    names = [step_name(step, index) for index, step in enumerate(steps)]
    return {f"steps.step-{name}.exitCode.path": f"{STEPS_DIR}/step-{name}/exitCode" for name in names}


def _declarations(spec: Object, bound: Sequence[Object], passes: Sequence[Values]) -> list[Object]:
    """The declared workspaces, and those that are only bound: Tekton declares them."""
    declared = [
        {**workspace, "mountPath": _text(workspace["mountPath"], passes)}
        if workspace.get("mountPath")
        else workspace
        for workspace in spec.get("workspaces") or []
    ]
    names = {workspace["name"] for workspace in declared}
    return declared + [{"name": binding["name"]} for binding in bound if binding["name"] not in names]


def _workspaces(declared: Sequence[Object], bound: Sequence[Object], container: Object) -> Values:
    """What stands for each workspace variable in one container, which may mount elsewhere."""
    if not declared:
        return {}
    claims = {
        binding["name"]: (binding.get("persistentVolumeClaim") or {}).get("claimName") or ""
        for binding in bound
    }
    elsewhere = {
        usage["name"]: usage["mountPath"]
        for usage in container.get("workspaces") or []
        if usage.get("mountPath")
    }
    values = {f"workspaces.{name}.claim": claim for name, claim in claims.items()}
    for workspace in declared:
        name = workspace["name"]
        there = name in claims or not workspace.get("optional")
        values[f"workspaces.{name}.bound"] = "true" if there else "false"
        values[f"workspaces.{name}.path"] = elsewhere.get(name, mount_path(workspace)) if there else ""
    for name, volume in workspace_volumes(bound).items():
        values[f"workspaces.{name}.volume"] = volume["name"]
    return values


def _step(step: Object, passes: Sequence[Values], arrays: Arrays) -> Object:
    replaced = _container(step, passes, arrays)
    replaced.setdefault("name", "")
    if "timeout" in replaced:
        with contextlib.suppress(ValueError):  # validation tells what is wrong with it
            replaced["timeout"] = format_duration(parse_duration(replaced["timeout"]))
    for field in ("script", "onError"):
        if replaced.get(field):
            replaced[field] = _text(replaced[field], passes)
    for field in ("stdoutConfig", "stderrConfig"):
        if replaced.get(field):
            replaced[field] = _tree(replaced[field], passes)
    if when := replaced.get("when"):
        replaced["when"] = [_when(expression, passes, arrays) for expression in when]
    return replaced


def _sidecar(sidecar: Object, passes: Sequence[Values], arrays: Arrays) -> Object:
    replaced = _container(sidecar, passes, arrays)
    replaced.setdefault("name", "")
    if replaced.get("script"):
        replaced["script"] = _text(replaced["script"], passes)
    return replaced


def _container(container: Object, passes: Sequence[Values], arrays: Arrays) -> Object:
    """A copy of a Step, Sidecar or template with references replaced where Tekton replaces them."""
    replaced = _trimmed(container)
    for field in _CONTAINER_TEXTS:
        if field in replaced:
            replaced[field] = _text(replaced[field], passes)
    for field in _CONTAINER_LISTS:
        if field in replaced:
            replaced[field] = _texts(replaced[field], passes, arrays)
            if not replaced[field]:
                del replaced[field]
    for field in _CONTAINER_TREES:
        if field in replaced:
            replaced[field] = _tree(replaced[field], passes)
    replaced.setdefault("computeResources", {})
    return replaced


def _when(expression: Object, passes: Sequence[Values], arrays: Arrays) -> Object:
    replaced = _trimmed(expression)
    whole = _whole_array(replaced.get("input", ""), arrays)
    if whole is not None:
        replaced["input"] = json.dumps(list(whole), ensure_ascii=False, separators=(",", ":"))
    for field in ("input", "cel"):
        if field in replaced:
            replaced[field] = _text(replaced[field], passes)
    if "values" in replaced:
        replaced["values"] = _texts(replaced["values"], passes, arrays)
    return replaced


def _text(text: str, passes: Sequence[Values]) -> str:
    if "$(" not in text:
        return text
    for values in passes:
        text = replace(text, values)
    return text


def _texts(texts: Sequence[str], passes: Sequence[Values], arrays: Arrays) -> list[str]:
    """A list in which a reference to a whole array, standing alone, becomes its elements."""
    replaced: list[str] = []
    for text in texts:
        whole = _whole_array(text, arrays)
        if whole is None:
            replaced.append(_text(text, passes))
        else:  # the pass of the parameters is done for these
            replaced.extend(_text(element, passes[1:]) for element in whole)
    return replaced


def _whole_array(text: str, arrays: Arrays) -> Sequence[str] | None:
    match = REFERENCE.fullmatch(text)
    return arrays.get(match[1].removesuffix("[*]")) if match else None


def _tree(value: Any, passes: Sequence[Values]) -> Any:
    """A copy of plain data with references replaced in all its texts.

    Tekton goes through the fields it knows and leaves some out (a ``hostPath``'s path, say),
    where a reference is an error anyway.
    """
    if isinstance(value, str):
        return _text(value, passes)
    if isinstance(value, list):
        return [_tree(element, passes) for element in value]
    if isinstance(value, dict):
        return {key: _tree(element, passes) for key, element in value.items()}
    return value
