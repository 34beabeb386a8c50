"""Tell why a run ends if its Steps do not end it, and note on the pod why the controller terminated it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from resultsfw.cluster import Object
from resultsfw.durations import format_duration, parse_duration
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.conditions import Waiting, previous_status, waiting_for
from resultsfw.tekton.api.times import DEFAULT_TIMEOUT, format_time, latest_start, parse_time, timeout_of
from resultsfw.tekton.podstatus.pod_state import disruption_reason
from resultsfw.tekton.podstatus.progress import Progress, StepNotEnded
from resultsfw.tekton.podstatus.startup_failures import StartTolerance, cannot_start

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
"""On a pod that the controller terminated: when and why. The pod fails with "DeadlineExceeded" for that."""


@dataclass(frozen=True, slots=True)
class TerminationCause:
    """Why a run, or only its pod, is ended before its Steps have ended.

    Attributes:
        reason: Of the condition; "": only the pod ends, and Steps and results decide how the run does.
        message: Of the condition.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class StopAnnotation:
    """What the controller notes on a pod when it terminates it.

    Attributes:
        at: When.
        cause: Why.
    """

    at: datetime
    cause: TerminationCause

    def annotation(self) -> dict[str, str]:
        """Return it as an annotation."""
        noted = {"at": format_time(self.at), "reason": self.cause.reason, "message": self.cause.message}
        return {STOPPED_ANNOTATION: json.dumps(noted)}


def stop_annotation(pod: Object) -> StopAnnotation | None:
    """Return what the controller noted on a pod that it terminated; ``None`` if it did not terminate it."""
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
        # Somebody edited it: that the pod was terminated is still known, but not when, nor why.
        return StopAnnotation(datetime.min.replace(tzinfo=UTC), TerminationCause("", ""))
    return StopAnnotation(at, cause)


def termination_cause(
    taskrun: Object,
    pod: Object,
    progress: Progress,
    now: datetime,
    *,
    may_be_late: bool = True,
    tolerance: StartTolerance | None = None,
) -> TerminationCause | None:
    """Return why a run ends if its Steps do not end it; ``None`` if nothing but them ends it.

    It was cancelled, is out of time, its pod was deleted or can never start. If the Steps ended by themselves
    before that, they decide. A pod that the controller terminated carries the cause.

    Args:
        taskrun: The run.
        pod: Its pod.
        progress: Of the pod.
        now: The time.
        may_be_late: ``False`` if the caller knows that the deadline is not reached.
        tolerance: How long a run waits for containers that cannot start.
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
        fault = cannot_start(pod, tolerance or StartTolerance(), now)
        broken = TerminationCause(*fault) if fault else None
        waiting = progress.running  # newer than the run's condition
        late = timed_out(taskrun, now, waiting) if may_be_late else None
        return cancelled(taskrun, waiting) or late or gone or broken
    if progress.failure is None:
        return None
    if deleted is not None and progress.ended_at is not None:
        # deletionTimestamp is the end of the grace period; the pod was deleted at its beginning. A kubelet
        # that is done sets the two to now and 0: then nothing tells any more when the pod was deleted.
        grace = metadata.get("deletionGracePeriodSeconds", 0)
        if grace and progress.ended_at < deleted - timedelta(seconds=grace):
            gone = None
    return cancelled(taskrun) or gone


def step_not_ended_cause(found: StepNotEnded) -> TerminationCause:
    """Return the cause of a run one of whose Steps has ended while its container still runs."""
    return TerminationCause(
        reasons.STEP_NOT_ENDED,
        f'the container "{found.step}" does not end though its Step has ended (container '
        f'"{found.shown_by}" ended, which comes after that); see whether the Step left a FIFO or another '
        f"special file in place of a result or under /tekton/steps",
    )


def cancelled(taskrun: Object, waiting: Waiting | None = None) -> TerminationCause | None:
    """Return the cause of a run that somebody cancelled; ``None`` if nobody did.

    Args:
        taskrun: The run.
        waiting: What it waits for, where that is known better than by its condition.
    """
    if taskrun["spec"].get("status") != reasons.CANCELLED:
        return None
    requested = taskrun["spec"].get("statusMessage", "")
    message = f'TaskRun "{taskrun["metadata"]["name"]}" was cancelled. {requested}'
    return TerminationCause(reasons.CANCELLED, message + previous_status(waiting or waiting_for(taskrun)))


def deadline(taskrun: Object) -> datetime | None:
    """Return when the attempt will be out of time; ``None`` before it has started, or without a timeout."""
    started = parse_time(taskrun.get("status", {}).get("startTime"))
    seconds = timeout_of(taskrun)
    return None if started is None or seconds == 0 else latest_start(started) + timedelta(seconds=seconds)


def timed_out(taskrun: Object, now: datetime, waiting: Waiting | None = None) -> TerminationCause | None:
    """Return the cause of a run that is out of time; ``None`` if it is not.

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
