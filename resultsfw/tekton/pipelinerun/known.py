"""What one reconcile knows of its PipelineRun, and what it has done for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from resultsfw.cluster import Object
from resultsfw.errors import ClusterError
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.child_builder import ChildBuilder
from resultsfw.tekton.pipelinerun.children import Children
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.observation import FailedCreation, FailedRequest, Problem, Refusal
from resultsfw.tekton.pipelinerun.pipeline_spec import PipelineSource, Plan
from resultsfw.tekton.pipelinerun.taskrun_results import WholeChildren

__all__ = ["Known", "failed_request", "refusal"]


@dataclass(frozen=True, slots=True)
class Known:
    """What one reconcile knows of its run, and what it has done for it.

    Attributes:
        pipelinerun: As last read or written.
        now: The time of this reconcile; UTC.
        whole: Reads children as a whole, each once.
        source: The Pipeline, once it is read.
        is_labelled: Whether labels and annotations of the Pipeline were asked for.
        plan: The run's Tasks and their order, once they are known to make one.
        builder: Builds the run's children.
        runs: Its children by Pipeline Task, once they are read.
        is_prepared: Whether what its children need was checked.
        facts: The state of the run, once its children are read.
        cancelled: Tasks whose children were cancelled.
        has_created: Whether children were created.
        is_more_due: Whether more were due than were created.
        failed_creation: The child that could not be created.
        problem: Why the run cannot go on.
        is_reported: Whether the run's condition says so.
    """

    pipelinerun: Object
    now: datetime
    whole: WholeChildren
    source: PipelineSource | None = None
    is_labelled: bool = False
    plan: Plan | None = None
    builder: ChildBuilder | None = None
    runs: Mapping[str, Children] | None = None
    is_prepared: bool = False
    facts: Facts | None = None
    cancelled: frozenset[str] = field(default=frozenset())
    has_created: bool = False
    is_more_due: bool = False
    failed_creation: FailedCreation | None = None
    problem: Problem | None = None
    is_reported: bool = False

    @property
    def requested(self) -> str:
        """``spec.status``; empty where it would hold back a run that has started, as Tekton refuses to."""
        requested = self.pipelinerun["spec"].get("status") or ""
        return "" if requested == reasons.PENDING else str(requested)

    @property
    def cancels_gracefully(self) -> bool:
        """Whether children are cancelled on request, so that child PipelineRuns run their ``finally``."""
        facts = self.facts
        is_late = facts is not None and (
            facts.pipeline_timed_out or facts.tasks_timed_out or facts.finally_timed_out
        )
        return self.requested == "CancelledRunFinally" and not is_late


def refusal(refused: RefusedRun) -> Refusal:
    """Return a refused run's problem."""
    return Refusal(refused.reason, refused.message)


def failed_request(error: ClusterError) -> FailedRequest:
    """Return the problem of a request that the run's own text did not decide."""
    return FailedRequest(f"a request failed and is tried again: {error.message}", error)
