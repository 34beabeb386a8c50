"""Tell whether the controller must annotate a pod so that its first Step starts.

The entrypoint of the first Step waits for the annotation ``tekton.dev/ready`` in a file of a downward API
volume. The kubelet may miss the annotation: if it comes while the kubelet goes through the pod's volumes, the
file is written only a minute later. Any further change of the pod makes the kubelet sync the pod at once.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.kinds import READY_ANNOTATION, RELEASED_ANNOTATION, is_step
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.podstatus.pod_state import main_statuses

__all__ = ["NOTHING_DUE", "REPEAT_SECONDS", "ReadySignal", "ready_signal"]

REPEAT_SECONDS: Final = 10.0
"""Seconds after the annotation at which the pod is changed once more, unless a Step has ended."""


@dataclass(frozen=True, slots=True)
class ReadySignal:
    """What there is to do about the ready annotation.

    Attributes:
        is_due: The pod is to be annotated now.
        repeat_is_due: The pod is to be changed once more now.
        repeat_in: Seconds until it is to be changed once more; ``None``: never.
    """

    is_due: bool = False
    repeat_is_due: bool = False
    repeat_in: float | None = None


NOTHING_DUE: Final = ReadySignal()


def ready_signal(pod: Object, now: datetime) -> ReadySignal:
    """Return what there is to do about the pod's ready annotation: it is due when every Sidecar is ready."""
    annotations = pod["metadata"].get("annotations") or {}
    if pod.get("status", {}).get("phase") != "Running":
        return NOTHING_DUE
    statuses = main_statuses(pod)
    if READY_ANNOTATION in annotations:
        released = annotations.get(RELEASED_ANNOTATION)
        if released is None or any(
            is_step(name) and "terminated" in status.get("state", {}) for name, status in statuses.items()
        ):
            return NOTHING_DUE
        waited = (now - (parse_time(released) or now)).total_seconds()
        if waited < REPEAT_SECONDS:
            return ReadySignal(repeat_in=REPEAT_SECONDS - waited)
        return ReadySignal(repeat_is_due=True)
    for name, status in statuses.items():
        state = status.get("state", {})
        if not is_step(name) and not ("terminated" in state or ("running" in state and status.get("ready"))):
            return NOTHING_DUE
    return ReadySignal(is_due=True)
