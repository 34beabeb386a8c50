"""Resolve the Task of a TaskRun: read it, validate it, replace its variables, inherit its labels."""

import logging

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import ClusterError, ForbiddenError, InputError, NotFoundError
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.inherited import inherited_metadata
from resultsfw.tekton.api.kinds import TASK_LABEL, TASKRUNS, TASKS
from resultsfw.tekton.api.models import validate_task_document, validate_taskrun_document
from resultsfw.tekton.api.refusals import RefusedRun, pod_refused
from resultsfw.tekton.spec.param_files import expand_compact_spec
from resultsfw.tekton.spec.substitution import stored_spec
from resultsfw.tekton.spec.validate_taskrun import refuse_invalid

__all__ = ["read_task", "resolve_task"]

log = logging.getLogger(__name__)


def resolve_task(taskrun: Object, cluster: Cluster, *, inherit: bool = True) -> tuple[Object, Object]:
    """Return the TaskRun's Task spec, valid, with all variables replaced that can be before the pod runs.

    A spec that the status holds already is used: a Task that changes later does not change a run. But for a
    retry, a spec that is embedded in the TaskRun is substituted again: ``$(context.task.retry-count)`` may be
    in it.

    Args:
        taskrun: The run.
        cluster: Where its Task is.
        inherit: Write the Task's labels and annotations to the TaskRun, as Tekton does.

    Returns:
        The spec, and the TaskRun with the metadata that it has now.

    Raises:
        RefusedRun: There is no Task, or the run cannot be made of it.
        ClusterError: The Task could not be read, or the labels not be written.
    """
    status = taskrun.get("status", {})
    begins = not status.get("podName") and taskrun["spec"].get("taskSpec") is not None
    if (known := status.get("taskSpec")) and not begins:
        return expand_compact_spec(dict(known), taskrun), taskrun
    try:
        validate_taskrun_document(taskrun)
        spec, name, described = read_task(taskrun, cluster)
    except InputError as error:
        raise RefusedRun(reasons.VALIDATION_FAILED, error.message, subject=error.subject) from error
    substituted = refuse_invalid(taskrun, spec, task_name=name)
    if name and inherit:
        taskrun = _inherit(taskrun, cluster, name, described)
    return stored_spec(substituted, taskrun), taskrun


def read_task(taskrun: Object, cluster: Cluster) -> tuple[Object, str, Object]:
    """Return the Task's spec as written, and its name and ``metadata`` unless it is embedded.

    Raises:
        RefusedRun: There is no such Task.
        InputError: It is not valid.
        ClusterError: It could not be read.
    """
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
        validate_task_document(task)
        return task["spec"], name, task["metadata"]
    except NotFoundError as error:
        raise RefusedRun(
            reasons.RESOLUTION_FAILED,
            f'there is no Task "{name}" in namespace "{namespace}": {error.message}',
        ) from error


def _inherit(taskrun: Object, cluster: Cluster, name: str, described: Object) -> Object:
    """Return the TaskRun with its Task's labels and annotations, which its pod is built with; write them.

    Raises:
        RefusedRun: The server will never accept them.
        ClusterError: They cannot be written now.
    """
    added = inherited_metadata(taskrun, described, label=TASK_LABEL, name=name)
    if not added:
        return taskrun
    metadata = taskrun["metadata"]
    namespace, run = metadata.get("namespace", ""), metadata["name"]
    patch = {"metadata": {**added, "resourceVersion": metadata["resourceVersion"]}}
    try:
        return {**taskrun, "metadata": cluster.patch(TASKRUNS, namespace, run, patch)["metadata"]}
    except ForbiddenError as error:  # the stamp is refused next, which says what the controller may not do
        log.warning("TaskRun %s/%s does not get its Task's labels: %s", namespace, run, error.message)
        return taskrun
    except ClusterError as error:
        if error.retryable:
            raise
        raise pod_refused(taskrun, f"it cannot have the labels of its Task: {error.message}") from error
