"""The beginning of a run: its Task, its refusal if it cannot run, its first status, its end in time."""

from datetime import datetime, timedelta
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.core import Core
from resultsfw.errors import NotFoundError
from resultsfw.flags import ANNOTATION
from resultsfw.tekton import reasons
from resultsfw.tekton.conclude import STOPPED_ANNOTATION, Cause, condition, failed_status
from resultsfw.tekton.durations import format_duration, parse_duration
from resultsfw.tekton.kinds import TASKS
from resultsfw.tekton.mirror import Progress, format_time, parse_time
from resultsfw.tekton.run import container_name
from resultsfw.tekton.substitute import apply, step_name
from resultsfw.tekton.validate import RefusedRun, refuse_invalid

__all__ = ["begun_status", "cancelled", "cause_of", "deadline", "refused_status", "task_spec_of", "timed_out"]

DEFAULT_TIMEOUT: Final = "1h0m0s"
"""``spec.timeout`` where no one sets it (Tekton's ``default-timeout-minutes``)."""


def task_spec_of(taskrun: Object, cluster: Cluster) -> Object:
    """The run's Task spec, valid and with everything in it replaced that can be before the pod runs.

    A status that holds one already is followed: a Task that changes later does not change a run.

    Raises:
        RefusedRun: There is none, or the run cannot be made of it.
        ClusterError: The Task could not be read.
    """
    if known := taskrun.get("status", {}).get("taskSpec"):
        return dict(known)
    spec, name = _raw_spec(taskrun, cluster)
    refuse_invalid(taskrun, spec)
    return apply(spec, taskrun, task_name=name)


def refused_status(
    taskrun: Object, cluster: Cluster, core: Core, refused: RefusedRun, now: datetime
) -> Object:
    """The status of a run that gets no pod; with the Task's spec, as Tekton's, if only the pod was wrong."""
    spec = None
    if refused.reason == reasons.POD_CREATION_FAILED:
        raw, name = _raw_spec(taskrun, cluster)
        spec = apply(raw, taskrun, task_name=name)
    ended = failed_status(Cause(refused.reason, refused.message), now, podName="")
    return {**begun_status(taskrun, spec, core, now), **ended}


def begun_status(taskrun: Object, task_spec: Object | None, core: Core, now: datetime) -> Object:
    """The first status of an attempt, before there is a pod."""
    annotations = taskrun["metadata"].get("annotations") or {}
    status: Object = {
        "startTime": format_time(now),
        "provenance": {
            "featureFlags": {
                "maxResultSize": core.flags.max_result_size,
                "resultExtractionMethod": annotations.get(ANNOTATION) or core.flags.results_from,
            }
        },
        "conditions": [condition("Unknown", reasons.PENDING, reasons.PENDING, now)],
    }
    if task_spec is not None:
        status["taskSpec"] = task_spec
        status["steps"] = [
            {"name": container_name(f"step-{step_name(step, index)}").removeprefix("step-"), "provenance": {}}
            for index, step in enumerate(task_spec.get("steps") or ())
        ]
    return status


def cancelled(taskrun: Object) -> Cause | None:
    """Why a run ends that somebody cancelled; ``None`` for one that nobody did."""
    if taskrun["spec"].get("status") != reasons.CANCELLED:
        return None
    said = taskrun["spec"].get("statusMessage", "")
    return Cause(reasons.CANCELLED, f'TaskRun "{taskrun["metadata"]["name"]}" was cancelled. {said}')


def deadline(taskrun: Object) -> datetime | None:
    """When the attempt that runs is out of time; ``None`` before it began or without a timeout."""
    started = parse_time(taskrun.get("status", {}).get("startTime"))
    nanoseconds = parse_duration(taskrun["spec"].get("timeout") or DEFAULT_TIMEOUT)
    if started is None or nanoseconds == 0:
        return None
    return started + timedelta(microseconds=nanoseconds / 1000)


def timed_out(taskrun: Object, now: datetime) -> Cause | None:
    """Why a run ends that is out of time; ``None`` for one that is not."""
    end = deadline(taskrun)
    if end is None or now < end:
        return None
    timeout = format_duration(parse_duration(taskrun["spec"].get("timeout") or DEFAULT_TIMEOUT))
    name = taskrun["metadata"]["name"]
    return Cause(reasons.TIMED_OUT, f'TaskRun "{name}" failed to finish within "{timeout}"')


def cause_of(taskrun: Object, pod: Object, progress: Progress, now: datetime) -> Cause | None:
    """Why a run ends whose pod does not end it: cancelled, out of time, the pod deleted.

    ``None`` where the Steps had ended by themselves before anybody ended them.
    """
    metadata = pod["metadata"]
    deleted = parse_time(metadata.get("deletionTimestamp"))
    gone = None
    if deleted is not None:
        gone = Cause(reasons.POD_DELETED, f'pod "{metadata["name"]}" was deleted before its run was over')
    if not progress.steps_done or STOPPED_ANNOTATION in (metadata.get("annotations") or {}):
        return cancelled(taskrun) or timed_out(taskrun, now) or gone
    if progress.failure is None:
        return None
    if deleted is not None and progress.ended_at is not None:
        # The timestamp is the end of a grace; at its beginning somebody deleted the pod. A kubelet that
        # is done sets both to now and 0, and with that the beginning is not known any more.
        grace = metadata.get("deletionGracePeriodSeconds", 0)
        if grace and progress.ended_at < deleted - timedelta(seconds=grace):
            gone = None
    return cancelled(taskrun) or gone


def _raw_spec(taskrun: Object, cluster: Cluster) -> tuple[Object, str]:
    """The Task's spec as written, and the Task's name where it has one."""
    spec = taskrun["spec"]
    if spec.get("taskSpec") is not None:
        return spec["taskSpec"], ""
    reference = spec.get("taskRef") or {}
    namespace, name = taskrun["metadata"].get("namespace", ""), reference.get("name", "")
    if reference.get("resolver") or reference.get("bundle") or not name:
        raise RefusedRun(
            reasons.RESOLUTION_FAILED,
            f"the Task of {namespace}/{taskrun['metadata']['name']} is not in this namespace by name; "
            f"resolvers are not supported here: give taskRef.name or taskSpec",
        )
    try:
        return cluster.get(TASKS, namespace, name)["spec"], name
    except NotFoundError as error:
        raise RefusedRun(
            reasons.RESOLUTION_FAILED,
            f'there is no Task "{name}" in namespace "{namespace}": {error.message}',
        ) from error
