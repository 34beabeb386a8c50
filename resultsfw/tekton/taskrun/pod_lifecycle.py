"""What a reconciler does to a pod that runs: let it begin, end it gently, end what outstays the Steps."""

import contextlib
import logging
from datetime import datetime
from typing import Final

from resultsfw.cluster import PODS, Cluster, Object
from resultsfw.errors import NotFoundError
from resultsfw.pods import RESULTS_SIDECAR, grace_period
from resultsfw.tekton.api.kinds import READY_ANNOTATION, RELEASED_ANNOTATION, is_step
from resultsfw.tekton.api.times import format_time, parse_time
from resultsfw.tekton.podstatus.pod_state import is_scheduled, main_statuses
from resultsfw.tekton.taskrun.termination import StopAnnotation, TerminationCause, stop_annotation

__all__ = ["delete_unscheduled", "mark_ready", "stop_sidecars", "terminate"]


log = logging.getLogger(__name__)

REMINDER: Final = 10.0
"""Seconds between the two."""


def mark_ready(cluster: Cluster, pod: Object, now: datetime) -> float | None:
    """Let the first Step begin, once every Sidecar runs; seconds until the kubelet is to be told again.

    A kubelet may miss an annotation: one that comes while it goes through its pods' volumes is written into
    the Step's file only at its next look at the pod, a minute later (its volume manager marks a pod as done
    that was changed meanwhile). Any further change of the pod has it look again, so it gets one.
    """
    annotations = pod["metadata"].get("annotations") or {}
    if pod.get("status", {}).get("phase") != "Running":
        return None
    if READY_ANNOTATION in annotations:
        return _remind(cluster, pod, now)
    for name, one in main_statuses(pod).items():
        state = one.get("state", {})
        if not is_step(name) and not ("terminated" in state or ("running" in state and one.get("ready"))):
            return None
    ready = {READY_ANNOTATION: "READY", RELEASED_ANNOTATION: format_time(now)}
    _patch(cluster, pod, {"metadata": {"annotations": ready}})
    return REMINDER


def _remind(cluster: Cluster, pod: Object, now: datetime) -> float | None:
    """Change the pod once more, if no Step has ended some time after the release."""
    released = (pod["metadata"].get("annotations") or {}).get(RELEASED_ANNOTATION)
    if released is None or any(
        is_step(name) and "terminated" in one.get("state", {}) for name, one in main_statuses(pod).items()
    ):
        return None
    waited = (now - (parse_time(released) or now)).total_seconds()
    if waited < REMINDER:
        return REMINDER - waited
    _patch(cluster, pod, {"metadata": {"annotations": {RELEASED_ANNOTATION: None}}})
    return None


def terminate(cluster: Cluster, pod: Object, cause: TerminationCause, now: datetime) -> float:
    """Have the kubelet end every container, gently, and keep the pod; seconds since that was asked.

    A deadline in the past does it: SIGTERM, the grace, SIGKILL, and pod and logs stay to be read.
    Deleting the pod would take its logs along (Kubernetes: ``activeDeadlineSeconds`` may be lowered).
    """
    metadata = pod["metadata"]
    if (mark := stop_annotation(pod)) is not None:
        return (now - mark.at).total_seconds()
    if (deleted := parse_time(metadata.get("deletionTimestamp"))) is not None:
        # The time at which the grace of a deletion is over.
        return (now - deleted).total_seconds() + grace_period(pod)
    log.info("pod %s/%s is stopped: %s", metadata.get("namespace"), metadata["name"], cause.message)
    marked = {"metadata": {"annotations": StopAnnotation(now, cause).annotation()}}
    _patch(cluster, pod, {**marked, "spec": {"activeDeadlineSeconds": 1}})
    return 0.0


def stop_sidecars(cluster: Cluster, pod: Object, nop_image: str) -> None:
    """End Sidecars that still run as Tekton does: an image that exits at once takes their place.

    So are containers that somebody else put into the pod (a service mesh's). The results sidecar ends by
    itself, native sidecars are ended by the kubelet when all others have.
    """
    running = {name for name, one in main_statuses(pod).items() if "running" in one.get("state", {})}
    containers = [dict(one) for one in pod["spec"]["containers"]]
    stale = [
        one
        for one in containers
        if not is_step(one["name"])
        and one["name"] != RESULTS_SIDECAR
        and one["name"] in running
        and one["image"] != nop_image
    ]
    for one in stale:
        one["image"] = nop_image
    if stale:
        _patch(cluster, pod, {"spec": {"containers": containers}})


def delete_unscheduled(cluster: Cluster, pod: Object) -> None:
    """Delete a pod of a run that is over if no node has it: one that gets a node later would start it."""
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
