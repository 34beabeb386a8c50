"""Answer yes-or-no questions about a pod: scheduled, started, terminating, ended."""

from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.kinds import CANCEL_ANNOTATION, READY_ANNOTATION, is_step

__all__ = [
    "DEFAULT_GRACE",
    "all_containers_ended",
    "container_statuses",
    "disruption_reason",
    "grace_period",
    "is_cancellable",
    "is_scheduled",
    "is_terminating",
    "native_sidecars",
    "steps_may_have_started",
]


DEFAULT_GRACE: Final = 30
"""Seconds between SIGTERM and SIGKILL where a pod does not say (PodSpec)."""


def is_cancellable(pod: Object) -> bool:
    """Whether the pod's Steps watch `CANCEL_ANNOTATION`: it was built to be kept."""
    volumes = pod["spec"].get("volumes") or ()
    items = (item for one in volumes for item in (one.get("downwardAPI") or {}).get("items") or ())
    return any(CANCEL_ANNOTATION in (item.get("fieldRef") or {}).get("fieldPath", "") for item in items)


def container_statuses(pod: Object, key: str = "containerStatuses") -> dict[str, Object]:
    """The pod's container statuses by name."""
    return {one["name"]: one for one in pod.get("status", {}).get(key) or ()}


def native_sidecars(pod: Object) -> list[str]:
    """Names of the pod's init containers that run beside the others and are started again if they end."""
    listed = pod["spec"].get("initContainers") or ()
    return [one["name"] for one in listed if one.get("restartPolicy") == "Always"]


def is_scheduled(pod: Object) -> bool:
    """Whether a node has the pod. No kubelet knows of one that has none: only its deletion ends it."""
    return bool(pod["spec"].get("nodeName"))


def steps_may_have_started(pod: Object) -> bool:
    """Whether a Step may have begun: the first waits for an annotation, and that for all containers."""
    if READY_ANNOTATION in (pod["metadata"].get("annotations") or {}):
        return True
    ended = (name for name, one in container_statuses(pod).items() if "terminated" in one.get("state", {}))
    return any(is_step(name) for name in ended)


def disruption_reason(pod: Object) -> str:
    """Who ends the pod from outside, in the words of its condition ``DisruptionTarget``; "" if nobody."""
    one = _disrupted(pod)
    return f"{one.get('reason', '')}: {one.get('message', '')}" if one else ""


def is_terminating(pod: Object) -> bool:
    """Whether the pod is deleted or evicted: its logs go with it."""
    return "deletionTimestamp" in pod["metadata"] or bool(_disrupted(pod))


def _disrupted(pod: Object) -> Object:
    """The pod's condition ``DisruptionTarget`` if it holds; else empty."""
    for one in pod.get("status", {}).get("conditions") or ():
        if one.get("type") == "DisruptionTarget" and one.get("status") == "True":
            return dict(one)
    return {}


def grace_period(pod: Object) -> float:
    """Seconds a container of this pod has between SIGTERM and SIGKILL."""
    return float(pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE))


def all_containers_ended(pod: Object) -> bool:
    """Whether no container of the pod will say anything more."""
    known = {**container_statuses(pod, "initContainerStatuses"), **container_statuses(pod)}
    states = {name: one.get("state", {}) for name, one in known.items()}
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return not any("running" in state for state in states.values())
    speaking = [*native_sidecars(pod), *(one["name"] for one in pod["spec"]["containers"])]
    return all("terminated" in states.get(name, {}) for name in speaking)
