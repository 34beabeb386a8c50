"""Read facts from a pod as the API server holds it: container statuses, termination, native sidecars.

Public for backends. Every function takes the pod as decoded JSON and leaves it unchanged. A field that
is absent counts as not reported yet.
"""

from collections.abc import Sequence
from typing import Final

from resultsfw.cluster import Object

__all__ = [
    "DEFAULT_GRACE_SECONDS",
    "RESULTS_SIDECAR",
    "container_states",
    "container_statuses",
    "containers",
    "disruption_condition",
    "grace_period",
    "has_finished",
    "is_terminating",
    "native_sidecars",
    "terminated_states",
]

RESULTS_SIDECAR: Final = "sidecar-tekton-log-results"
"""Name of the results sidecar's container: Tekton's name, so that Tekton's tools recognize it."""

DEFAULT_GRACE_SECONDS: Final = 30
"""Seconds between SIGTERM and SIGKILL if ``spec.terminationGracePeriodSeconds`` is not set (PodSpec)."""


def containers(pod: Object) -> dict[str, Object]:
    """Return the pod's containers by name, init containers included.

    Native sidecars are init containers. The API server rejects a name that is used twice.
    """
    spec = pod.get("spec", {})
    listed = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return {container["name"]: container for container in listed}


def container_statuses(
    pod: Object, fields: Sequence[str] = ("initContainerStatuses", "containerStatuses")
) -> dict[str, Object]:
    """Return the reported container statuses by container name.

    Args:
        pod: The pod.
        fields: Fields of ``status`` to read.
    """
    status = pod.get("status", {})
    return {entry["name"]: entry for field in fields for entry in status.get(field) or ()}


def container_states(pod: Object) -> dict[str, Object]:
    """Return the reported ``state`` of each container by name."""
    return {name: status.get("state", {}) for name, status in container_statuses(pod).items()}


def terminated_states(pod: Object) -> dict[str, Object]:
    """Return ``state.terminated`` by name, for the containers that are terminated now.

    A native sidecar, or a container that the kubelet restarts, may run again later.
    """
    return {
        name: state["terminated"] for name, state in container_states(pod).items() if "terminated" in state
    }


def native_sidecars(pod: Object) -> list[str]:
    """Return the names of the pod's native sidecars: init containers with ``restartPolicy: Always``."""
    listed = pod["spec"].get("initContainers") or ()
    return [container["name"] for container in listed if container.get("restartPolicy") == "Always"]


def has_finished(pod: Object) -> bool:
    """Return whether the pod's phase is final: ``Succeeded`` or ``Failed``."""
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def disruption_condition(pod: Object) -> Object:
    """Return the pod's condition ``DisruptionTarget`` if its status is ``True``, else an empty object.

    The API server, a drain, a preemption or the kubelet sets it on a pod that is about to be evicted.
    """
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return dict(condition)
    return {}


def is_terminating(pod: Object) -> bool:
    """Return whether the pod is being deleted or evicted. Its logs are removed with it."""
    return "deletionTimestamp" in pod["metadata"] or bool(disruption_condition(pod))


def grace_period(pod: Object) -> float:
    """Return the pod's termination grace period in seconds."""
    return float(pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS))
