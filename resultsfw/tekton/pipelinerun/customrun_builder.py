"""Build the CustomRun of a custom task: a run that another controller reconciles."""

from resultsfw import jsons
from resultsfw.cluster import Object
from resultsfw.tekton.api.kinds import CUSTOMRUNS
from resultsfw.tekton.pipelinerun.child_parts import (
    NewChild,
    child_metadata,
    child_placement,
    child_timeout,
    child_workspaces,
)
from resultsfw.tekton.spec.variables import unprotect

__all__ = ["build_customrun"]


def build_customrun(child: NewChild) -> Object:
    """Return the CustomRun of a Pipeline Task that is due, with all results in it that it names.

    Its texts are data to every controller: no value in them is protected. Of ``taskRunSpecs`` it gets the
    service account and the timeout, as from Tekton's controller (``createCustomRun``).

    Raises:
        ResultUnread: The value of a result by reference is needed, and cannot be read.
        TooLargeError: Its texts would be larger than one object can be.
    """
    task = child.spec
    made: Object = {
        "customRef": task.get("taskRef"),
        "customSpec": _custom_spec(task["taskSpec"]) if task.get("taskSpec") is not None else None,
        "params": task.get("params") or None,
        "retries": task.get("retries") or None,
        "serviceAccountName": child.own.get("serviceAccountName") or None,
        "timeout": child_timeout(child),
        "workspaces": child_workspaces(child) or None,
    }
    metadata = child_metadata(child)
    if placement := child_placement(child):  # its controller may make TaskRuns or pods
        metadata["annotations"] = {**metadata.get("annotations", {}), **placement}
    return {
        "apiVersion": CUSTOMRUNS.api_version,
        "kind": CUSTOMRUNS.kind,
        "metadata": metadata,
        "spec": jsons.copy(unprotect({key: value for key, value in made.items() if value is not None})),
    }


def _custom_spec(embedded: Object) -> Object:
    """Return the spec of an embedded custom task; its own controller replaces the variables in it."""
    return {key: embedded[key] for key in ("apiVersion", "kind", "metadata", "spec") if key in embedded}
