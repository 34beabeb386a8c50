"""The beginning of a run: its Task, its first status, and its only one if it cannot run."""

import contextlib
import logging
from datetime import datetime

from resultsfw.cluster import Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import ClusterError, ForbiddenError, InputError, NotFoundError, ResultsError
from resultsfw.flags import ANNOTATION
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.inherited import inherited_metadata
from resultsfw.tekton.api.kinds import TASK_LABEL, TASKRUNS, TASKS
from resultsfw.tekton.api.models import parse_task, parse_taskrun
from resultsfw.tekton.api.names import container_name, step_name
from resultsfw.tekton.api.refusals import RefusedRun, pod_refused
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.spec.param_files import restored, spared
from resultsfw.tekton.spec.substitution import apply, stored_spec
from resultsfw.tekton.spec.validate_taskrun import refuse_invalid
from resultsfw.tekton.taskrun.completion import failed_status
from resultsfw.tekton.taskrun.termination import TerminationCause

__all__ = ["attempt_status", "first_status", "is_pending", "pending_status", "refused_status", "task_spec_of"]

log = logging.getLogger(__name__)


def task_spec_of(taskrun: Object, cluster: Cluster, *, inherit: bool = True) -> Object:
    """The run's Task spec, valid and with everything in it replaced that can be before the pod runs.

    A status that holds one already is followed: a Task that changes later does not change a run. A retry
    of a spec that stands in the run itself is made anew: ``$(context.task.retry-count)`` may be in it.

    Args:
        taskrun: The run.
        cluster: Where its Task is.
        inherit: Whether the run is given the Task's labels and annotations, as Tekton gives them.

    Raises:
        RefusedRun: There is none, or the run cannot be made of it.
        ClusterError: The Task could not be read.
    """
    status = taskrun.get("status", {})
    begins = not status.get("podName") and taskrun["spec"].get("taskSpec") is not None
    if (known := status.get("taskSpec")) and not begins:
        return restored(dict(known), taskrun)
    try:
        parse_taskrun(taskrun)
        spec, name, described = _task_of(taskrun, cluster)
    except InputError as error:
        raise RefusedRun(reasons.VALIDATION_FAILED, error.message, subject=error.subject) from error
    substituted = refuse_invalid(taskrun, spec, task_name=name)
    if name and inherit:
        _inherit(taskrun, cluster, name, described)
    return stored_spec(substituted, taskrun)


def is_pending(taskrun: Object) -> bool:
    """Return whether a run must not begin yet (``spec.status: TaskRunPending``).

    One that has begun goes on: Tekton's webhook refuses to hold it back then.
    """
    started = (taskrun.get("status") or {}).get("startTime")
    return taskrun["spec"].get("status") == reasons.HELD and not started


def pending_status(taskrun: Object, now: datetime) -> Object:
    """Return the status of a run that is held back. Without ``startTime``, its timeout does not count yet."""
    said = f'TaskRun "{taskrun["metadata"]["name"]}" is pending'
    return {"podName": "", "conditions": [condition("Unknown", reasons.HELD, said, now)]}


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
    taskrun: Object, cluster: Cluster, core: ResultsManager, refused: RefusedRun, now: datetime
) -> Object:
    """The status of a run that gets no pod; with the Task's spec, as Tekton's, if only the pod was wrong."""
    spec = None
    if refused.reason == reasons.POD_CREATION_FAILED:
        with contextlib.suppress(ResultsError):  # the verdict must not depend on reading the Task once more
            raw, name = _raw_spec(taskrun, cluster)
            spec = apply(raw, taskrun, task_name=name)
    ended = failed_status(TerminationCause(refused.reason, refused.message), now, podName="")
    return {**attempt_status(taskrun, spec, core, now), **ended}


def attempt_status(taskrun: Object, task_spec: Object | None, core: ResultsManager, now: datetime) -> Object:
    """The first status of an attempt, before there is a pod. One that has begun keeps its start."""
    asked = (taskrun["metadata"].get("annotations") or {}).get(ANNOTATION)
    # Later looks trust what stands here: never a name that only the run's maker has written.
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
    if task_spec is not None:
        status["taskSpec"] = spared(task_spec, taskrun)
        status["steps"] = [
            {"name": container_name(f"step-{step_name(step, index)}").removeprefix("step-"), "provenance": {}}
            for index, step in enumerate(task_spec.get("steps") or ())
        ]
    return status


def _raw_spec(taskrun: Object, cluster: Cluster) -> tuple[Object, str]:
    """The Task's spec as written, and the Task's name where it has one."""
    spec, name, _ = _task_of(taskrun, cluster)
    return spec, name


def _inherit(taskrun: Object, cluster: Cluster, name: str, described: Object) -> None:
    """Give a run the labels and annotations of the Task it refers to, before its pod is built from them.

    Raises:
        RefusedRun: The server will never accept them.
        ClusterError: They cannot be written now.
    """
    added = inherited_metadata(taskrun, described, label=TASK_LABEL, name=name)
    if not added:
        return
    metadata = taskrun["metadata"]
    namespace, run = metadata.get("namespace", ""), metadata["name"]
    patch = {"metadata": {**added, "resourceVersion": metadata["resourceVersion"]}}
    try:
        taskrun["metadata"] = cluster.patch(TASKRUNS, namespace, run, patch)["metadata"]
    except ForbiddenError as error:  # the stamp is refused next, which says what the controller may not do
        log.warning("TaskRun %s/%s does not get its Task's labels: %s", namespace, run, error.message)
    except ClusterError as error:
        if error.retryable:
            raise
        raise pod_refused(taskrun, f"it cannot have the labels of its Task: {error.message}") from error


def _task_of(taskrun: Object, cluster: Cluster) -> tuple[Object, str, Object]:
    """The Task's spec as written, and its name and ``metadata`` where it is not embedded."""
    spec = taskrun["spec"]
    if spec.get("taskSpec") is not None:
        return spec["taskSpec"], "", {}
    reference = spec.get("taskRef") or {}
    namespace, name = taskrun["metadata"].get("namespace", ""), reference.get("name", "")
    if reference.get("resolver") or reference.get("bundle") or not name:
        raise RefusedRun(
            reasons.RESOLUTION_FAILED,
            f"the Task of {namespace}/{taskrun['metadata']['name']} is not in this namespace by name; "
            f"resolvers are not supported here: give taskRef.name or taskSpec",
        )
    try:
        task = cluster.get(TASKS, namespace, name)
        parse_task(task)
        return task["spec"], name, task["metadata"]
    except NotFoundError as error:
        raise RefusedRun(
            reasons.RESOLUTION_FAILED,
            f'there is no Task "{name}" in namespace "{namespace}": {error.message}',
        ) from error
