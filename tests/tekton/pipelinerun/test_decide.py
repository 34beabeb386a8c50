"""What a reconcile does next, by what it sees: each row is a sentence of the specification."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ObjectTooLargeError,
    UnavailableError,
)
from resultsfw.tekton.pipelinerun import decision
from resultsfw.tekton.pipelinerun.decision import (
    AddMetadata,
    CancelChildren,
    Complete,
    CreateChildren,
    CreateClaims,
    Fail,
    HoldBack,
    Ignore,
    Raise,
    ReportProgress,
    ReportWaiting,
    Retry,
    Start,
    decide,
)
from resultsfw.tekton.pipelinerun.observation import (
    Blocked,
    FailedCreation,
    FailedRequest,
    Fault,
    Following,
    NotStarted,
    Over,
    Refusal,
    Unlabelled,
    Unplanned,
    Unprepared,
)
from resultsfw.tekton.pipelinerun.status import Verdict
from resultsfw.tekton.pipelinerun.timeouts import Times

NOW = datetime(2026, 1, 1, tzinfo=UTC)
QUOTA = ForbiddenError("exceeded quota")
AWAY = UnavailableError("connection refused")
CONFLICT = ConflictError("the object has been modified")
INVALID = ClusterError("spec: Required value")
TOO_LARGE = ObjectTooLargeError("request is too large")
BUG = ZeroDivisionError()

WAITED = "\nPrevious status: [PipelineRunPending] exceeded quota"
CANCELLED = 'PipelineRun "p" was cancelled'
TIMED_OUT = 'PipelineRun "p" failed to finish within "1m0s"'
TOO_LARGE_MESSAGE = (
    "the PipelineRun with its status is larger than the API server stores: request is too large; make its "
    "Pipeline and parameters smaller"
)
CHILD_CANCELLED = "TaskRun cancelled as the PipelineRun it belongs to has been cancelled."
CHILD_TIMED_OUT = "TaskRun cancelled as the PipelineRun it belongs to has timed out."
CHILD_TOO_LARGE = "TaskRun cancelled as the PipelineRun it belongs to is too large to be stored."

RUNNING = Verdict("Unknown", "Running", "Tasks Completed: 0")
SUCCEEDED = Verdict("True", "Succeeded", "Tasks Completed: 2")
RUN_TIMED_OUT = Verdict("False", "PipelineRunTimeout", TIMED_OUT)


def times(*, began: int = 0) -> Times:
    """A run with a timeout of a minute that began so many seconds ago."""
    return Times(
        pipeline=60,
        tasks=None,
        finally_=None,
        began=NOW - timedelta(seconds=began),
        finally_began=None,
        now=NOW,
    )


def unplanned(problem, *, requested="", began=0, waited_for="", holds_pipeline=False, is_reported=False):
    return Unplanned(
        name="p",
        requested=requested,
        times=times(began=began),
        waited_for=waited_for,
        holds_pipeline=holds_pipeline,
        problem=problem,
        is_reported=is_reported,
    )


def following(**fields):
    return Following(**{"name": "p", "batch_size": 2, "verdict": RUNNING, "seconds_left": 60.0, **fields})


def lacking(error, reason="CouldntGetPipeline"):
    return FailedRequest(f"the Pipeline could not be read: {error.message}", error, reason)


def failing(error):
    return FailedRequest(f"a request failed and is tried again: {error.message}", error)


BEFORE_THE_START = [
    ("a run that is over is left alone", Over(), Ignore()),
    ("a run without start time is started", NotStarted("p", is_pending=False), Start()),
    ("a pending run is held back", NotStarted("p", is_pending=True), HoldBack('PipelineRun "p" is pending')),
]

WITHOUT_A_PLAN = [
    (
        "labels of the Pipeline are added",
        Unlabelled({"labels": {"a": "b"}}),
        AddMetadata({"labels": {"a": "b"}}),
    ),
    ("an invalid run fails", unplanned(Refusal("R", "m")), Fail("R", "m")),
    (
        "a Pipeline that cannot be read now is reported",
        unplanned(lacking(QUOTA)),
        ReportWaiting("the Pipeline could not be read: exceeded quota"),
    ),
    ("and then tried again", unplanned(lacking(QUOTA), is_reported=True), Retry(QUOTA)),
    ("a conflict is tried again without a word", unplanned(lacking(CONFLICT)), Retry(CONFLICT)),
    (
        "what the server never accepts fails the run",
        unplanned(lacking(INVALID)),
        Fail("CouldntGetPipeline", "the Pipeline could not be read: spec: Required value"),
    ),
    ("a fault of the program is raised", unplanned(Fault(BUG)), Raise(BUG)),
]

WITHOUT_A_PLAN_AND_OVER = [
    (
        "a cancelled run is cancelled whatever is wrong with it",
        unplanned(Refusal("R", "m"), requested="Cancelled"),
        Fail("Cancelled", CANCELLED),
    ),
    (
        "a waiting run that is cancelled says what it waited for",
        unplanned(lacking(AWAY), requested="Cancelled", is_reported=True, waited_for=WAITED),
        Fail("Cancelled", CANCELLED + WAITED),
    ),
    (
        "a cause not yet reported is reported first",
        unplanned(lacking(AWAY), requested="Cancelled"),
        ReportWaiting("the Pipeline could not be read: connection refused"),
    ),
    (
        "a run past its timeout times out",
        unplanned(lacking(AWAY), began=62, is_reported=True, waited_for=WAITED),
        Fail("PipelineRunTimeout", TIMED_OUT + WAITED),
    ),
    (
        "even by a fault of the program",
        unplanned(Fault(BUG), began=62),
        Fail("PipelineRunTimeout", TIMED_OUT),
    ),
    ("and by a conflict", unplanned(lacking(CONFLICT), began=62), Fail("PipelineRunTimeout", TIMED_OUT)),
    (
        "a graceful stop waits for the Pipeline",
        unplanned(lacking(AWAY), requested="StoppedRunFinally", is_reported=True),
        Retry(AWAY),
    ),
    (
        "a run that may have TaskRuns is not ended without reading them",
        unplanned(lacking(AWAY), began=62, holds_pipeline=True, is_reported=True),
        Retry(AWAY),
    ),
]

BLOCKED = [
    ("claims are created before TaskRuns", Unprepared(), CreateClaims()),
    ("a run that cannot be run fails", Blocked(Refusal("R", "m"), is_reported=False), Fail("R", "m")),
    (
        "a claim that the server never accepts fails the run",
        Blocked(lacking(INVALID, "CreateClaimFailed"), is_reported=False),
        Fail("CreateClaimFailed", "the Pipeline could not be read: spec: Required value"),
    ),
    (
        "a request that may come right is reported",
        Blocked(failing(AWAY), is_reported=False),
        ReportWaiting("a request failed and is tried again: connection refused"),
    ),
    ("and then tried again", Blocked(failing(AWAY), is_reported=True), Retry(AWAY)),
    (
        "a conflict is tried again without a word",
        Blocked(failing(CONFLICT), is_reported=False),
        Retry(CONFLICT),
    ),
    (
        "a run that the server cannot store fails without its Pipeline",
        Blocked(failing(TOO_LARGE), is_reported=False),
        Fail("PipelineRunTooLarge", TOO_LARGE_MESSAGE, child_message=CHILD_TOO_LARGE, drops_pipeline=True),
    ),
    (
        "a claim that is too large fails the run like any other",
        Blocked(lacking(TOO_LARGE, "CreateClaimFailed"), is_reported=False),
        Fail("CreateClaimFailed", "the Pipeline could not be read: request is too large"),
    ),
    ("an error that nobody can mend is raised", Blocked(failing(INVALID), is_reported=False), Raise(INVALID)),
]

CANCELLING = [
    (
        "a cancelled run cancels all its TaskRuns",
        following(requested="Cancelled", running=("a", "f"), running_before_finally=("a",)),
        CancelChildren(("a", "f"), CHILD_CANCELLED),
    ),
    (
        "a run past its timeout cancels all its TaskRuns",
        following(timed_out={"pipeline"}, running=("a", "f"), running_before_finally=("a",)),
        CancelChildren(("a", "f"), CHILD_TIMED_OUT),
    ),
    (
        "so does one whose finally is past its timeout",
        following(timed_out={"finally"}, running=("f",)),
        CancelChildren(("f",), CHILD_TIMED_OUT),
    ),
    (
        "one whose tasks are past their timeout leaves finally alone",
        following(timed_out={"tasks"}, running=("a", "f"), running_before_finally=("a",)),
        CancelChildren(("a",), CHILD_TIMED_OUT),
    ),
    (
        "a gracefully cancelled run leaves finally alone",
        following(requested="CancelledRunFinally", running=("a", "f"), running_before_finally=("a",)),
        CancelChildren(("a",), CHILD_CANCELLED),
    ),
    (
        "a gracefully stopped run cancels nothing",
        following(requested="StoppedRunFinally", running=("a",), running_before_finally=("a",)),
        ReportProgress("Running", "Tasks Completed: 0", requeue_after=60.0),
    ),
    (
        "cancelling comes before creating",
        following(timed_out={"tasks"}, running=("a",), running_before_finally=("a",), due=("f",)),
        CancelChildren(("a",), CHILD_TIMED_OUT),
    ),
    (
        "a cancelled run is over once its TaskRuns are cancelled",
        following(requested="Cancelled", waited_for=WAITED),
        Complete("False", "Cancelled", CANCELLED + WAITED),
    ),
]

CREATING = [
    (
        "TaskRuns that are due are created",
        following(due=("a", "b")),
        CreateChildren(("a", "b"), is_more_due=False),
    ),
    (
        "no more at once than one batch",
        following(due=("a", "b", "c")),
        CreateChildren(("a", "b"), is_more_due=True),
    ),
    (
        "the next batch follows at once",
        following(is_more_due=True),
        ReportProgress("Running", "Tasks Completed: 0", requeue_after=decision.REQUEUE_FOR_NEXT_BATCH),
    ),
    (
        "a TaskRun that the server does not take now makes the run wait",
        following(failed_creation=FailedCreation('TaskRun "p-a" could not be made', QUOTA), is_more_due=True),
        ReportProgress(
            "PipelineRunPending",
            'Tasks Completed: 0; TaskRun "p-a" could not be made',
            requeue_after=60.0,
            error=QUOTA,
        ),
    ),
    (
        "a run that is over meanwhile does not wait",
        following(failed_creation=FailedCreation("no", QUOTA), verdict=RUN_TIMED_OUT),
        Complete("False", "PipelineRunTimeout", TIMED_OUT),
    ),
]

REPORTING = [
    (
        "a run that goes on is reconciled at its next deadline",
        following(),
        ReportProgress("Running", "Tasks Completed: 0", requeue_after=60.0),
    ),
    (
        "one without a deadline when something changes",
        following(seconds_left=None),
        ReportProgress("Running", "Tasks Completed: 0"),
    ),
    (
        "the begin of finally is written",
        following(begins_finally=True),
        ReportProgress("Running", "Tasks Completed: 0", begins_finally=True, requeue_after=60.0),
    ),
    (
        "a verdict completes the run",
        following(verdict=SUCCEEDED, begins_finally=True),
        Complete("True", "Succeeded", "Tasks Completed: 2", begins_finally=True),
    ),
    (
        "a run that timed out says what it waited for",
        following(verdict=RUN_TIMED_OUT, waited_for=WAITED),
        Complete("False", "PipelineRunTimeout", TIMED_OUT + WAITED),
    ),
    (
        "a run that succeeded does not",
        following(verdict=SUCCEEDED, waited_for=WAITED),
        Complete("True", "Succeeded", "Tasks Completed: 2"),
    ),
]

ROWS = [
    *BEFORE_THE_START,
    *WITHOUT_A_PLAN,
    *WITHOUT_A_PLAN_AND_OVER,
    *BLOCKED,
    *CANCELLING,
    *CREATING,
    *REPORTING,
]


@pytest.mark.parametrize(("observation", "action"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_what_is_seen_decides_the_next_action(observation, action):
    assert decide(observation) == action


# Every observation has an action, and nothing but the observation decides which.

names = st.lists(st.sampled_from("abcdef"), unique=True, max_size=6).map(tuple)
requests = st.sampled_from(["", "Cancelled", "CancelledRunFinally", "StoppedRunFinally"])
cluster_errors = st.sampled_from([QUOTA, AWAY, CONFLICT, INVALID, TOO_LARGE, NotFoundError("gone")])
problems = st.one_of(
    st.builds(Refusal, st.text(min_size=1), st.text()),
    st.builds(FailedRequest, st.text(), cluster_errors, st.sampled_from(["", "CouldntGetPipeline"])),
    st.just(Fault(BUG)),
)
verdicts = st.builds(
    Verdict,
    st.sampled_from(["True", "False", "Unknown"]),
    st.sampled_from(["Running", "Failed", "Cancelled", "PipelineRunTimeout"]),
    st.text(),
)
seconds = st.none() | st.floats(min_value=0, max_value=10_000)
observations = st.one_of(
    st.just(Over()),
    st.builds(NotStarted, st.text(), st.booleans()),
    st.builds(
        unplanned,
        problems,
        requested=requests,
        began=st.integers(0, 120),
        waited_for=st.text(),
        holds_pipeline=st.booleans(),
        is_reported=st.booleans(),
    ),
    st.builds(Unlabelled, st.dictionaries(st.text(), st.text())),
    st.just(Unprepared()),
    st.builds(Blocked, problems, st.booleans()),
    st.builds(
        Following,
        name=st.text(),
        requested=requests,
        due=names,
        batch_size=st.integers(1, 4),
        is_more_due=st.booleans(),
        running=names,
        running_before_finally=names,
        timed_out=st.frozensets(st.sampled_from(["pipeline", "tasks", "finally"])),
        verdict=verdicts,
        begins_finally=st.booleans(),
        waited_for=st.text(),
        failed_creation=st.none() | st.builds(FailedCreation, st.text(), cluster_errors),
        seconds_left=seconds,
    ),
)


@given(observations)
def test_every_observation_has_one_action_and_is_left_as_it_was(observation):
    before = repr(observation)
    action = decide(observation)
    assert isinstance(action, get_args(decision.Action))
    assert decide(observation) == action
    assert repr(observation) == before


@given(observations)
def test_no_problem_is_ever_silent(observation):
    """A run that cannot go on fails, waits with its cause in its condition, or raises."""
    action = decide(observation)
    if isinstance(observation, (Unplanned, Blocked)):
        assert isinstance(action, (Fail, ReportWaiting, Retry, Raise))
    if isinstance(action, Retry):
        assert observation.is_reported or isinstance(action.error, ConflictError)


@given(observations)
def test_a_batch_is_never_larger_than_allowed_and_never_empty(observation):
    action = decide(observation)
    if isinstance(action, CreateChildren):
        assert 1 <= len(action.tasks) <= observation.batch_size
        assert action.is_more_due == (len(action.tasks) < len(observation.due))
    if isinstance(action, CancelChildren):
        assert action.tasks
