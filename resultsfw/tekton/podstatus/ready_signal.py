"""Tell whether the controller must annotate a pod so that its first Step starts.

The entrypoint of the first Step waits for the annotation ``tekton.dev/ready`` in a file of a downward API
volume. The kubelet may miss the annotation: if it comes while the kubelet goes through the pod's volumes, the
file is written only a minute later. Any further change of the pod makes the kubelet sync the pod at once.

No Step starts while a native results sidecar keeps failing: what it wrote could not be delivered. The kubelet
starts such a sidecar again and again, so that it is running for a moment each time.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from resultsfw.cluster import Object
from resultsfw.pods import RESULTS_SIDECAR, native_sidecars
from resultsfw.tekton.api.kinds import READY_ANNOTATION, RELEASED_ANNOTATION, is_step
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.podstatus.pod_state import init_statuses, main_statuses

__all__ = ["NOTHING_DUE", "REPEAT_SECONDS", "ReadySignal", "ready_signal"]

REPEAT_SECONDS: Final = 10.0
"""Seconds after the annotation at which the pod is changed once more, unless a Step has ended."""


_SETTLED_SECONDS: Final = 3.0
"""Seconds for which a native results sidecar that had failed must run before a Step may start."""


@dataclass(frozen=True, slots=True)
class ReadySignal:
    """What there is to do about the ready annotation.

    Attributes:
        is_due: The pod is to be annotated now.
        due_in: Seconds until it may be due; ``None``: only a change of the pod makes it due.
        repeat_is_due: The pod is to be changed once more now.
        repeat_in: Seconds until it is to be changed once more; ``None``: never.
    """

    is_due: bool = False
    due_in: float | None = None
    repeat_is_due: bool = False
    repeat_in: float | None = None


NOTHING_DUE: Final = ReadySignal()


def ready_signal(pod: Object, now: datetime) -> ReadySignal:
    """Return what there is to do about the pod's ready annotation.

    It is due when every Sidecar is ready, and a native results sidecar runs.
    """
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
    return _results_sidecar_signal(pod, now)


def _results_sidecar_signal(pod: Object, now: datetime) -> ReadySignal:
    """Return whether the signal is due, as far as the results sidecar is concerned."""
    status = init_statuses(pod).get(RESULTS_SIDECAR)
    if status is None or RESULTS_SIDECAR not in native_sidecars(pod):
        return ReadySignal(is_due=True)
    running = status.get("state", {}).get("running")
    if running is None:
        return NOTHING_DUE
    failed = status.get("lastState", {}).get("terminated", {}).get("exitCode")
    started = parse_time(running.get("startedAt") or "")
    elapsed = (now - started).total_seconds() if failed and started else _SETTLED_SECONDS
    if 0 <= elapsed < _SETTLED_SECONDS:  # below 0 the node's clock is ahead: its times are of no use
        return ReadySignal(due_in=_SETTLED_SECONDS - elapsed)
    return ReadySignal(is_due=True)
