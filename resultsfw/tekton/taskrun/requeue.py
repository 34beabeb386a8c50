"""How long a run waits for what comes by itself, and when it is looked at again though nothing changed."""

from dataclasses import dataclass
from datetime import datetime

from resultsfw.cluster import Object
from resultsfw.pods import grace_period, is_terminating
from resultsfw.tekton.podstatus.progress import Progress
from resultsfw.tekton.podstatus.startup_failures import unscheduled_since
from resultsfw.tekton.taskrun.termination import deadline

__all__ = ["Timing", "requeue_after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long the reconciler waits for what should come by itself. All in seconds.

    Attributes:
        sidecar: For a pod to be ready to be read after its last Step ended; then it is stopped.
        unschedulable: For a pod to find a node; 0: as long as the run may take.
        stop: For a stopped pod's containers to end, beyond their grace; then it is read as it is.
        read: For a read that fails to come right, from the first one; then that is the verdict.
    """

    sidecar: float = 60
    unschedulable: float = 30
    stop: float = 30
    read: float = 300


def requeue_after(
    taskrun: Object,
    pod: Object,
    progress: Progress,
    timing: Timing,
    *,
    stopping: bool,
    early: bool,
    soon: float | None,
    now: datetime,
) -> float | None:
    """Seconds until time alone may change what is to be done; ``None`` for never.

    Args:
        taskrun: With its timeout.
        pod: As last seen.
        progress: Of the pod.
        timing: How long is waited for what.
        stopping: The pod was told to end.
        early: Its results were looked for, and are not all there yet.
        soon: Seconds after which something else is to be done.
        now: The time.
    """
    looks: list[float] = [] if soon is None else [soon]
    if (end := deadline(taskrun)) is not None:
        looks.append((end - now).total_seconds())
    if stopping:
        looks.append(grace_period(pod) + timing.stop)
    elif progress.steps_done:
        looks.append(timing.sidecar)
    elif progress.failure is not None:
        looks.append(1.0)
    elif progress.step_not_ended is not None:
        looks.append(timing.sidecar - (now - progress.step_not_ended.since).total_seconds())
    if early:
        # What is written takes milliseconds; no log is read often of a sidecar that hangs.
        # Of a pod that goes it is there for about a second.
        since = now if is_terminating(pod) else progress.ended_at or now
        looks.append(min(max((now - since).total_seconds(), 0.2), 5.0))
    if (found := unscheduled_since(pod)) is not None and timing.unschedulable:
        looks.append(timing.unschedulable - (now - found[0]).total_seconds())
    return max(0.05, min(looks)) if looks else None
