"""Change a pod that runs: mark it ready, terminate it, end the containers that outlive its Steps."""

import contextlib
import logging
from datetime import datetime

from resultsfw.cluster import PODS, Cluster, Object
from resultsfw.errors import NotFoundError
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.tekton.api.kinds import READY_ANNOTATION, RELEASED_ANNOTATION, is_step
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.podstatus.pod_state import is_scheduled, main_statuses
from resultsfw.tekton.taskrun.termination import StopAnnotation, TerminationCause

__all__ = ["delete_unscheduled", "mark_ready", "outliving_sidecars", "stop_sidecars", "terminate"]


log = logging.getLogger(__name__)


def mark_ready(cluster: Cluster, pod: Object, now: datetime, *, repeat: bool = False) -> None:
    """Annotate the pod so that its first Step starts.

    Args:
        cluster: Where the pod is.
        pod: As last read.
        now: The time, which is noted on the pod.
        repeat: Change the pod once more instead; see `resultsfw.tekton.podstatus.ready_signal`.
    """
    if repeat:
        _patch(cluster, pod, {"metadata": {"annotations": {RELEASED_ANNOTATION: None}}})
        return
    ready = {READY_ANNOTATION: "READY", RELEASED_ANNOTATION: format_time(now)}
    _patch(cluster, pod, {"metadata": {"annotations": ready}})


def terminate(cluster: Cluster, pod: Object, cause: TerminationCause, now: datetime) -> None:
    """Have the kubelet terminate every container of the pod, and keep the pod.

    A deadline in the past does it: SIGTERM, the grace period, SIGKILL, and pod and logs stay readable.
    Deleting the pod would delete its logs too (Kubernetes: ``activeDeadlineSeconds`` may be lowered).
    """
    metadata = pod["metadata"]
    log.info("pod %s/%s is stopped: %s", metadata.get("namespace"), metadata["name"], cause.message)
    marked = {"metadata": {"annotations": StopAnnotation(now, cause).annotation()}}
    _patch(cluster, pod, {**marked, "spec": {"activeDeadlineSeconds": 1}})


def outliving_sidecars(pod: Object, nop_image: str) -> list[str]:
    """Return the names of the containers that `stop_sidecars` ends.

    Containers that somebody else put into the pod (a service mesh's) are among them. The results sidecar ends
    by itself, and the kubelet ends native sidecars when all other containers have ended.
    """
    statuses = main_statuses(pod)
    return [
        container["name"]
        for container in pod["spec"]["containers"]
        if not is_step(container["name"])
        and container["name"] != RESULTS_SIDECAR
        and "running" in statuses.get(container["name"], {}).get("state", {})
        and container["image"] != nop_image
    ]


def stop_sidecars(cluster: Cluster, pod: Object, nop_image: str) -> None:
    """End Sidecars that still run, as Tekton does: replace their images by an image that exits at once."""
    stale = outliving_sidecars(pod, nop_image)
    if stale:
        containers = [
            {**container, "image": nop_image} if container["name"] in stale else container
            for container in pod["spec"]["containers"]
        ]
        _patch(cluster, pod, {"spec": {"containers": containers}})


def delete_unscheduled(cluster: Cluster, pod: Object) -> None:
    """Delete a pod that is not bound to a node, of a run that is over: bound later, it would start."""
    metadata = pod["metadata"]
    if is_scheduled(pod) or pod.get("status", {}).get("phase", "Pending") != "Pending":
        return
    with contextlib.suppress(NotFoundError):
        cluster.delete(PODS, metadata.get("namespace", ""), metadata["name"])


def _patch(cluster: Cluster, pod: Object, patch: Object) -> None:
    metadata = pod["metadata"]
    try:
        cluster.patch(PODS, metadata.get("namespace", ""), metadata["name"], patch)
    except NotFoundError:
        log.info("pod %s/%s is gone", metadata.get("namespace"), metadata["name"])
