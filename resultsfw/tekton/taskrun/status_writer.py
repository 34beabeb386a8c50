"""Write the status of a TaskRun, and build the parts of it that depend on the status so far."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import ObjectTooLargeError, ResultsError
from resultsfw.limits import object_size
from resultsfw.result_annotations import annotation_removal, without_result_annotations
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.conditions import condition, succeeded
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.taskrun.completion import failed_status
from resultsfw.tekton.taskrun.observation import unreadable_since
from resultsfw.tekton.taskrun.termination import TerminationCause

__all__ = ["retry_status", "unreadable_condition", "write_final_status", "write_refusal", "write_status"]

_ARCHIVED_BYTES: Final = 32_768
"""Bytes up to which an earlier attempt is archived whole in ``retriesStatus``."""


def write_status(cluster: Cluster, taskrun: Object, status: Object) -> Object:
    """Write a part of a TaskRun's status, on condition that the TaskRun has not changed since it was read.

    Conditions of other types than those in ``status`` are kept. Nothing is written if only the time of a
    condition would change.

    Returns:
        The TaskRun as it is now.

    Raises:
        ClusterError: The API server refused; a ConflictError if somebody else wrote.
    """
    status = _with_other_conditions(taskrun.get("status", {}), status)
    if not _differs(taskrun.get("status", {}), status):
        return taskrun
    metadata = taskrun["metadata"]
    patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
    written = cluster.patch(
        TASKRUNS, metadata.get("namespace", ""), metadata["name"], patch, subresource="status"
    )
    return {**taskrun, "metadata": written["metadata"], "status": written.get("status", {})}


def write_refusal(cluster: Cluster, taskrun: Object, status: Object) -> Object:
    """Write that a run cannot run; if the Task's spec does not fit into the status, without it."""
    try:
        return write_status(cluster, taskrun, status)
    except ObjectTooLargeError:
        return write_status(cluster, taskrun, {**status, "taskSpec": None, "steps": None})


def write_final_status(cluster: Cluster, taskrun: Object, status: Object, now: datetime) -> Object:
    """Write the verdict; if the API server finds it too large, without the results.

    Annotations by which the pod delivered its results are removed.
    """
    removal = annotation_removal(taskrun)
    if removal:
        status = {**status, "annotations": {**(status.get("annotations") or {}), **removal["annotations"]}}
    try:
        return write_status(cluster, taskrun, status)
    except ObjectTooLargeError as error:
        message = (
            f"[User error] the run's status with its results is larger than the API server stores: "
            f"{error.message}; its results are left out"
        )
        too_large = failed_status(TerminationCause(reasons.TOO_LARGE, message), now, results=None)
        return write_status(cluster, taskrun, {**too_large, **removal})


def unreadable_condition(taskrun: Object, error: ResultsError, now: datetime) -> Object:
    """Return the condition of a run whose results cannot be read yet.

    Messages differ from try to try: as long as the kind of the error stays, the condition stays as it is, so
    that nothing is written. Its time stays the time of the first failed try: `Timing.read` counts from there.
    """
    known = succeeded(taskrun)
    why = f"the results cannot be read yet and are tried again ({error.code}): "
    if str(known.get("message", "")).startswith(why):
        return known
    # A backend's exception is in the message of a ResultsError by its type only: its text may hold a secret.
    since = unreadable_since(taskrun) or now
    return condition("Unknown", reasons.UNREADABLE, why + error.message, since)


def retry_status(taskrun: Object, ended: Object, now: datetime) -> Object:
    """Return the status that archives the attempt and lets another start, under another pod name.

    What vouches for the status is left out: it is about the status that ends the run.

    Args:
        taskrun: As last read.
        ended: The status that ends the attempt.
        now: The time.
    """
    status = without_result_annotations(taskrun).get("status", {})
    ended = {key: value for key, value in ended.items() if key != "annotations"}
    attempt = {key: value for key, value in {**status, **ended}.items() if value is not None}
    attempt.pop("retriesStatus", None)
    if object_size(attempt) > _ARCHIVED_BYTES:
        # The results of a failed attempt must not take the space of the attempt that succeeds.
        attempt = _without_values(attempt)
    fresh: dict[str, Any] = annotation_removal(taskrun) | dict.fromkeys(attempt)
    return fresh | {
        "podName": "",  # the CRD requires one
        "retriesStatus": [*(status.get("retriesStatus") or []), attempt],
        "taskSpec": status.get("taskSpec"),
        "conditions": [condition("Unknown", reasons.TO_BE_RETRIED, attempt["conditions"][0]["message"], now)],
    }


def _without_values(attempt: Object) -> Object:
    """Return an archived attempt without what is large in it: results, messages, the Task's spec."""
    small = {key: value for key, value in attempt.items() if key not in ("results", "taskSpec")}
    small["steps"] = [
        {key: value for key, value in step.items() if key != "results"} for step in attempt.get("steps") or ()
    ]
    return small


def _with_other_conditions(old: Mapping[str, Any], new: Object) -> Object:
    """Return a status patch with the conditions that it would remove: it replaces the whole list."""
    if not new.get("conditions"):
        return new
    written = {entry.get("type") for entry in new["conditions"]}
    others = [entry for entry in old.get("conditions") or () if entry.get("type") not in written]
    return {**new, "conditions": [*new["conditions"], *others]}


def _differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return whether a status patch would change more than the time of a condition."""

    def timeless(conditions: Any) -> Any:
        return [
            {key: known[key] for key in known if key != "lastTransitionTime"} for known in conditions or ()
        ]

    return any(
        timeless(value) != timeless(old.get(key)) if key == "conditions" else value != old.get(key)
        for key, value in new.items()
    )
