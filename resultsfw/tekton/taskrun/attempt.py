"""What is known of a TaskRun's attempt in one pass, and how actions add to it."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from resultsfw.cluster import Object
from resultsfw.tekton.taskrun.observation import Failure, Lookup, Observation, PodObservation
from resultsfw.tekton.taskrun.task_resolution import RefSources
from resultsfw.tekton.taskrun.termination import deadline
from resultsfw.types import Run, Stamp

__all__ = ["Attempt", "Finished", "finished_within", "required", "with_failure", "with_pod_facts"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """The objects that actions work on, and what was observed of them.

    Attributes:
        seen: What is known so far in this pass.
        taskrun: As last read or written.
        task_spec: Resolved.
        sources: Where resolvers found the Task and its StepActions.
        run: The attempt, as backends see it.
        pod: As last read, or as it was created.
        stamp: By which to read the pod; ``None`` if it is not valid: then the core says why.
        ended: The status that ends the attempt.
    """

    seen: Observation
    taskrun: Object
    task_spec: Object | None = None
    sources: RefSources = field(default_factory=RefSources)
    run: Run | None = None
    pod: Object | None = None
    stamp: Stamp | None = None
    ended: Object | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The pass is over.

    Attributes:
        requeue_after: Seconds after which to reconcile again though nothing changed; ``None``: never.
    """

    requeue_after: float | None = None


def finished_within(taskrun: Object, seconds: float, now: datetime) -> Finished:
    """Return the end of a pass that is repeated after some seconds, and when the run is out of time."""
    end = deadline(taskrun)
    left = seconds if end is None else max(0.0, (end - now).total_seconds())
    return Finished(min(seconds, left))


def with_failure(attempt: Attempt, failure: Failure, lookup: Lookup | None = None) -> Attempt:
    """Return the attempt with why its Task could not be read, or its pod not be created.

    Args:
        attempt: As known so far.
        failure: The cause.
        lookup: What came of reading its pod; ``None``: as before.
    """
    seen = replace(attempt.seen, failure=failure, lookup=lookup or attempt.seen.lookup)
    return replace(attempt, seen=seen)


def with_pod_facts(attempt: Attempt, **changes: object) -> Attempt:
    """Return the attempt with what was learned of its pod: fields of `PodObservation`."""
    pod: PodObservation = replace(required(attempt.seen.pod), **changes)  # type: ignore[arg-type]
    return replace(attempt, seen=replace(attempt.seen, pod=pod))


def required(value: T | None) -> T:
    """Return what an earlier action of the pass has brought to light.

    Raises:
        AssertionError: None did.
    """
    if value is None:
        raise AssertionError("an action was decided before what it needs was known")
    return value
