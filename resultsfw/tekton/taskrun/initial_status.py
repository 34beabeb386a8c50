"""Build the first statuses of a TaskRun: pending, started, with a Task; and its only one if it cannot run."""

import contextlib
from datetime import datetime

from resultsfw.cluster import Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.flags import ANNOTATION
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.names import container_name, step_name
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.spec.param_files import compact_spec
from resultsfw.tekton.spec.substitution import apply
from resultsfw.tekton.taskrun.completion import failed_status
from resultsfw.tekton.taskrun.task_resolution import read_task
from resultsfw.tekton.taskrun.termination import TerminationCause

__all__ = ["attempt_status", "first_status", "is_pending", "pending_status", "refused_status"]


def is_pending(taskrun: Object) -> bool:
    """Return whether a run must not begin yet (``spec.status: TaskRunPending``).

    A run that has begun goes on: Tekton's webhook refuses to hold it back then.
    """
    started = (taskrun.get("status") or {}).get("startTime")
    return taskrun["spec"].get("status") == reasons.RUN_PENDING and not started


def pending_status(taskrun: Object, now: datetime) -> Object:
    """Return the status of a run that is held back. Without ``startTime``, its timeout does not count yet."""
    message = f'TaskRun "{taskrun["metadata"]["name"]}" is pending'
    return {"podName": "", "conditions": [condition("Unknown", reasons.RUN_PENDING, message, now)]}


def first_status(now: datetime) -> Object:
    """Return the status that an attempt gets before anything else is tried.

    Its ``startTime`` is what the timeout counts from: whatever fails afterwards, the run ends.
    """
    return {
        "startTime": format_time(now),
        "podName": "",  # the CRD requires one
        "conditions": [condition("Unknown", reasons.PENDING, reasons.PENDING, now)],
    }


def refused_status(
    taskrun: Object, cluster: Cluster, core: ResultsManager, cause: TerminationCause, now: datetime
) -> Object:
    """Return the status of a run that gets no pod.

    As Tekton's, it holds the Task's spec if only the pod cannot be created.
    """
    spec = ref_source = None
    if cause.reason == reasons.POD_CREATION_FAILED:
        with contextlib.suppress(ResultsError):  # the verdict must not depend on reading the Task once more
            task = read_task(taskrun, cluster)
            spec, ref_source = apply(task.spec, taskrun, task_name=task.name), task.ref_source
    ended = failed_status(cause, now, podName="")
    return {**attempt_status(taskrun, spec, core, now, ref_source=ref_source), **ended}


def attempt_status(
    taskrun: Object,
    task_spec: Object | None,
    core: ResultsManager,
    now: datetime,
    *,
    ref_source: Object | None = None,
) -> Object:
    """Return the status of an attempt whose Task is known, before it has a pod. An earlier start is kept.

    Args:
        taskrun: As last read.
        task_spec: Its Task's; ``None`` if it is not known.
        core: The core with the flags in effect.
        now: The time.
        ref_source: Where a resolver found the Task; ``None`` without one.
    """
    asked = (taskrun["metadata"].get("annotations") or {}).get(ANNOTATION)
    # Later reconciles trust this field: never write a name here that only the run's author chose.
    backend = asked if asked in core.flags.allowed_results_from else core.flags.results_from
    status: Object = {
        "startTime": taskrun.get("status", {}).get("startTime") or format_time(now),
        "provenance": {
            "featureFlags": {
                "maxResultSize": core.flags.max_result_size,
                "resultExtractionMethod": backend,
            }
        },
        "conditions": [condition("Unknown", reasons.PENDING, reasons.PENDING, now)],
    }
    if ref_source is not None:
        status["provenance"]["refSource"] = ref_source
    if task_spec is not None:
        status["taskSpec"] = compact_spec(task_spec, taskrun)
        status["steps"] = [
            {"name": container_name(f"step-{step_name(step, index)}").removeprefix("step-"), "provenance": {}}
            for index, step in enumerate(task_spec.get("steps") or ())
        ]
    return status
