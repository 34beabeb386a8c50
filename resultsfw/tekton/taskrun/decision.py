"""Decide the next action for a TaskRun, from what was observed of it. Pure: no I/O, no state, no clock.

A pass of the reconciler observes, and then decides and applies by turns: what an action brings to light (the
Task, the pod, the backend's answer, the verdict) is part of the next observation. Each action brings
something to light that was unknown, or ends the pass, so a pass has at most `MOST_ROUNDS` rounds. Nothing is
kept in memory between passes: a controller that is killed anywhere decides the same when it is back.
"""

from datetime import datetime
from typing import Final

from resultsfw.errors import BackendError, ClusterError, ConflictError, ResultsError, TooEarlyError
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.podstatus.startup_failures import unscheduled_too_long
from resultsfw.tekton.taskrun import actions
from resultsfw.tekton.taskrun.actions import Action
from resultsfw.tekton.taskrun.observation import Failure, Lookup, Observation, PodObservation, Verdict
from resultsfw.tekton.taskrun.requeue import Timing, requeue_after
from resultsfw.tekton.taskrun.termination import TerminationCause, step_not_ended_cause

__all__ = ["MOST_ROUNDS", "decide"]

MOST_ROUNDS: Final = 16
"""Of a pass: more than any takes. The longest goes from the first status to the verdict, in 10."""


def decide(observation: Observation, timing: Timing) -> Action:
    """Return the next action for a TaskRun. The first rule that applies decides."""
    seen = observation
    if seen.deleted:
        return actions.Finalize()
    if seen.done:
        return actions.Finish() if seen.lookup is Lookup.ABSENT else actions.CleanUp()
    if seen.pending:
        return actions.HoldBack()
    if not seen.started:
        return actions.StartAttempt()  # before anything can fail: the timeout counts from here
    if seen.verdict is not None:
        return _end(seen.verdict)
    if seen.pod is not None:
        return _follow(seen.pod, seen.now, timing)
    if seen.cause is not None and not seen.pod_recorded and seen.lookup is not Lookup.FOUND:
        # Before anything that may keep the pod away. But a pod that was created just before a crash is not in
        # the status yet, and must be terminated.
        return actions.ReadPod() if seen.lookup is Lookup.NOT_READ else actions.FailWithoutPod(seen.cause)
    if seen.failure is not None:
        return _fail(seen.failure)
    return _get_pod(seen)


def _get_pod(seen: Observation) -> Action:
    """Return how to come to the attempt's pod, which is created once: Tekton creates a second one."""
    if seen.awaited_answer is not None:
        return actions.AwaitResolution(seen.awaited_answer.reason, seen.awaited_answer.message)
    if seen.awaited_images:
        return actions.AwaitImages(seen.awaited_images)
    if not seen.task_resolved:
        return actions.ResolveTask()
    if seen.lookup is Lookup.NOT_READ and seen.pod_may_exist:
        return actions.ReadPod()
    if seen.lookup is Lookup.FOUND:
        return actions.RecordPod()
    if seen.pod_recorded:
        return actions.CollectWithoutPod()
    return actions.CreatePod()


def _fail(failure: Failure) -> Action:
    """Return what follows if the Task, the pod, or what the pod needs could not be read.

    An error that may pass is retried, and the condition says what the run waits for; its timeout decides. A
    quota may free itself; a Pod Security level does not, but only the words of a message tell the two apart.
    """
    error = failure.error
    if isinstance(error, ConflictError):
        return actions.BackOff(error)  # somebody else wrote: nothing is known to be wrong
    if isinstance(error, ClusterError) and error.retryable:
        return actions.ReportWaiting(failure.message, error)
    if isinstance(error, ClusterError | RefusedRun):
        return actions.Refuse(failure.reason, failure.message)
    return actions.FailWithoutPod(TerminationCause(failure.reason, failure.message))


