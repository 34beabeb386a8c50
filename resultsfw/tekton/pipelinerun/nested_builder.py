"""Build the child PipelineRun of a Pipeline in a Pipeline (TEP-0056)."""

from resultsfw import jsons
from resultsfw.cluster import Object
from resultsfw.tekton.api.kinds import PIPELINE_LABEL, PIPELINERUNS
from resultsfw.tekton.pipelinerun.child_parts import (
    NewChild,
    as_given,
    child_metadata,
    child_reference,
    child_timeout,
    child_workspaces,
)
from resultsfw.tekton.spec.params import LITERAL_ANNOTATION
from resultsfw.tekton.spec.variables import contains_protected, unprotect

__all__ = ["build_pipelinerun"]


def build_pipelinerun(child: NewChild) -> Object:
    """Return the child PipelineRun of a Pipeline Task that is due, with all results in it that it names.

    Raises:
        ResultUnread: The value of a result by reference is needed, and cannot be read.
        TooLargeError: Its texts would be larger than one object can be.
    """
    task, spec = child.spec, child.pipelinerun["spec"]
    template = {
        key: child.own.get(key) for key in ("serviceAccountName", "podTemplate") if child.own.get(key)
    }
    timeout = child_timeout(child)
    made: Object = {
        "pipelineRef": child_reference(task.get("pipelineRef")),
        "pipelineSpec": unprotect(task.get("pipelineSpec")),
        "params": task.get("params") or None,
        "workspaces": child_workspaces(child) or None,
        "taskRunTemplate": template or None,
        "timeouts": {"pipeline": timeout} if timeout else None,
        "managedBy": spec.get("managedBy"),
    }
    metadata = child_metadata(child)
    reference = made["pipelineRef"]
    labels = {key: value for key, value in metadata["labels"].items() if key != PIPELINE_LABEL}
    if name := child.name if reference is None else reference.get("name"):
        labels[PIPELINE_LABEL] = name  # what a resolver gives has a name when the child has read it
    annotations = dict(metadata.get("annotations") or {})
    if contains_protected(bare := {**made, "params": as_given(made["params"])}):
        annotations[LITERAL_ANNOTATION] = "true"
    else:
        made = bare
    return {
        "apiVersion": PIPELINERUNS.api_version,
        "kind": PIPELINERUNS.kind,
        "metadata": {**metadata, "labels": labels, **({"annotations": annotations} if annotations else {})},
        "spec": jsons.copy({key: value for key, value in made.items() if value is not None}),
    }
