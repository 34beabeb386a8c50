"""Read facts from a pod: its kind, container statuses, termination, native sidecars.

Public for backends. Every function takes the pod as decoded JSON and leaves it unchanged. A field that
is absent counts as not reported yet.
"""

from collections.abc import Sequence
from typing import Final

from resultsfw.cluster import Object
from resultsfw.types import Run

__all__ = [
    "DEFAULT_GRACE_SECONDS",
    "RESULTS_SIDECAR",
    "container_states",
    "container_statuses",
    "containers",
    "disruption_condition",
    "grace_period",
    "has_finished",
    "is_plain",
    "is_terminating",
    "native_sidecars",
    "restart_policy",
    "steps_ended",
    "terminated_states",
]

RESULTS_SIDECAR: Final = "sidecar-tekton-log-results"
"""Name of the results sidecar's container: Tekton's name, so that Tekton's tools recognize it."""

DEFAULT_GRACE_SECONDS: Final = 30
"""Seconds between SIGTERM and SIGKILL if ``spec.terminationGracePeriodSeconds`` is not set (PodSpec)."""

_TEKTON_VOLUME: Final = "tekton-internal-"
_ENTRYPOINT_FLAG: Final = "-step_metadata_dir"


def is_plain(run: Run, pod: Object) -> bool:
    """Return whether a pod was not made for Tekton's entrypoint: an embedder's own Pod, or a Job's template.

    It has no volume ``tekton-internal-...``, and no Step's container has the entrypoint's arguments. The
    answer is the same before and after a backend has prepared the pod.
    """
    volumes = pod.get("spec", {}).get("volumes") or ()
    by_name = containers(pod)
    return not any(volume["name"].startswith(_TEKTON_VOLUME) for volume in volumes) and not any(
        _ENTRYPOINT_FLAG in (by_name.get(step.container, {}).get("args") or ()) for step in run.steps
    )


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


def restart_policy(pod: Object, container: Object) -> str:
    """Return the restart policy of a container: its own, else the pod's."""
    return str(container.get("restartPolicy") or pod["spec"].get("restartPolicy", "Never"))


def steps_ended(run: Run, pod: Object) -> bool:
    """Return whether all Steps' containers have ended for good: none will be restarted in this pod."""
    by_name, ended = containers(pod), terminated_states(pod)
    return bool(run.steps) and all(
        step.container in ended
        and not _is_restarted(pod, by_name.get(step.container, {}), ended[step.container])
        for step in run.steps
    )


def _is_restarted(pod: Object, container: Object, ended: Object) -> bool:
    policy, failed = restart_policy(pod, container), bool(ended.get("exitCode"))
    rules = bool(container.get("restartPolicyRules"))
    return policy == "Always" or (failed and (rules or policy == "OnFailure"))
