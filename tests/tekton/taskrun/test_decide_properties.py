"""For every observation of a TaskRun there is one action, and it is the same each time."""

import typing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from resultsfw.errors import (
    BackendError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    TooEarlyError,
    UnavailableError,
)
from resultsfw.tekton.podstatus.progress import Progress, StepNotEnded
from resultsfw.tekton.podstatus.ready_signal import ReadySignal
from resultsfw.tekton.podstatus.startup_failures import Unscheduled
from resultsfw.tekton.taskrun.actions import (
    Action,
    Wait,
)
from resultsfw.tekton.taskrun.decision import decide
from resultsfw.tekton.taskrun.executor import Executor
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
TIMING = Timing()
CANCELLED = TerminationCause("TaskRunCancelled", "cancelled")
POD_ONLY = TerminationCause("", "a Step was killed")
RUNNING = ("Running", "Not all Steps in the Task have finished executing")
FIFO = StepNotEnded(step="step-a", since=NOW - timedelta(seconds=59), shown_by="step-b", waited=False)
LONG_FIFO = replace(FIFO, since=NOW - timedelta(seconds=61))


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


CAUSES = st.sampled_from([None, CANCELLED, POD_ONLY])
ERRORS = st.sampled_from(
    [
        None,
        ForbiddenError("no"),
        TooEarlyError("still being written"),
        BackendError("broken"),
        ConflictError("changed"),
        ClusterError("invalid"),
        NotFoundError("gone"),
        UnavailableError("away"),
    ]
)
SECONDS = st.none() | st.floats(-10, 1000)
TIMES = st.none() | st.floats(-10, 1000).map(ago)
PROGRESS = st.builds(
    Progress,
    steps_done=st.booleans(),
    running=st.just(RUNNING),
    failure=st.sampled_from([None, ("StepFailed", "x")]),
    refusal=st.booleans(),
    stuck=st.booleans(),
    ended_at=TIMES,
    step_not_ended=st.sampled_from([None, FIFO, LONG_FIFO]),
)
PODS = st.builds(
    PodObservation,
    name=st.just("run-pod"),
    progress=PROGRESS,
    cause=CAUSES,
    stop=st.sampled_from([None, StopAnnotation(ago(5), POD_ONLY), StopAnnotation(ago(500), CANCELLED)]),
    terminating=st.booleans(),
    terminating_for=SECONDS,
    scheduled=st.booleans(),
    unscheduled=st.sampled_from([None, Unscheduled(ago(10), "x"), Unscheduled(ago(100), "x")]),
    steps_may_have_started=st.booleans(),
    all_ended=st.booleans(),
    sidecars_run=st.booleans(),
    signal=st.builds(ReadySignal, st.booleans(), st.booleans(), SECONDS),
    deadline_in=SECONDS,
    unreadable_for=st.floats(0, 1000),
    readiness=st.none() | st.builds(Readiness, st.booleans(), ERRORS),
    read_error=ERRORS,
)
FAILURES = st.builds(Failure, st.just("r"), st.just("m"), ERRORS.filter(lambda error: error is not None))
VERDICTS = st.builds(
    Verdict,
    st.sampled_from(["True", "False"]),
    st.sampled_from(["Succeeded", "StepFailed", "TaskRunCancelled"]),
    st.booleans(),
)
OBSERVATIONS = st.builds(
    Observation,
    now=st.just(NOW),
    deleted=st.booleans(),
    done=st.booleans(),
    pending=st.booleans(),
    started=st.booleans(),
    cause=CAUSES,
    pod_recorded=st.booleans(),
    pod_may_exist=st.booleans(),
    task_resolved=st.booleans(),
    lookup=st.sampled_from(Lookup),
    failure=st.none() | FAILURES,
    pod=st.none() | PODS,
    verdict=st.none() | VERDICTS,
)


@given(OBSERVATIONS)
def test_every_observation_has_one_action_which_is_the_same_each_time(observation):
    before = repr(observation)
    first = decide(observation, TIMING)
    assert isinstance(first, typing.get_args(Action))
    assert decide(observation, TIMING) == first
    assert repr(observation) == before


@given(OBSERVATIONS)
def test_a_wait_is_never_shorter_than_a_twentieth_of_a_second(observation):
    action = decide(observation, TIMING)
    if isinstance(action, Wait) and action.requeue_after is not None:
        assert action.requeue_after >= 0.05


def test_every_action_can_be_carried_out():
    executor = Executor(
        None,
        None,
        options=None,
        policies=None,
        tolerance=None,
        tell=print,
        defaults=None,
        verification_policies=None,
        images=None,
    )
    assert executor._handlers.keys() == set(typing.get_args(Action))
