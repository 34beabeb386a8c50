"""Build the error that ends a run which cannot be run as it is written."""

from typing import Final

from resultsfw.cluster import Object
from resultsfw.errors import ResultsError
from resultsfw.tekton.api import reasons

__all__ = ["USER_ERROR", "RefusedRun", "creation_failed", "invalid_value", "pod_refused", "subject_of"]


USER_ERROR: Final = "[User error] "
"""Before what whoever wrote the run can mend (Tekton's words)."""


class RefusedRun(ResultsError):  # noqa: N818 - a verdict over a run, not a failure of ours
    """A TaskRun cannot be run as it is written; trying again does not help.

    Args:
        reason: Of the condition, Tekton's: ``TaskRunValidationFailed``, ``PodCreationFailed``.
        message: Of the condition.
        subject: ``TaskRun namespace/name``.
    """

    code = "RunRefused"

    def __init__(self, reason: str, message: str, *, subject: str = "") -> None:
        super().__init__(message, subject=subject)
        self.reason = reason


def invalid_value(taskrun: Object, why: str) -> RefusedRun:
    """Return the refusal of a parameter's value that is not among those it allows."""
    return RefusedRun("InvalidParamValue", f"{USER_ERROR}{why}", subject=subject_of(taskrun))


def creation_failed(taskrun: Object, why: str) -> RefusedRun:
    """Return the refusal of a run whose pod cannot be made, worded as Tekton words it."""
    metadata = taskrun.get("metadata") or {}
    reference = (taskrun.get("spec") or {}).get("taskRef")
    maybe = (
        f"missing or invalid Task {metadata.get('namespace', '')}/{reference.get('name', '')}"
        if reference
        else "invalid TaskSpec"
    )
    return pod_refused(taskrun, f"{why}. Maybe {maybe}")


def pod_refused(taskrun: Object, why: str) -> RefusedRun:
    """Return the refusal of a run whose pod cannot be made for a cause that is known."""
    name = (taskrun.get("metadata") or {}).get("name", "")
    message = f'failed to create task run pod "{name}": {why}'
    return RefusedRun(reasons.POD_CREATION_FAILED, message, subject=subject_of(taskrun))


def subject_of(taskrun: Object) -> str:
    """Return how an error names a TaskRun: ``TaskRun namespace/name``."""
    metadata = taskrun.get("metadata") or {}
    return f"TaskRun {metadata.get('namespace', '')}/{metadata.get('name', '')}"
