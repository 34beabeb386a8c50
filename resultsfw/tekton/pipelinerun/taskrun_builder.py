"""Build the TaskRun of a Pipeline Task: its name, its labels, what it is given."""

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, Final

from resultsfw import jsons
from resultsfw.cluster import Object
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.tekton.api.durations import format_duration, parse_duration
from resultsfw.tekton.api.kinds import ON_ERROR_ANNOTATION, PIPELINERUNS
from resultsfw.tekton.api.owners import owner_reference
from resultsfw.tekton.api.times import DEFAULT_TIMEOUT
from resultsfw.tekton.pipelinerun.children import Combination, names_of
from resultsfw.tekton.pipelinerun.facts import BATCH_SIZE, CONTINUE, Facts
from resultsfw.tekton.pipelinerun.object_limits import taskrun_over_capacity
from resultsfw.tekton.pipelinerun.timeouts import Times
from resultsfw.tekton.pipelinerun.variables import propagated_workspaces
from resultsfw.tekton.spec.expansion import Budget, Expansion
from resultsfw.tekton.spec.params import LITERAL_ANNOTATION
from resultsfw.tekton.spec.pod_template import merge_pod_templates
from resultsfw.tekton.spec.variables import contains_protected, escape_protection, unprotect, unprotect_names
from resultsfw.tekton.spec.workspaces import claim_name

__all__ = ["TaskRunBuilder", "batch_size_of"]

_NOT_PASSED: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
_BYTES_AT_ONCE: Final = 4 * OBJECT_BYTES
_NANO: Final = 1_000_000_000
_NOT_READ: Final = ("params", "inputs.", "tasks.", "finally.", "outputs.")
"""Beginnings of variables that a TaskRun leaves alone in the values it is given."""


