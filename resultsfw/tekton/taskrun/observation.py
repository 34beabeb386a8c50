"""Observe a TaskRun and its pod: the facts on which `resultsfw.tekton.taskrun.decision` decides."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from resultsfw.cluster import Object
from resultsfw.errors import ResultsError
from resultsfw.pods import grace_period, is_terminating
from resultsfw.stamps import STAMP_ANNOTATION
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.attempts import attempt_number
from resultsfw.tekton.api.conditions import is_done, succeeded
from resultsfw.tekton.api.names import pod_name
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.podstatus.pod_state import all_containers_ended, is_scheduled, steps_may_have_started
from resultsfw.tekton.podstatus.progress import Progress, progress_of
from resultsfw.tekton.podstatus.ready_signal import NOTHING_DUE, ReadySignal, ready_signal
from resultsfw.tekton.podstatus.startup_failures import (
    StartTolerance,
    Unscheduled,
    tolerated_for,
    unscheduled,
)
from resultsfw.tekton.taskrun.initial_status import is_pending
from resultsfw.tekton.taskrun.pod_lifecycle import outliving_sidecars
from resultsfw.tekton.taskrun.termination import (
    StopAnnotation,
    TerminationCause,
    cancelled,
    deadline,
    stop_annotation,
    termination_cause,
    timed_out,
)

__all__ = [
    "AwaitedAnswer",
    "Failure",
    "Lookup",
    "Observation",
    "PodObservation",
    "Readiness",
    "Verdict",
    "observe",
    "unreadable_since",
    "verdict_of",
]


class Lookup(Enum):
    """What is known in this pass of the attempt's pod."""

    NOT_READ = auto()
    FOUND = auto()
    ABSENT = auto()
    UNUSABLE = auto()
    """It cannot be read, or belongs to somebody else. `Observation.failure` says which."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the attempt has no pod.

    Attributes:
        reason: Of the condition, if that ends the run.
        message: Of the condition.
        error: What was raised; its type says whether trying again can help.
    """

    reason: str
    message: str
    error: ResultsError


