"""The beginning of a run: its Task, its first status, and its only one if it cannot run."""

from datetime import datetime

from resultsfw.cluster import Cluster, Object
from resultsfw.core import Core
from resultsfw.errors import InputError, NotFoundError
from resultsfw.flags import ANNOTATION
from resultsfw.tekton import reasons
from resultsfw.tekton.conclude import condition, failed_status
from resultsfw.tekton.ending import Cause
from resultsfw.tekton.kinds import TASKS
from resultsfw.tekton.large import restored, spared
from resultsfw.tekton.mirror import format_time
from resultsfw.tekton.models import parse_task, parse_taskrun
from resultsfw.tekton.run import container_name
from resultsfw.tekton.substitute import apply, step_name
from resultsfw.tekton.validate import RefusedRun, refuse_invalid

__all__ = ["begun_status", "refused_status", "task_spec_of"]


def task_spec_of(taskrun: Object, cluster: Cluster) -> Object:
    """The run's Task spec, valid and with everything in it replaced that can be before the pod runs.

    A status that holds one already is followed: a Task that changes later does not change a run. A retry
    of a spec that stands in the run itself is made anew: ``$(context.task.retry-count)`` may be in it.

    Raises:
        RefusedRun: There is none, or the run cannot be made of it.
        ClusterError: The Task could not be read.
    """
    status = taskrun.get("status", {})
    begins = not status.get("startTime") and taskrun["spec"].get("taskSpec") is not None
    if (known := status.get("taskSpec")) and not begins:
        return restored(dict(known), taskrun)
    try:
        parse_taskrun(taskrun)
        spec, name = _raw_spec(taskrun, cluster)
    except InputError as error:
        raise RefusedRun(reasons.VALIDATION_FAILED, error.message, subject=error.subject) from error
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
    """The first status of an attempt, before there is a pod. One that has begun keeps its start."""
    asked = (taskrun["metadata"].get("annotations") or {}).get(ANNOTATION)
    # Later looks trust what stands here: never a name that only the run's maker has written.
    backend = asked if asked in core.flags.allowed else core.flags.results_from
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
        task = cluster.get(TASKS, namespace, name)
        parse_task(task)
        return task["spec"], name
    except NotFoundError as error:
        raise RefusedRun(
            reasons.RESOLUTION_FAILED,
            f'there is no Task "{name}" in namespace "{namespace}": {error.message}',
        ) from error
