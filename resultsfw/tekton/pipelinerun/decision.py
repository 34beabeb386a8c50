"""Decide what one reconcile does next for a PipelineRun: a pure function from what is seen to an action."""

from dataclasses import dataclass
from typing import Any, Final, Literal, assert_never

from resultsfw.errors import ClusterError, ConflictError, ObjectTooLargeError
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.observation import (
    AwaitedAnswer,
    Blocked,
    FailedRequest,
    Fault,
    Following,
    NotStarted,
    Observation,
    Over,
    Problem,
    Refusal,
    Unlabelled,
    Unplanned,
    Unprepared,
)
from resultsfw.tekton.pipelinerun.status import cancelled_message, timed_out_message

__all__ = [
    "REQUEUE_FOR_NEXT_BATCH",
    "Action",
    "AddMetadata",
    "AwaitResolution",
    "CancelChildren",
    "Complete",
    "CreateChildren",
    "CreateClaims",
    "Fail",
    "HoldBack",
    "Ignore",
    "Raise",
    "ReportProgress",
    "ReportWaiting",
    "Retry",
    "Start",
    "decide",
]

REQUEUE_FOR_NEXT_BATCH: Final = 0.05
"""Seconds after which a run is reconciled again that has more children to create than one batch."""


# Actions after which the run is observed again.


@dataclass(frozen=True, slots=True)
class Start:
    """Write ``status.startTime``, before anything can fail: the timeouts count from it."""


@dataclass(frozen=True, slots=True)
class AddMetadata:
    """Give the run labels and annotations of its Pipeline."""

    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class CreateClaims:
    """Create the claims of the run's ``volumeClaimTemplates``, and its affinity assistants."""


@dataclass(frozen=True, slots=True)
class CancelChildren:
    """Cancel the children of these Tasks, with this ``statusMessage``."""

    tasks: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True)
class CreateChildren:
    """Create the children of these Tasks."""

    tasks: tuple[str, ...]
    is_more_due: bool


@dataclass(frozen=True, slots=True)
class ReportWaiting:
    """Write into the run's condition what it waits for."""

    message: str


# Actions that end the reconcile.


@dataclass(frozen=True, slots=True)
class Ignore:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class HoldBack:
    """Write that the run is pending; a change of ``spec.status`` is what brings it back."""

    message: str


@dataclass(frozen=True, slots=True)
class AwaitResolution:
    """Write that a resolver has not answered yet.

    Attributes:
        reason: Of the run's condition.
        message: Of the run's condition.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ReportProgress:
    """Write the state of the run.

    Attributes:
        reason: Of its condition.
        message: Of its condition.
        begins_finally: Whether to write ``finallyStartTime``.
        requeue_after: Seconds until the next reconcile; ``None``: when something changes.
        error: To be raised afterwards, so that the run is tried again.
    """

    reason: str
    message: str
    begins_finally: bool = False
    requeue_after: float | None = None
    error: ClusterError | None = None


@dataclass(frozen=True, slots=True)
class Complete:
    """Write the run's verdict, with its children and results."""

    status: Literal["True", "False"]
    reason: str
    message: str
    begins_finally: bool = False


@dataclass(frozen=True, slots=True)
class Fail:
    """Cancel what children the run has, and write that it failed.

    Attributes:
        reason: Of its condition.
        message: Of its condition.
        child_message: ``statusMessage`` of its children.
        drops_pipeline: Whether its status loses the Pipeline's spec, for which it has no space.
    """

    reason: str
    message: str
    child_message: str = reasons.CHILD_REFUSED
    drops_pipeline: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """Raise an error that may pass, so that the run is retried, by its next deadline at the latest."""

    error: ClusterError


@dataclass(frozen=True, slots=True)
class Raise:
    """Raise an error that the run cannot be blamed for and that does not pass by itself."""

    error: Exception


Action = (
    Start
    | AddMetadata
    | CreateClaims
    | CancelChildren
    | CreateChildren
    | ReportWaiting
    | Ignore
    | HoldBack
    | AwaitResolution
    | ReportProgress
    | Complete
    | Fail
    | Retry
    | Raise
)
"""All that a reconcile can do."""


def decide(observation: Observation) -> Action:
    """Return the next action for a run. It reads nothing but its argument."""
    match observation:
        case Over():
            return Ignore()
        case NotStarted(name, is_pending):
            return HoldBack(f'PipelineRun "{name}" is pending') if is_pending else Start()
        case Unplanned():
            return _decide_unplanned(observation)
        case Unlabelled(metadata):
            return AddMetadata(metadata)
        case Unprepared():
            return CreateClaims()
        case Blocked(problem, is_reported):
            return _decide_problem(problem, is_reported=is_reported)
        case Following():
            return _decide_following(observation)
        case _:  # pragma: no cover
            assert_never(observation)