def _follow(pod: PodObservation, now: datetime, timing: Timing) -> Action:
    """Return what to do while the pod runs, and when it has ended."""
    cause = _cause(pod, now, timing)
    # The log of a pod that is deleted goes with it: it is read as soon as it is whole.
    if pod.readiness is None and (pod.progress.steps_done or (cause is not None and pod.terminating)):
        return actions.AskWhetherReady()
    ready = pod.readiness is not None and pod.readiness.ready
    if pod.read_error is None:
        # A backend that cannot say whether its pod is ready is asked for the results when the pod has ended.
        if ready or pod.all_ended:
            return actions.Collect(cause, final=pod.unreadable_for > timing.read)
    elif (report := _report(pod.read_error, timing, terminating=pod.terminating)) is not None:
        return report
    return _end_or_wait(pod, cause, now, timing)


def _report(error: ResultsError, timing: Timing, *, terminating: bool) -> Action | None:
    """Return how to report that results could not be read; ``None`` if there is more to do before."""
    if not isinstance(error, ClusterError):
        return actions.ReportUnreadable(min(5.0, timing.read), error)
    if isinstance(error, TooEarlyError) or terminating:
        return None
    return actions.ReportUnreadable(None, error, back_off=True)


def _end_or_wait(
    pod: PodObservation, cause: TerminationCause | None, now: datetime, timing: Timing
) -> Action:
    """Return what a pod needs whose results are not there yet."""
    ending = cause or (pod.stop.cause if pod.stop else _must_end(pod, now, timing))
    if ending is not None:
        if pod.terminating_for is None:
            return actions.TerminatePod(ending)
        if not pod.steps_may_have_started or pod.terminating_for > pod.grace_period + timing.stop:
            return actions.Collect(cause, final=True)
    elif pod.progress.steps_done:
        # The kubelet ends native sidecars, and with them the pod, only when no other container runs.
        if pod.sidecars_run:
            return actions.StopSidecars()
    elif pod.signal.is_due or pod.signal.repeat_is_due:
        return actions.MarkReady(repeat=pod.signal.repeat_is_due)
    return _wait(pod, now, timing, stopping=ending is not None)


def _wait(pod: PodObservation, now: datetime, timing: Timing, *, stopping: bool) -> Action:
    """Return the action that ends a pass in which there is nothing to do but to wait."""
    # Of a pod that is deleted there may never be more to read: its end is not waited for any longer.
    early = pod.read_error is not None
    again = requeue_after(pod, timing, stopping=stopping, early=early, now=now)
    unreadable = None if isinstance(pod.read_error, TooEarlyError) else pod.read_error
    if unreadable is None and pod.readiness is not None:
        unreadable = pod.readiness.error
    if unreadable is not None:
        return actions.ReportUnreadable(again, unreadable)
    return actions.Wait(again, *pod.progress.running)


def _cause(pod: PodObservation, now: datetime, timing: Timing) -> TerminationCause | None:
    """Return why the run ends if its Steps do not end it."""
    if pod.cause is not None:
        return pod.cause
    unready = pod.readiness.error if pod.readiness is not None else None
    if isinstance(unready, BackendError) and unready.final:
        # Nothing will ever say that the results are whole.
        why = f"the results could not be read: {unready.message}"
        return TerminationCause(reasons.UNREADABLE, why)
    if pod.stop is not None or pod.progress.steps_done or pod.scheduled or pod.unscheduled is None:
        return None
    failure = unscheduled_too_long(pod.name, pod.unscheduled, timing.unschedulable, now)
    return None if failure is None else TerminationCause(*failure)


def _must_end(pod: PodObservation, now: datetime, timing: Timing) -> TerminationCause | None:
    """Return why the pod must be terminated though its run has no cause of its own to end."""
    progress = pod.progress
    if progress.stuck:
        return TerminationCause("", "a Step was killed; others may wait for it for ever")
    if (found := progress.step_not_ended) is not None:
        waited = (now - found.since).total_seconds()
        if found.waited or waited > timing.sidecar:
            return step_not_ended_cause(found)
    if progress.steps_done and progress.ended_at is not None:
        waited = (now - progress.ended_at).total_seconds()
        if waited > timing.sidecar:
            why = f"the Steps ended {waited:.0f} s ago and their results are not there"
            return TerminationCause("", why)
    return None


def _end(verdict: Verdict) -> Action:
    """Return how the attempt ends: only a failure that nobody asked for is tried again."""
    if verdict.status == "True" or verdict.reason == reasons.CANCELLED or not verdict.attempts_left:
        return actions.WriteFinalStatus()
    return actions.Retry()
