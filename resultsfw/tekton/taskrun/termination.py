"""Why a run ends that its pod does not end by itself, and how that is noted on the pod."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.conditions import Waiting, previous_status, waiting_for
from resultsfw.tekton.api.durations import format_duration, parse_duration
from resultsfw.tekton.api.times import DEFAULT_TIMEOUT, format_time, latest_start, parse_time, timeout_of
from resultsfw.tekton.podstatus.pod_state import disruption_reason
from resultsfw.tekton.podstatus.progress import Progress, StepNotEnded
from resultsfw.tekton.podstatus.startup_failures import cannot_start, unscheduled_too_long

__all__ = [
    "StopAnnotation",
    "TerminationCause",
    "cancelled",
    "deadline",
    "step_not_ended_cause",
    "stop_annotation",
    "termination_cause",
    "timed_out",
]

STOPPED_ANNOTATION: Final = "resultsfw.dev/stopped"
"""On a pod that we stopped: when and why. Its own "DeadlineExceeded" is then no finding."""


@dataclass(frozen=True, slots=True)
class TerminationCause:
    """A reason to end that does not come from the Steps.

    With ``reason`` "" it ends the pod and not the run: what the Steps and the results say is the verdict.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class StopAnnotation:
    """What we noted on a pod when we stopped it."""

    at: datetime
    cause: TerminationCause

    def annotation(self) -> dict[str, str]:
        """As it stands on the pod."""
        noted = {"at": format_time(self.at), "reason": self.cause.reason, "message": self.cause.message}
        return {STOPPED_ANNOTATION: json.dumps(noted)}


def stop_annotation(pod: Object) -> StopAnnotation | None:
    """The mark of a pod that we stopped; ``None`` for one that we did not."""
    text = (pod["metadata"].get("annotations") or {}).get(STOPPED_ANNOTATION)
    if text is None:
        return None
    try:
        noted = json.loads(text)
        at = parse_time(noted["at"])
        cause = TerminationCause(str(noted["reason"]), str(noted["message"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        at = None
    if at is None:
        # Somebody edited it. That it was stopped is still known; when, and why, is not.
        return StopAnnotation(datetime.min.replace(tzinfo=UTC), TerminationCause("", ""))
    return StopAnnotation(at, cause)


def termination_cause(
    taskrun: Object, pod: Object, progress: Progress, now: datetime, *, unschedulable: float = 0
) -> TerminationCause | None:
    """Why a run ends whose pod does not end it: cancelled, out of time, the pod deleted or not to be started.

    ``None`` where the Steps had ended by themselves before anybody ended them. ``unschedulable``: seconds
    that a pod may be without a node; 0: as long as the run may take.
    """
    if (mark := stop_annotation(pod)) is not None:
        return mark.cause if mark.cause.reason else None
    metadata = pod["metadata"]
    deleted = parse_time(metadata.get("deletionTimestamp"))
    gone = None
    if deleted is not None:
        by = f" ({who})" if (who := disruption_reason(pod)) else ""
        gone = TerminationCause(
            reasons.POD_DELETED, f'pod "{metadata["name"]}" was deleted before its run was over{by}'
        )
    if not progress.steps_done:
        fault = cannot_start(pod) or unscheduled_too_long(pod, unschedulable, now)
        broken = TerminationCause(*fault) if fault else None
        waiting = progress.running  # newer than the condition of the run
        return cancelled(taskrun, waiting) or timed_out(taskrun, now, waiting) or gone or broken
    if progress.failure is None:
        return None
    if deleted is not None and progress.ended_at is not None:
        # The timestamp is the end of a grace; at its beginning somebody deleted the pod. A kubelet that
        # is done sets both to now and 0, and with that the beginning is not known any more.
        grace = metadata.get("deletionGracePeriodSeconds", 0)
        if grace and progress.ended_at < deleted - timedelta(seconds=grace):
            gone = None
    return cancelled(taskrun) or gone


def step_not_ended_cause(found: StepNotEnded) -> TerminationCause:
    """Why a run ends one of whose Steps has ended while its container does not."""
    return TerminationCause(
        reasons.STEP_NOT_ENDED,
        f'the container "{found.step}" does not end though its Step has ended (container '
        f'"{found.shown_by}" ended, which comes after that); see whether the Step left a FIFO or another '
        f"special file in place of a result or under /tekton/steps",
    )


def cancelled(taskrun: Object, waiting: Waiting | None = None) -> TerminationCause | None:
    """Return why a run ends that somebody cancelled; ``None`` for one that nobody did.

    Args:
        taskrun: The run.
        waiting: What it waits for, where that is known better than by its condition.
    """
    if taskrun["spec"].get("status") != reasons.CANCELLED:
        return None
    said = taskrun["spec"].get("statusMessage", "")
    message = f'TaskRun "{taskrun["metadata"]["name"]}" was cancelled. {said}'
    return TerminationCause(reasons.CANCELLED, message + previous_status(waiting or waiting_for(taskrun)))


def deadline(taskrun: Object) -> datetime | None:
    """When the attempt that runs is out of time; ``None`` before it began or without a timeout."""
    started = parse_time(taskrun.get("status", {}).get("startTime"))
    seconds = timeout_of(taskrun)
    return None if started is None or seconds == 0 else latest_start(started) + timedelta(seconds=seconds)


def timed_out(taskrun: Object, now: datetime, waiting: Waiting | None = None) -> TerminationCause | None:
    """Return why a run ends that is out of time; ``None`` for one that is not.

    Args:
        taskrun: The run.
        now: The time.
        waiting: What it waits for, where that is known better than by its condition.
    """
    end = deadline(taskrun)
    if end is None or now < end:
        return None
    timeout = format_duration(parse_duration(taskrun["spec"].get("timeout") or DEFAULT_TIMEOUT))
    message = f'TaskRun "{taskrun["metadata"]["name"]}" failed to finish within "{timeout}"'
    return TerminationCause(reasons.TIMED_OUT, message + previous_status(waiting or waiting_for(taskrun)))
