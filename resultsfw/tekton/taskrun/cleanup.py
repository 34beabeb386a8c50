"""Clean up after a TaskRun that has its verdict: its Sidecars, what backends keep, its pod."""

import contextlib

from resultsfw.cluster import PODS, Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import NotFoundError
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.attempts import attempt_number
from resultsfw.tekton.api.conditions import succeeded
from resultsfw.tekton.api.owners import owns
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.podstatus.pod_state import is_cancellable
from resultsfw.tekton.spec.declared_results import run_of
from resultsfw.tekton.taskrun.finalizers import purge_earlier
from resultsfw.tekton.taskrun.pod_lifecycle import delete_unscheduled, stop_sidecars
from resultsfw.tekton.taskrun.stamps import purged_by

__all__ = ["clean_up"]


def clean_up(
    core: ResultsManager, cluster: Cluster, taskrun: Object, options: PodOptions, *, pod: Object | None = None
) -> None:
    """Stop the Sidecars of a run that is over, purge, and delete the pod of a run that was ended.

    May be called again: a controller that was killed before it had cleaned up does so when it is back. A pod
    that was built to be kept stays, also if the option has changed since.

    Args:
        core: Purges what backends keep.
        cluster: Where the pod is.
        taskrun: With its verdict.
        options: Whether pods of cancelled runs are kept, and the image that ends Sidecars.
        pod: The pod if it was read already.

    Raises:
        ClusterError, BackendError: Something could not be changed or removed.
    """
    status = taskrun.get("status", {})
    namespace, name = taskrun["metadata"].get("namespace", ""), status.get("podName")
    if not name:
        return
    try:
        pod = pod or cluster.get(PODS, namespace, name)
    except NotFoundError:
        return
    if not owns(taskrun, pod):
        return  # created later, under the same name
    run = run_of(taskrun, status.get("taskSpec") or {}, attempt=attempt_number(taskrun))
    keep = options.keep_pod_on_cancel or is_cancellable(pod)
    delete = succeeded(taskrun).get("reason") in (reasons.CANCELLED, reasons.TIMED_OUT) and not keep
    with contextlib.suppress(NotFoundError):
        if not delete:  # before the purge: a backend that fails there must not keep Sidecars running
            delete_unscheduled(cluster, pod)
            stop_sidecars(cluster, pod, options.nop_image)
        if backend := purged_by(core, taskrun, pod):
            core.purge(run, pod, cluster, backend=backend)
        purge_earlier(core, cluster, taskrun)
        if delete:
            cluster.delete(PODS, namespace, name)
