"""Decide why a Pipeline Task without children is skipped (Tekton: ``ResolvedPipelineTask.skip``)."""

from typing import TYPE_CHECKING, Final

from resultsfw.tekton.pipelinerun import reasons

if TYPE_CHECKING:
    from resultsfw.tekton.pipelinerun.facts import Facts

__all__ = ["skip_reason_of"]

_RUN_FINALLY: Final = {
    "CancelledRunFinally": reasons.SKIP_CANCELLED,
    "StoppedRunFinally": reasons.SKIP_STOPPED,
}


def skip_reason_of(facts: "Facts", name: str) -> str:
    """Return why a Task that was not begun does not run at all; empty if it does or still may.

    Args:
        facts: Of the run. The Tasks that the Task waits for have been decided.
        name: Of the Task, which is not invalid.
    """
    if facts.is_final(name):
        return _skip_final(facts, name) if facts.dag_done else ""
    if facts.stopping:
        return reasons.SKIP_STOPPING
    if facts.requested in _RUN_FINALLY:
        return _RUN_FINALLY[facts.requested]
    if not facts.parents_done(name):
        return _skip_by_parent(facts, name)
    if not facts.inputs.when_allows(name):
        return reasons.SKIP_WHEN
    return _skip_by_parent(facts, name) or _skip_due(facts, name)


def _skip_due(facts: "Facts", name: str) -> str:
    if _lacks_values(facts, name):
        return reasons.SKIP_RESULTS
    if facts.pipeline_timed_out:
        return reasons.SKIP_PIPELINE_TIME
    if facts.tasks_timed_out:
        return reasons.SKIP_TASKS_TIME
    return reasons.SKIP_EMPTY_MATRIX if facts.matrices.is_empty(name) else ""


def _skip_final(facts: "Facts", name: str) -> str:
    if facts.missing_value(name):
        return reasons.SKIP_RESULTS
    if not facts.inputs.when_allows(name):
        return reasons.SKIP_WHEN
    if facts.pipeline_timed_out:
        return reasons.SKIP_PIPELINE_TIME
    if facts.finally_timed_out:
        return reasons.SKIP_FINALLY_TIME
    return reasons.SKIP_EMPTY_MATRIX if facts.matrices.is_empty(name) else ""


def _skip_by_parent(facts: "Facts", name: str) -> str:
    # A Task skipped by its own "when" does not skip the Tasks that only wait for it (runAfter).
    skipped = (facts.skip_reason(parent) for parent in facts.plan.graph.parents[name])
    return reasons.SKIP_PARENT if any(why and why != reasons.SKIP_WHEN for why in skipped) else ""


def _lacks_values(facts: "Facts", name: str) -> bool:
    """Return whether a value is missing for a cause that skips the Task rather than fails the run."""
    if not facts.missing_value(name):
        return False
    if facts.continues_on_error(name):
        return True
    owner = facts.missing_value_owner(name)
    return bool(owner) and facts.skip_reason(owner) == reasons.SKIP_WHEN
