"""Return when a TaskRun must be reconciled again although no object changed."""

from dataclasses import dataclass
from datetime import datetime

from resultsfw.tekton.taskrun.observation import PodObservation

__all__ = ["Timing", "requeue_after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long the reconciler waits for what should come by itself. All in seconds.

    Attributes:
        sidecar: For a pod to be ready to be read after its last Step ended; then it is terminated.
        unschedulable: For a pod to find a node; 0: as long as the run may take.
        stop: For a terminated pod's containers to end, beyond the grace period; then it is read as it is.
        read: For reads that fail, from the first one; after it, the failure is the verdict.
    """

    sidecar: float = 60
    unschedulable: float = 30
    stop: float = 30
    read: float = 300


def requeue_after(
    pod: PodObservation, timing: Timing, *, stopping: bool, early: bool, now: datetime
) -> float | None:
    """Return the seconds until time alone may change the decision; ``None``: never.

    Args:
        pod: As observed.
        timing: How long is waited for what.
        stopping: The pod was asked to end.
        early: Its results were looked for, and are not all there yet.
        now: The time.
    """
    progress, waits = pod.progress, []
    if pod.deadline_in is not None:
        waits.append(pod.deadline_in)
    if stopping:
        waits.append(pod.grace_period + timing.stop)
    elif progress.steps_done:
        waits.append(timing.sidecar)
    else:
        signal = (pod.signal.repeat_in, pod.signal.due_in)
        waits += [seconds for seconds in signal if seconds is not None]
        if progress.failure is not None:
            waits.append(1.0)
        elif progress.step_not_ended is not None:
            waits.append(timing.sidecar - (now - progress.step_not_ended.since).total_seconds())
    if early:
        # What is being written takes milliseconds; but the log of a sidecar that hangs is not read often. The
        # log of a pod that is deleted is there for about a second.
        since = now if pod.terminating else progress.ended_at or now
        waits.append(min(max((now - since).total_seconds(), 0.2), 5.0))
    if pod.tolerated_for is not None:
        waits.append(pod.tolerated_for)
    if pod.unscheduled is not None and timing.unschedulable:
        waits.append(timing.unschedulable - (now - pod.unscheduled.since).total_seconds())
    return max(0.05, min(waits)) if waits else None