def _decide_unplanned(run: Unplanned) -> Action:
    """Decide for a run without a plan: it must outlive neither its timeout nor its cancellation."""
    if (waiting := _report(run.problem, is_reported=run.is_reported)) is not None:
        return waiting
    if not run.holds_pipeline:
        if run.requested == "Cancelled":
            return Fail(reasons.CANCELLED, cancelled_message(run.name) + run.waited_for)
        if run.times.has_elapsed(run.times.pipeline_deadline):
            return Fail(reasons.TIMED_OUT, timed_out_message(run.name, run.times) + run.waited_for)
    return _decide_problem(run.problem, is_reported=run.is_reported)


def _decide_problem(problem: Problem, *, is_reported: bool) -> Action:
    """Decide for a run that cannot go on: errors that may pass are retried until the run's timeout."""
    if (waiting := _report(problem, is_reported=is_reported)) is not None:
        return waiting
    match problem:
        case Refusal(reason, message):
            return Fail(reason, message)
        case AwaitedAnswer(reason, message):
            return AwaitResolution(reason, message)
        case FailedRequest(error=error) if error.retryable:
            return Retry(error)
        case FailedRequest(why, _, reason) if reason:
            return Fail(reason, why)
        case FailedRequest(error=ObjectTooLargeError() as error):
            return _fail_too_large(error)
        case FailedRequest(error=error) | Fault(error):
            return Raise(error)
        case _:  # pragma: no cover
            assert_never(problem)


def _report(problem: Problem, *, is_reported: bool) -> ReportWaiting | None:
    """Return the action that reports what a run waits for; ``None`` without need to report it (again)."""
    if is_reported or not isinstance(problem, FailedRequest) or not problem.error.retryable:
        return None
    if isinstance(problem.error, ConflictError):
        return None  # somebody else wrote: nothing is known to be wrong
    return ReportWaiting(problem.why)


def _fail_too_large(error: ObjectTooLargeError) -> Fail:
    """Fail a run that its server cannot hold any more: it would be tried again for ever."""
    message = (
        f"the PipelineRun with its status is larger than the API server stores: {error.message}; make its "
        f"Pipeline and parameters smaller"
    )
    return Fail(reasons.TOO_LARGE, message, child_message=reasons.CHILD_TOO_LARGE, drops_pipeline=True)


def _decide_following(run: Following) -> Action:
    """Decide for a run whose children are known: cancel first, then create, then report its state."""
    tasks, message = _to_cancel(run)
    if tasks:
        return CancelChildren(tasks, message)
    if run.requested == "Cancelled":
        return Complete("False", reasons.CANCELLED, cancelled_message(run.name) + run.waited_for)
    if run.due:
        return CreateChildren(run.due[: run.batch_size], is_more_due=len(run.due) > run.batch_size)
    status, reason, message = run.verdict
    if status == "Unknown":
        return _progress(run)
    if reason in (reasons.TIMED_OUT, reasons.CANCELLED):
        message += run.waited_for
    return Complete(status, reason, message, begins_finally=run.begins_finally)


def _progress(run: Following) -> ReportProgress:
    """Return what to write of a run that goes on, and when to come back to it."""
    _, reason, message = run.verdict
    if (failed := run.failed_creation) is not None:
        message = f"{message}; {failed.why}"
        return ReportProgress(reasons.PENDING, message, run.begins_finally, run.seconds_left, failed.error)
    after = REQUEUE_FOR_NEXT_BATCH if run.is_more_due else run.seconds_left
    return ReportProgress(reason, message, run.begins_finally, after)


def _to_cancel(run: Following) -> tuple[tuple[str, ...], str]:
    """Return the Tasks that must end with the run, or with the part of it they belong to, and what to say."""
    if run.requested == "Cancelled":
        return run.running, reasons.CHILD_CANCELLED
    if run.timed_out & {"pipeline", "finally"}:
        return run.running, reasons.CHILD_TIMED_OUT
    if "tasks" in run.timed_out:
        return run.running_before_finally, reasons.CHILD_TIMED_OUT
    if run.requested == "CancelledRunFinally":
        return run.running_before_finally, reasons.CHILD_CANCELLED
    return (), ""