def batch_size_of(pipelinerun: Object) -> int:
    """Return how many TaskRuns one reconcile may create: fewer where each gets a large pod template."""
    each = object_size(pipelinerun["spec"].get("taskRunTemplate"))
    return max(1, min(BATCH_SIZE, _BYTES_AT_ONCE // each))


class TaskRunBuilder:
    """Builds the TaskRuns of one PipelineRun.

    What the run gives to its Tasks is sorted once: there may be thousands of either.

    Args:
        pipelinerun: The run.
        default_timeout: The duration that a TaskRun without a timeout has.
    """

    def __init__(self, pipelinerun: Object, default_timeout: str = DEFAULT_TIMEOUT) -> None:
        spec = pipelinerun["spec"]
        self._pipelinerun = pipelinerun
        self._default_timeout = parse_duration(default_timeout)
        template = spec.get("taskRunTemplate") or {}
        self._default: Object = {
            "serviceAccountName": template.get("serviceAccountName"),
            "podTemplate": template.get("podTemplate"),
        }
        self._own: dict[str, list[Object]] = {}
        for entry in spec.get("taskRunSpecs") or ():
            self._own.setdefault(entry.get("pipelineTaskName", ""), []).append(entry)

    def build(self, facts: Facts, name: str) -> Iterator[Object]:
        """Yield the children of a Pipeline Task that is due, with all results in them that it names."""
        combinations = facts.combinations(name)
        names = names_of(self._pipelinerun["metadata"]["name"], name, len(combinations))
        for child, combination in zip(names, combinations, strict=True):
            yield self._build(facts, name, child, combination)

    def refusal(self, facts: Facts, name: str) -> str:
        """Return why the children of a Pipeline Task that is due cannot be created; empty if they can."""
        return next(
            filter(None, (taskrun_over_capacity(child, name) for child in self.build(facts, name))), ""
        )

    def _build(self, facts: Facts, name: str, child: str, _combination: Combination) -> Object:
        own = self._default
        for entry in self._own.get(name, ()):
            own = _over(entry, own)
        return _taskrun(self._pipelinerun, facts, name, child, own, default_timeout=self._default_timeout)


def _over(own: Object, before: Object) -> Object:
    """Return what ``taskRunSpecs`` give to a Task; of two entries for one Task, the last says most of it.

    As Tekton's GetTaskRunSpec: the pod templates merge, the service account stays until another is named.
    """
    return {
        **own,
        "serviceAccountName": own.get("serviceAccountName") or before.get("serviceAccountName"),
        "podTemplate": merge_pod_templates(own.get("podTemplate"), before.get("podTemplate")),
    }


def _taskrun(
    pipelinerun: Object, facts: Facts, name: str, child: str, own: Object, *, default_timeout: int
) -> Object:
    metadata, spec = pipelinerun["metadata"], pipelinerun["spec"]
    task = facts.inputs.task(name)
    inner = task.get("taskSpec")
    described: Object = (inner or {}).get("metadata") or {}
    texts = Expansion(facts.plan.names.inner(task), Budget())
    made: Object = {
        "retries": task.get("retries") or None,
        "params": task.get("params") or None,
        "serviceAccountName": own.get("serviceAccountName") or None,
        "podTemplate": texts.tree(escape_protection(own.get("podTemplate")), "podTemplate") or None,
        "stepSpecs": own.get("stepSpecs") or None,
        "sidecarSpecs": own.get("sidecarSpecs") or None,
        "computeResources": own.get("computeResources") or None,
        "timeout": _timeout(task, own, facts.times, default_timeout, final=facts.is_final(name)),
        "workspaces": _workspaces(metadata.get("uid", ""), facts.inputs.workspaces(name), task) or None,
        "managedBy": spec.get("managedBy"),
        "taskRef": unprotect(task.get("taskRef")),
    }
    if inner is not None:
        made["taskSpec"] = {key: value for key, value in inner.items() if key not in ("metadata", "spec")}
    annotations = {
        **(described.get("annotations") or {}),
        **{
            key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _NOT_PASSED
        },
        **((own.get("metadata") or {}).get("annotations") or {}),
    }
    if task.get("onError") == CONTINUE:
        annotations[ON_ERROR_ANNOTATION] = CONTINUE
    reference: Any = made["taskRef"] or {}
    annotations.pop(LITERAL_ANNOTATION, None)
    if contains_protected(bare := {**made, "params": _as_given(made["params"])}):
        annotations[LITERAL_ANNOTATION] = "true"
    else:
        made = bare
    labels = {
        **(described.get("labels") or {}),
        **(metadata.get("labels") or {}),
        **({"tekton.dev/task": reference["name"]} if reference.get("name") else {}),
        "tekton.dev/pipeline": facts.plan.name,
        "tekton.dev/pipelineRun": metadata["name"],
        "tekton.dev/pipelineRunUID": metadata.get("uid", ""),
        "tekton.dev/pipelineTask": name,
        "tekton.dev/memberOf": facts.tasks[name][0],
        **((own.get("metadata") or {}).get("labels") or {}),
    }
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {
            "name": child,
            "namespace": metadata.get("namespace", ""),
            "labels": labels,
            **({"annotations": annotations} if annotations else {}),
            "ownerReferences": [owner_reference(pipelinerun, PIPELINERUNS, controller=False)],
        },
        "spec": jsons.copy({key: value for key, value in made.items() if value is not None}),
    }


def _as_given(params: list[Object] | None) -> list[Object] | None:
    """Return params without protection where a TaskRun needs none: a value it is given is data to it."""
    return params and [{**param, "value": unprotect_names(param.get("value"), _NOT_READ)} for param in params]


def _timeout(task: Object, own: Object, times: Times, default: int, *, final: bool) -> str | None:
    """Return a Task's timeout: its own, or that of its part of the run where it is over the default (ns)."""
    if given := own.get("timeout") or task.get("timeout"):
        return str(given)
    part = times.finally_ if final else times.tasks
    if part is None or 0 < part * _NANO <= default:
        return None
    return format_duration(int(part * _NANO))


def _workspaces(uid: str, bound: Mapping[str, Object], task: Object) -> list[Object]:
    """Return what the run binds to the Task's workspaces; a template's claim is one for the whole run."""
    given: list[Object] = []
    for usage in (*(task.get("workspaces") or ()), *propagated_workspaces(task)):
        source = bound.get(usage.get("workspace") or usage["name"])
        if source is None:
            continue  # optional, or refused by the TaskRun's own validation
        binding = {key: value for key, value in source.items() if key != "volumeClaimTemplate"}
        if source.get("volumeClaimTemplate") is not None:
            binding["persistentVolumeClaim"] = {"claimName": claim_name(source, uid)}
        binding["name"] = usage["name"]
        below = [part for part in (source.get("subPath"), usage.get("subPath")) if part]
        if below:
            # As Go's filepath.Join: a second path that begins with "/" is below the first, too.
            binding["subPath"] = below[0] if len(below) == 1 else posixpath.normpath("/".join(below))
        given.append(binding)
    return given