@dataclass(frozen=True, slots=True)
class AwaitedAnswer:
    """What of the Task a resolver has not found yet.

    Attributes:
        reason: Of the condition while the run waits.
        message: Of the condition.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """What the backend answered when it was asked whether the pod can be read.

    Attributes:
        ready: Its answer; ``False`` if it failed.
        error: What it raised.
    """

    ready: bool
    error: ResultsError | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The Succeeded condition that ends the attempt, not written yet.

    Attributes:
        status: "True" or "False".
        reason: Of the condition.
        attempts_left: Another attempt may follow.
    """

    status: str
    reason: str
    attempts_left: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PodObservation:
    """What can be read from the attempt's pod, and what its backend returned in this reconcile.

    Attributes:
        name: Of the pod.
        progress: How far its Steps have come.
        cause: Why the run ends if its Steps do not end it, but for a pod that finds no node.
        stop: What the controller noted on the pod when it terminated it.
        terminating: The pod is deleted or evicted: its logs are removed with it.
        terminating_for: Seconds since its containers were asked to end; ``None``: they were not asked. 0 for
            a pod without a node: no kubelet can be asked.
        scheduled: It is bound to a node.
        unscheduled: What the scheduler says of a pod it finds no node for.
        tolerated_for: Seconds until a container that cannot start now is given up; ``None``: none is.
        steps_may_have_started: Whether there can be results.
        all_ended: No container runs any more, nor will.
        sidecars_run: The Steps have ended, and Sidecars that the kubelet does not end still run.
        signal: What there is to do about the ready annotation, while Steps run.
        grace_period: In seconds.
        deadline_in: Seconds until the attempt is out of time; ``None``: it has no timeout.
        unreadable_for: Seconds since the results could not be read for the first time, as the status says.
        readiness: The backend's answer; ``None``: not asked in this pass.
        read_error: Why the results could not be read in this pass.
    """

    name: str
    progress: Progress
    cause: TerminationCause | None = None
    stop: StopAnnotation | None = None
    terminating: bool = False
    terminating_for: float | None = None
    scheduled: bool = True
    unscheduled: Unscheduled | None = None
    tolerated_for: float | None = None
    steps_may_have_started: bool = True
    all_ended: bool = False
    sidecars_run: bool = False
    signal: ReadySignal = NOTHING_DUE
    grace_period: float = 30
    deadline_in: float | None = None
    unreadable_for: float = 0
    readiness: Readiness | None = None
    read_error: ResultsError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What one pass knows of a TaskRun.

    Attributes:
        now: The time.
        deleted: It has a ``deletionTimestamp``.
        done: It has its verdict.
        pending: ``spec.status`` holds it back, and it has not begun.
        started: Its status has a ``startTime``.
        cause: It is cancelled or out of time. Only of an attempt whose pod is not recorded.
        pod_recorded: Its status names the attempt's pod.
        pod_may_exist: The pod is recorded, or was about to be created when a controller crashed.
        task_resolved: Its Task was read and is valid.
        awaited_answer: What keeps the Task from being read now.
        awaited_images: What keeps the pod from being created now; "" if nothing does.
        lookup: Whether the pod was found.
        failure: Why it has no pod.
        pod: What the pod says; ``None`` until it is read and recorded.
        verdict: How the attempt ends.
    """

    now: datetime
    deleted: bool = False
    done: bool = False
    pending: bool = False
    started: bool = True
    cause: TerminationCause | None = None
    pod_recorded: bool = True
    pod_may_exist: bool = True
    task_resolved: bool = False
    awaited_answer: AwaitedAnswer | None = None
    awaited_images: str = ""
    lookup: Lookup = Lookup.NOT_READ
    failure: Failure | None = None
    pod: PodObservation | None = None
    verdict: Verdict | None = None


def observe(
    taskrun: Object,
    pod: Object | None,
    now: datetime,
    *,
    nop_image: str = "",
    tolerance: StartTolerance | None = None,
) -> Observation:
    """Return what a TaskRun and its pod say. Reads nothing else and changes nothing.

    Args:
        taskrun: As last read.
        pod: As last read, if its TaskRun's status names it; else ``None``.
        now: The time.
        nop_image: The image by which Sidecars are ended.
        tolerance: How long a run waits for containers that cannot start.
    """
    metadata, status = taskrun["metadata"], taskrun.get("status", {})
    if metadata.get("deletionTimestamp"):
        return Observation(now=now, deleted=True)
    if is_done(taskrun):
        return Observation(now=now, done=True)
    attempt = attempt_number(taskrun)
    recorded = bool(status.get("podName")) and status["podName"] == pod_name(metadata["name"], attempt)
    stamped = STAMP_ANNOTATION in (metadata.get("annotations") or {})
    return Observation(
        now=now,
        pending=is_pending(taskrun),
        started=bool(status.get("startTime")),
        cause=None if recorded else cancelled(taskrun) or timed_out(taskrun, now),
        pod_recorded=recorded,
        # The stamp is written before the pod is created, and the pod's name only after that.
        pod_may_exist=recorded or stamped,
        lookup=Lookup.NOT_READ if pod is None else Lookup.FOUND,
        pod=None
        if pod is None
        else _observe_pod(taskrun, pod, now, nop_image, tolerance or StartTolerance()),
    )


def _observe_pod(
    taskrun: Object, pod: Object, now: datetime, nop_image: str, tolerance: StartTolerance
) -> PodObservation:
    progress = progress_of(pod, now)
    end, unreadable = deadline(taskrun), unreadable_since(taskrun)
    return PodObservation(
        name=pod["metadata"]["name"],
        progress=progress,
        cause=termination_cause(
            taskrun,
            pod,
            progress,
            now,
            may_be_late=end is not None and now >= end,
            tolerance=tolerance,
        ),
        stop=stop_annotation(pod),
        terminating=is_terminating(pod),
        terminating_for=_terminating_for(pod, now),
        scheduled=is_scheduled(pod),
        unscheduled=unscheduled(pod),
        tolerated_for=None if progress.steps_done else tolerated_for(pod, tolerance, now),
        steps_may_have_started=steps_may_have_started(pod),
        all_ended=all_containers_ended(pod),
        sidecars_run=progress.steps_done and bool(outliving_sidecars(pod, nop_image)),
        signal=NOTHING_DUE if progress.steps_done else ready_signal(pod, now),
        grace_period=grace_period(pod),
        deadline_in=None if end is None else (end - now).total_seconds(),
        # Not since the pod's end: that may be long ago when a controller, or its API server, comes back.
        unreadable_for=0 if unreadable is None else (now - unreadable).total_seconds(),
    )


def verdict_of(taskrun: Object, ended: Object) -> Verdict:
    """Return the verdict over the attempt that runs.

    Args:
        taskrun: As last read.
        ended: The status that ends it.
    """
    condition = succeeded({"status": ended})
    tried = attempt_number(taskrun)
    attempts_left = tried < int(taskrun["spec"].get("retries") or 0)
    return Verdict(condition["status"], condition["reason"], attempts_left)


def unreadable_since(taskrun: Object) -> datetime | None:
    """Return when the attempt's results could not be read for the first time; ``None`` before that."""
    known = succeeded(taskrun)
    return parse_time(known.get("lastTransitionTime")) if known.get("reason") == reasons.UNREADABLE else None


def _terminating_for(pod: Object, now: datetime) -> float | None:
    """Return for how many seconds the pod's containers have been asked to end; ``None``: they were not."""
    if not is_scheduled(pod):
        return 0.0
    if (stop := stop_annotation(pod)) is not None:
        return (now - stop.at).total_seconds()
    if (deleted := parse_time(pod["metadata"].get("deletionTimestamp"))) is not None:
        # A pod's deletionTimestamp is not when it was deleted: it is when its grace period is over.
        return (now - deleted).total_seconds() + grace_period(pod)
    return None
