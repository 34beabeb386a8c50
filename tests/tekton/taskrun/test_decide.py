"""The rules of the TaskRun reconciler, one row each: in this situation, this action follows."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from resultsfw.errors import (
    BackendError,
    ClusterError,
    ConflictError,
    FlagError,
    ForbiddenError,
    TooEarlyError,
)
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.podstatus.progress import Progress, StepNotEnded
from resultsfw.tekton.podstatus.ready_signal import ReadySignal
from resultsfw.tekton.podstatus.startup_failures import Unscheduled
from resultsfw.tekton.taskrun.actions import (
    AskWhetherReady,
    AwaitImages,
    BackOff,
    CleanUp,
    Collect,
    CollectWithoutPod,
    CreatePod,
    FailWithoutPod,
    Finalize,
    Finish,
    HoldBack,
    MarkReady,
    ReadPod,
    RecordPod,
    Refuse,
    ReportUnreadable,
    ReportWaiting,
    ResolveTask,
    Retry,
    StartAttempt,
    StopSidecars,
    TerminatePod,
    Wait,
    WriteFinalStatus,
)
from resultsfw.tekton.taskrun.decision import decide
from resultsfw.tekton.taskrun.observation import (
    Failure,
    Lookup,
    Observation,
    PodObservation,
    Readiness,
    Verdict,
)
from resultsfw.tekton.taskrun.requeue import Timing
from resultsfw.tekton.taskrun.termination import StopAnnotation, TerminationCause

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TIMING = Timing(sidecar=60, unschedulable=30, stop=30, read=300)

CANCELLED = TerminationCause("TaskRunCancelled", "cancelled")
POD_ONLY = TerminationCause("", "a Step was killed; others may wait for it for ever")
FORBIDDEN = ForbiddenError("no")
EARLY = TooEarlyError("still being written")
BROKEN = BackendError("broken")
WORKING = Progress(
    steps_done=False,
    running=("Running", "Not all Steps in the Task have finished executing"),
    failure=None,
    refusal=False,
    stuck=False,
    ended_at=None,
)
DONE = replace(WORKING, steps_done=True, ended_at=NOW)
RUNNING = ("Running", "Not all Steps in the Task have finished executing")


def run(**changes: Any) -> Observation:
    """A TaskRun that has started and whose status names no pod yet."""
    return replace(Observation(now=NOW, pod_recorded=False, pod_may_exist=False), **changes)


def recorded(**changes: Any) -> Observation:
    """A TaskRun whose status names its pod."""
    return replace(Observation(now=NOW, task_resolved=True), **changes)


def pod(progress: Progress = WORKING, **changes: Any) -> Observation:
    """A TaskRun whose pod was read: it is scheduled, and its Steps may have started."""
    found = replace(PodObservation(name="run-pod", progress=progress), **changes)
    return recorded(lookup=Lookup.FOUND, pod=found)


def failed(error: Any, reason: str = "PodCreationFailed") -> Failure:
    return Failure(reason, "why", error)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


YES, NO = Readiness(ready=True), Readiness(ready=False)

BEGINNING = [
    ("it is deleted", run(deleted=True), Finalize()),
    ("it is deleted and done", run(deleted=True, done=True), Finalize()),
    ("it is done", run(done=True), CleanUp()),
    ("it is done, and its pod was found", run(done=True, lookup=Lookup.FOUND), CleanUp()),
    ("it is done, and its pod is known to be gone", run(done=True, lookup=Lookup.ABSENT), Finish()),
    ("spec.status is TaskRunPending", run(pending=True, started=False), HoldBack()),
    ("it has no startTime", run(started=False), StartAttempt()),
    ("it is cancelled, and has no startTime", run(started=False, cause=CANCELLED), StartAttempt()),
    ("its Task is not known", run(), ResolveTask()),
    ("its Task is not known, its pod is recorded", recorded(task_resolved=False), ResolveTask()),
    ("its Task is known, no pod can exist", run(task_resolved=True), CreatePod()),
    ("a controller may have crashed", run(task_resolved=True, pod_may_exist=True), ReadPod()),
    ("it did not create the pod", run(task_resolved=True, lookup=Lookup.ABSENT), CreatePod()),
    ("it did create the pod", run(task_resolved=True, lookup=Lookup.FOUND), RecordPod()),
    ("its pod is recorded", recorded(), ReadPod()),
    ("its recorded pod is gone", recorded(lookup=Lookup.ABSENT), CollectWithoutPod()),
]

CANCELLED_BEFORE_A_POD = [
    ("it is not known whether there is a pod", run(cause=CANCELLED), ReadPod()),
    ("there is no pod", run(cause=CANCELLED, lookup=Lookup.ABSENT), FailWithoutPod(CANCELLED)),
    (
        "the pod is somebody else's",
        run(cause=CANCELLED, lookup=Lookup.UNUSABLE, failure=failed(RefusedRun("PodCreationFailed", "why"))),
        FailWithoutPod(CANCELLED),
    ),
    (
        "the pod may not be read",
        run(cause=CANCELLED, lookup=Lookup.UNUSABLE, failure=failed(FORBIDDEN)),
        FailWithoutPod(CANCELLED),
    ),
    ("a crash left a pod", run(cause=CANCELLED, lookup=Lookup.FOUND), ResolveTask()),
    (
        "a crash left a pod, and the Task is known",
        run(cause=CANCELLED, lookup=Lookup.FOUND, task_resolved=True),
        RecordPod(),
    ),
]

CONFLICT, INVALID = ConflictError("changed"), ClusterError("invalid")

NO_POD = [
    ("somebody else wrote", run(failure=failed(CONFLICT)), BackOff(CONFLICT)),
    (
        "commands of images are looked up",
        run(task_resolved=True, awaited_images="why"),
        AwaitImages("why"),
    ),
    ("a quota is used up", run(failure=failed(FORBIDDEN)), ReportWaiting("why", FORBIDDEN)),
    ("the API server will never accept it", run(failure=failed(INVALID)), Refuse("PodCreationFailed", "why")),
    (
        "the Task is not valid",
        run(failure=failed(RefusedRun("TaskRunValidationFailed", "why"), "TaskRunValidationFailed")),
        Refuse("TaskRunValidationFailed", "why"),
    ),
    (
        "a flag has no such value",
        run(failure=failed(FlagError("why"), "TaskRunValidationFailed")),
        FailWithoutPod(TerminationCause("TaskRunValidationFailed", "why")),
    ),
]

STEPS_RUN = [
    ("nothing is to be done", pod(), Wait(None, *RUNNING)),
    ("a timeout is set", pod(deadline_in=90.0), Wait(90.0, *RUNNING)),
    ("all Sidecars are ready", pod(signal=ReadySignal(is_due=True)), MarkReady()),
    ("its results sidecar had failed", pod(signal=ReadySignal(due_in=2.0)), Wait(2.0, *RUNNING)),
    ("it was marked ready", pod(signal=ReadySignal(repeat_in=7.0)), Wait(7.0, *RUNNING)),
    ("the kubelet may have missed that", pod(signal=ReadySignal(repeat_is_due=True)), MarkReady(repeat=True)),
    (
        "a Step failed, and those behind it end at once",
        pod(replace(WORKING, failure=("StepFailed", "x"))),
        Wait(1.0, *RUNNING),
    ),
    ("a Step was killed", pod(replace(WORKING, stuck=True)), TerminatePod(POD_ONLY)),
    (
        "the scheduler finds no node",
        pod(scheduled=False, terminating_for=0.0, unscheduled=Unscheduled(ago(10), "no room")),
        Wait(20.0, *RUNNING),
    ),
]

FIFO = StepNotEnded(step="step-a", since=ago(59), shown_by="step-b", waited=False)
LONG_FIFO = replace(FIFO, since=ago(61))

RUN_ENDS_EARLY = [
    ("it is cancelled", pod(cause=CANCELLED), TerminatePod(CANCELLED)),
    (
        "it is cancelled, and no kubelet knows the pod",
        pod(cause=CANCELLED, scheduled=False, terminating_for=0.0, steps_may_have_started=False),
        Collect(CANCELLED, final=True),
    ),
    (
        "it is cancelled, its containers were asked to end, and no Step can have started",
        pod(cause=CANCELLED, terminating_for=0.0, steps_may_have_started=False),
        Collect(CANCELLED, final=True),
    ),
    (
        "its containers were asked to end, and may",
        pod(cause=CANCELLED, terminating_for=60.0),
        Wait(60.0, *RUNNING),
    ),
    (
        "its containers were asked to end, and do not in time",
        pod(cause=CANCELLED, terminating_for=60.1),
        Collect(CANCELLED, final=True),
    ),
    (
        "the controller terminated the pod for a reason of the pod's own",
        pod(stop=StopAnnotation(ago(5), POD_ONLY), terminating_for=5.0),
        Wait(60.0, *RUNNING),
    ),
    (
        "it is cancelled, and its pod is being deleted",
        pod(cause=CANCELLED, terminating=True, terminating_for=1.0),
        AskWhetherReady(),
    ),
    (
        "its pod is being deleted, and its log is whole",
        pod(cause=CANCELLED, terminating=True, terminating_for=1.0, readiness=YES),
        Collect(CANCELLED, final=False),
    ),
    (
        "its pod is being deleted, and its log is not whole yet",
        pod(cause=CANCELLED, terminating=True, terminating_for=1.0, readiness=YES, read_error=EARLY),
        Wait(0.2, *RUNNING),
    ),
    (
        "its pod is being deleted, and its log cannot be read",
        pod(cause=CANCELLED, terminating=True, terminating_for=1.0, readiness=YES, read_error=FORBIDDEN),
        ReportUnreadable(0.2, FORBIDDEN),
    ),
    ("a Step's container runs on", pod(replace(WORKING, step_not_ended=FIFO)), Wait(1.0, *RUNNING)),
]

STEPS_ENDED = [
    ("the backend was not asked", pod(DONE), AskWhetherReady()),
    ("the results are not ready", pod(DONE, readiness=NO), Wait(60, *RUNNING)),
    ("Sidecars still run", pod(DONE, readiness=NO, sidecars_run=True), StopSidecars()),
    ("the results are ready", pod(DONE, readiness=YES), Collect(None, final=False)),
    ("all containers have ended", pod(DONE, readiness=NO, all_ended=True), Collect(None, final=False)),
    (
        "the backend fails when it is asked",
        pod(DONE, readiness=Readiness(ready=False, error=BROKEN)),
        ReportUnreadable(60, BROKEN),
    ),
    (
        "the backend failed when it was asked, and all containers have ended",
        pod(DONE, readiness=Readiness(ready=False, error=BROKEN), all_ended=True),
        Collect(None, final=False),
    ),
    ("results are still being written", pod(DONE, readiness=YES, read_error=EARLY), Wait(0.2, *RUNNING)),
    (
        "results have been written for 4 s",
        pod(replace(DONE, ended_at=ago(4)), readiness=YES, read_error=EARLY),
        Wait(4.0, *RUNNING),
    ),
    (
        "a read fails",
        pod(DONE, readiness=YES, read_error=FORBIDDEN),
        ReportUnreadable(None, FORBIDDEN, back_off=True),
    ),
    ("the backend fails", pod(DONE, readiness=YES, read_error=BROKEN), ReportUnreadable(5.0, BROKEN)),
    ("reads have failed for 300 s", pod(DONE, readiness=YES, unreadable_for=300), Collect(None, final=False)),
    ("they have for longer", pod(DONE, readiness=YES, unreadable_for=301), Collect(None, final=True)),
    (
        "results are not there after a minute",
        pod(replace(DONE, ended_at=ago(61)), readiness=NO),
        TerminatePod(TerminationCause("", "the Steps ended 61 s ago and their results are not there")),
    ),
]

ATTEMPT_ENDS = [
    ("it succeeded", Verdict("True", "Succeeded", attempts_left=True), WriteFinalStatus()),
    ("it failed", Verdict("False", "StepFailed", attempts_left=False), WriteFinalStatus()),
    ("it failed, and may be tried again", Verdict("False", "StepFailed", attempts_left=True), Retry()),
    ("it was cancelled", Verdict("False", "TaskRunCancelled", attempts_left=True), WriteFinalStatus()),
    ("it is out of time", Verdict("False", "TaskRunTimeout", attempts_left=True), Retry()),
    ("its pod was deleted", Verdict("False", "TaskRunPodDeleted", attempts_left=True), Retry()),
]


def rows(*tables: list[tuple[str, Any, Any]]) -> Any:
    return [pytest.param(*row[1:], id=row[0]) for table in tables for row in table]


@pytest.mark.parametrize(("situation", "action"), rows(BEGINNING))
def test_a_taskrun_without_a_pod_in_this_pass(situation, action):
    assert decide(situation, TIMING) == action


@pytest.mark.parametrize(("situation", "action"), rows(CANCELLED_BEFORE_A_POD))
def test_a_taskrun_that_is_cancelled_or_out_of_time_before_its_pod_is_recorded(situation, action):
    assert decide(situation, TIMING) == action


@pytest.mark.parametrize(("situation", "action"), rows(NO_POD))
def test_a_taskrun_whose_task_or_pod_could_not_be_had(situation, action):
    assert decide(situation, TIMING) == action


@pytest.mark.parametrize(("situation", "action"), rows(STEPS_RUN))
def test_a_pod_whose_steps_run(situation, action):
    assert decide(situation, TIMING) == action


@pytest.mark.parametrize(("situation", "action"), rows(RUN_ENDS_EARLY))
def test_a_pod_whose_run_ends_before_its_steps(situation, action):
    assert decide(situation, TIMING) == action


@pytest.mark.parametrize(("situation", "action"), rows(STEPS_ENDED))
def test_a_pod_whose_steps_have_ended(situation, action):
    assert decide(situation, TIMING) == action


@pytest.mark.parametrize(("verdict", "action"), rows(ATTEMPT_ENDS))
def test_an_attempt_that_has_its_verdict(verdict, action):
    assert decide(recorded(lookup=Lookup.FOUND, verdict=verdict), TIMING) == action


@pytest.mark.parametrize(("found", "waits"), [(FIFO, True), (LONG_FIFO, False)])
def test_a_container_that_runs_on_after_its_step_is_terminated_after_a_minute(found, waits):
    action = decide(pod(replace(WORKING, step_not_ended=found)), TIMING)
    if waits:
        assert isinstance(action, Wait)
    else:
        assert isinstance(action, TerminatePod)
        assert action.cause.reason == "TaskRunStepNotEnded"


def test_a_container_that_runs_on_after_the_native_sidecar_waited_is_terminated_at_once():
    action = decide(pod(replace(WORKING, step_not_ended=replace(FIFO, waited=True))), TIMING)
    assert isinstance(action, TerminatePod)


@pytest.mark.parametrize("after", [30, 0])
def test_a_pod_without_a_node_ends_its_run_after_the_time_for_that_unless_it_is_zero(after):
    seen = Unscheduled(ago(31), "0/1 nodes")
    situation = pod(scheduled=False, terminating_for=0.0, steps_may_have_started=False, unscheduled=seen)
    action = decide(situation, replace(TIMING, unschedulable=after))
    if after:
        assert isinstance(action, Collect)
        assert action.final
        assert action.cause is not None
        assert action.cause.reason == "TaskRunPodUnschedulable"
        assert "0/1 nodes" in action.cause.message
    else:
        assert action == Wait(None, *RUNNING)
