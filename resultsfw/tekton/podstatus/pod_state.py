"""Answer yes-or-no questions about a pod of a TaskRun: scheduled, started, ended."""

from typing import Final

from resultsfw.cluster import Object
from resultsfw.pods import (
    container_states,
    container_statuses,
    disruption_condition,
    has_finished,
    native_sidecars,
)
from resultsfw.tekton.api.kinds import CANCEL_ANNOTATION, READY_ANNOTATION, is_step

__all__ = [
    "PROCESS_ID",
    "all_containers_ended",
    "disruption_reason",
    "init_statuses",
    "is_cancellable",
    "is_scheduled",
    "main_statuses",
    "runs_as_processes",
    "steps_may_have_started",
]

PROCESS_ID: Final = "process://"
"""Beginning of the ``containerID`` of each container in a pod of the local engine."""


def runs_as_processes(pod: Object) -> bool:
    """Return whether the local engine runs the pod's containers, with an entrypoint of its own."""
    return any(
        str(status.get("containerID") or "").startswith(PROCESS_ID) for status in main_statuses(pod).values()
    )


def main_statuses(pod: Object) -> dict[str, Object]:
    """Return the statuses of the pod's containers by name, without those of init containers."""
    return container_statuses(pod, ("containerStatuses",))


def init_statuses(pod: Object) -> dict[str, Object]:
    """Return the statuses of the pod's init containers by name; native sidecars are among them."""
    return container_statuses(pod, ("initContainerStatuses",))


def is_cancellable(pod: Object) -> bool:
    """Return whether the pod's Steps watch `CANCEL_ANNOTATION`, so that a cancelled pod can be kept."""
    volumes = pod["spec"].get("volumes") or ()
    items = (item for volume in volumes for item in (volume.get("downwardAPI") or {}).get("items") or ())
    return any(CANCEL_ANNOTATION in (item.get("fieldRef") or {}).get("fieldPath", "") for item in items)


def is_scheduled(pod: Object) -> bool:
    """Return whether the pod is bound to a node.

    No kubelet knows of a pod without a node: its deadline has no effect, and only deletion ends it.
    """
    return bool(pod["spec"].get("nodeName"))


def steps_may_have_started(pod: Object) -> bool:
    """Return whether a Step's command may have started.

    Step containers run before that: the entrypoint in them waits for `READY_ANNOTATION`, which the controller
    sets when all Sidecars run.
    """
    if READY_ANNOTATION in (pod["metadata"].get("annotations") or {}):
        return True
    return any(
        is_step(name) and "terminated" in status.get("state", {})
        for name, status in main_statuses(pod).items()
    )


def disruption_reason(pod: Object) -> str:
    """Return reason and message of the pod's condition ``DisruptionTarget``; "" if it is not set."""
    found = disruption_condition(pod)
    return f"{found.get('reason', '')}: {found.get('message', '')}" if found else ""


def all_containers_ended(pod: Object) -> bool:
    """Return whether no container of the pod runs any more, nor will."""
    states = container_states(pod)
    if has_finished(pod):
        # The phase can be final while the kubelet has not reported the last containers' ends.
        return not any("running" in state for state in states.values())
    expected = [*native_sidecars(pod), *(container["name"] for container in pod["spec"]["containers"])]
    return all("terminated" in states.get(name, {}) for name in expected)
