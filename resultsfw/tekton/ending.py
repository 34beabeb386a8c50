"""Why a run ends that its pod does not end by itself, and how that is noted on the pod."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton import reasons
from resultsfw.tekton.conditions import succeeded
from resultsfw.tekton.durations import format_duration, parse_duration
from resultsfw.tekton.faults import disruption, overdue, unstartable
from resultsfw.tekton.mirror import Overstay, Progress, format_time, parse_time

__all__ = [
    "Cause",
    "StopMark",
    "Waiting",
    "cancelled",
    "cause_of",
    "deadline",
    "latest_start",
    "not_ended",
    "previous_status",
    "stop_mark",
    "timed_out",
    "timeout_of",
    "waiting_for",
]

STOPPED_ANNOTATION: Final = "resultsfw.dev/stopped"
"""On a pod that we stopped: when and why. Its own "DeadlineExceeded" is then no finding."""

DEFAULT_TIMEOUT: Final = "1h0m0s"
"""``spec.timeout`` where no one sets it (Tekton's ``default-timeout-minutes``)."""


_FRACTION: Final = timedelta(seconds=1)
"""Kubernetes stores times without their fraction of a second: one that was stored may be this much older
than what it tells of."""

_NOTHING_TO_SAY: Final = frozenset({"Started", "Running", "TaskRunPending"})
"""Reasons of a condition that says of no cause why a run does not go on (Tekton's list)."""

Waiting = tuple[str, str]
"""Reason and message of the condition of a run that is not over."""


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason to end that does not come from the Steps.

    With ``reason`` "" it ends the pod and not the run: what the Steps and the results say is the verdict.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class StopMark:
    """What we noted on a pod when we stopped it."""

    at: datetime
    cause: Cause

    def annotation(self) -> dict[str, str]:
        """As it stands on the pod."""
        noted = {"at": format_time(self.at), "reason": self.cause.reason, "message": self.cause.message}
        return {STOPPED_ANNOTATION: json.dumps(noted)}


def stop_mark(pod: Object) -> StopMark | None:
    """The mark of a pod that we stopped; ``None`` for one that we did not."""
    text = (pod["metadata"].get("annotations") or {}).get(STOPPED_ANNOTATION)
    if text is None:
        return None
    try:
        noted = json.loads(text)
        at = parse_time(noted["at"])
        cause = Cause(str(noted["reason"]), str(noted["message"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        at = None
    if at is None:
        # Somebody edited it. That it was stopped is still known; when, and why, is not.
        return StopMark(datetime.min.replace(tzinfo=UTC), Cause("", ""))
    return StopMark(at, cause)


def cause_of(
    taskrun: Object, pod: Object, progress: Progress, now: datetime, *, unschedulable: float = 0
) -> Cause | None:
    """Why a run ends whose pod does not end it: cancelled, out of time, the pod deleted or not to be started.

    ``None`` where the Steps had ended by themselves before anybody ended them. ``unschedulable``: seconds
    that a pod may be without a node; 0: as long as the run may take.
    """
    if (mark := stop_mark(pod)) is not None:
        return mark.cause if mark.cause.reason else None
    metadata = pod["metadata"]
    deleted = parse_time(metadata.get("deletionTimestamp"))
    gone = None
    if deleted is not None:
        by = f" ({who})" if (who := disruption(pod)) else ""
        gone = Cause(reasons.POD_DELETED, f'pod "{metadata["name"]}" was deleted before its run was over{by}')
    if not progress.steps_done:
        fault = unstartable(pod) or overdue(pod, unschedulable, now)
        broken = Cause(*fault) if fault else None
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


def not_ended(overstay: Overstay) -> Cause:
    """Why a run ends one of whose Steps has ended while its container does not."""
    return Cause(
        reasons.STEP_NOT_ENDED,
        f'the container "{overstay.step}" does not end though its Step has ended (container '
        f'"{overstay.shown_by}" ended, which comes after that); see whether the Step left a FIFO or another '
        f"special file in place of a result or under /tekton/steps",
    )


def waiting_for(run: Object) -> Waiting:
    """Return reason and message of the condition that a run, of either kind, has before it is over."""
    known = succeeded(run)
    return (known.get("reason") or "", known.get("message") or "")


def previous_status(waiting: Waiting) -> str:
    """Return what to add to the message of a run that is ended: the cause that it waited for, if any.

    In Tekton's words (appendPreviousConditionContext).
    """
    reason, message = waiting
    if reason in _NOTHING_TO_SAY or message in ("", reason):
        return ""
    return f"\nPrevious status: [{reason}] {message}"


def cancelled(taskrun: Object, waiting: Waiting | None = None) -> Cause | None:
    """Return why a run ends that somebody cancelled; ``None`` for one that nobody did.

    Args:
        taskrun: The run.
        waiting: What it waits for, where that is known better than by its condition.
    """
    if taskrun["spec"].get("status") != reasons.CANCELLED:
        return None
    said = taskrun["spec"].get("statusMessage", "")
    message = f'TaskRun "{taskrun["metadata"]["name"]}" was cancelled. {said}'
    return Cause(reasons.CANCELLED, message + previous_status(waiting or waiting_for(taskrun)))


def timeout_of(taskrun: Object) -> float:
    """Seconds a run's attempt may take; 0: no limit.

    One that cannot be read is refused by validation; until then the default counts.
    """
    given = taskrun["spec"].get("timeout") or DEFAULT_TIMEOUT
    try:
        return parse_duration(given) / 1_000_000_000
    except ValueError:
        return parse_duration(DEFAULT_TIMEOUT) / 1_000_000_000


def latest_start(stored: datetime) -> datetime:
    """Return when something may have begun at the latest whose time is stored without its fraction.

    Limits are counted from here, so that none is early; Tekton's are, by up to a second.
    """
    return stored + _FRACTION


def deadline(taskrun: Object) -> datetime | None:
    """When the attempt that runs is out of time; ``None`` before it began or without a timeout."""
    started = parse_time(taskrun.get("status", {}).get("startTime"))
    seconds = timeout_of(taskrun)
    return None if started is None or seconds == 0 else latest_start(started) + timedelta(seconds=seconds)


def timed_out(taskrun: Object, now: datetime, waiting: Waiting | None = None) -> Cause | None:
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
    return Cause(reasons.TIMED_OUT, message + previous_status(waiting or waiting_for(taskrun)))
