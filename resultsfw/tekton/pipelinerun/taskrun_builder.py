"""Build the TaskRun of a Pipeline Task: its labels, what it is given."""

from typing import Any

from resultsfw import jsons
from resultsfw.cluster import Object
from resultsfw.tekton.api.kinds import ON_ERROR_ANNOTATION
from resultsfw.tekton.pipelinerun.child_parts import (
    NewChild,
    as_given,
    child_metadata,
    child_placement,
    child_reference,
    child_timeout,
    child_workspaces,
)
from resultsfw.tekton.pipelinerun.facts import CONTINUE
from resultsfw.tekton.spec.expansion import Budget, Expansion
from resultsfw.tekton.spec.params import LITERAL_ANNOTATION
from resultsfw.tekton.spec.variables import contains_protected, escape_protection

__all__ = ["build_taskrun"]


def build_taskrun(child: NewChild) -> Object:
    """Return the TaskRun of a Pipeline Task that is due, with all results in it that it names.

    Raises:
        ResultUnread: The value of a result by reference is needed, and cannot be read.
        TooLargeError: Its texts would be larger than one object can be.
    """
    facts, own, task = child.facts, child.own, child.spec
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
        "timeout": child_timeout(child),
        "workspaces": child_workspaces(child) or None,
        "managedBy": child.pipelinerun["spec"].get("managedBy"),
        "taskRef": child_reference(task.get("taskRef")),
    }
    if inner is not None:
        made["taskSpec"] = {key: value for key, value in inner.items() if key not in ("metadata", "spec")}
    metadata, given = child_metadata(child), own.get("metadata") or {}
    annotations = {
        **(described.get("annotations") or {}),
        **metadata.get("annotations", {}),
        **(given.get("annotations") or {}),
    }
    if task.get("onError") == CONTINUE:
        annotations[ON_ERROR_ANNOTATION] = CONTINUE
    annotations |= child_placement(child)
    reference: Any = made["taskRef"] or {}
    annotations.pop(LITERAL_ANNOTATION, None)
    if contains_protected(bare := {**made, "params": as_given(made["params"])}):
        annotations[LITERAL_ANNOTATION] = "true"
    else:
        made = bare
    labels = {
        **(described.get("labels") or {}),
        **metadata["labels"],
        **({"tekton.dev/task": reference["name"]} if reference.get("name") else {}),
        **(given.get("labels") or {}),
    }
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {**metadata, "labels": labels, **({"annotations": annotations} if annotations else {})},
        "spec": jsons.copy({key: value for key, value in made.items() if value is not None}),
    }
