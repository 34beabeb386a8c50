"""What one reconcile sees of a PipelineRun: plain data from which `decide` chooses the next action.

Each class is one stage. A stage holds what is known there and nothing that must be read from a cluster.
"""

from dataclasses import dataclass
from typing import Any, Literal

from resultsfw.errors import ClusterError
from resultsfw.tekton.pipelinerun.status import Verdict
from resultsfw.tekton.pipelinerun.timeouts import Times

__all__ = [
    "AwaitedAnswer",
    "Blocked",
    "FailedCreation",
    "FailedRequest",
    "Fault",
    "Following",
    "NotStarted",
    "Observation",
    "Over",
    "Part",
    "Problem",
    "Refusal",
    "Unlabelled",
    "Unplanned",
    "Unprepared",
]

Part = Literal["pipeline", "tasks", "finally"]
"""A part of a run that has a time limit of its own."""


# Why a run cannot go on.


@dataclass(frozen=True, slots=True)
class Refusal:
    """The run cannot be run as it is written.

    Attributes:
        reason: Of the run's condition; Tekton's where it has one.
        message: Of the run's condition.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """A request to the cluster failed.

    Attributes:
        why: What could not be done, and the error.
        error: The cluster's.
        reason: Of the run's condition, where the server will never accept what the run needs; empty where the
            request was none that the run's own text decides.
    """

    why: str
    error: ClusterError
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """The controller's own program failed.

    Attributes:
        error: What was raised.
    """

    error: Exception


@dataclass(frozen=True, slots=True)
class AwaitedAnswer:
    """A resolver has not found the Pipeline, or one of its Tasks, yet.

    Attributes:
        reason: Of the run's condition while it waits.
        message: Of the run's condition.
    """

    reason: str
    message: str


Problem = Refusal | FailedRequest | Fault | AwaitedAnswer
"""Why a run cannot go on."""


# Stages.


@dataclass(frozen=True, slots=True)
class Over:
    """The run has its verdict, or is being deleted."""


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The run has no ``status.startTime``.

    Attributes:
        name: Of the run.
        is_pending: Whether ``spec.status`` is ``PipelineRunPending``.
    """

    name: str
    is_pending: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unplanned:
    """The run has started, and its Pipeline could not be read, or it cannot be run.

    Attributes:
        name: Of the run.
        requested: ``spec.status``.
        times: Its limits.
        waited_for: What its condition says it waits for, as an addition to a message.
        holds_pipeline: Whether its status holds the Pipeline's spec: TaskRuns may have been created.
        problem: Why it cannot go on.
        is_reported: Whether its condition says so since this reconcile.
    """

    name: str
    requested: str
    times: Times
    waited_for: str
    holds_pipeline: bool
    problem: Problem
    is_reported: bool


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """The run lacks labels or annotations of its Pipeline.

    Attributes:
        metadata: What it lacks.
    """

    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unprepared:
    """The run can be run, has no child yet, and its claims and assistants may not exist."""


@dataclass(frozen=True, slots=True)
class Blocked:
    """The run's Pipeline is known, and the run cannot go on now.

    Attributes:
        problem: Why.
        is_reported: Whether the run's condition says so since this reconcile.
    """

    problem: Problem
    is_reported: bool


@dataclass(frozen=True, slots=True)
class FailedCreation:
    """A child that could not be created, and may be later.

    Attributes:
        why: What to say of it.
        error: The cluster's.
    """

    why: str
    error: ClusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """The run's Pipeline and children are known.

    Attributes:
        name: Of the run.
        requested: ``spec.status``: whether it is to be cancelled or stopped.
        due: Tasks whose children are to be created, in order; none once this reconcile has created some.
        batch_size: How many children one reconcile creates.
        is_more_due: Whether more were due than this reconcile has created.
        running: Tasks of which a child has not ended and was not cancelled yet.
        running_before_finally: Those of them that are not of ``finally``.
        timed_out: Parts of the run that are out of time.
        verdict: The outcome of the run, or its state so far.
        begins_finally: Whether ``status.finallyStartTime`` is to be written.
        waited_for: What the run's condition says it waits for, as an addition to a message.
        failed_creation: The child that this reconcile could not create.
        seconds_left: Until the run's next deadline; ``None`` if it has none.
    """

    name: str
    requested: str = ""
    due: tuple[str, ...] = ()
    batch_size: int
    is_more_due: bool = False
    running: tuple[str, ...] = ()
    running_before_finally: tuple[str, ...] = ()
    timed_out: frozenset[Part] = frozenset()
    verdict: Verdict
    begins_finally: bool = False
    waited_for: str = ""
    failed_creation: FailedCreation | None = None
    seconds_left: float | None = None


Observation = Over | NotStarted | Unplanned | Unlabelled | Unprepared | Blocked | Following
"""Where one reconcile finds a PipelineRun."""
