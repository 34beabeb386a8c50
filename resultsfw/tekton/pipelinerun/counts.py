"""Count the Tasks of a PipelineRun by how they ended."""

from collections import Counter
from dataclasses import dataclass

from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.children import was_cancelled
from resultsfw.tekton.pipelinerun.facts import Facts

__all__ = ["Counts", "count"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Tasks by how they ended, as a condition's message counts them."""

    succeeded: int = 0
    failed: int = 0
    ignored: int = 0
    cancelled: int = 0
    invalid: int = 0
    skipped: int = 0
    out_of_time: int = 0
    incomplete: int = 0


def count(facts: Facts) -> Counts:
    """Return how many Tasks ended how."""
    known = Counter(_field_of(facts, name) for name in facts.tasks)
    late = known.pop("out_of_time", 0)
    known["skipped"] += late
    return Counts(**known, out_of_time=late)


def _field_of(facts: Facts, name: str) -> str:
    """Return the field of `Counts` that a Task counts in."""
    if facts.has_succeeded(name):
        return "succeeded"
    if facts.has_failed(name):
        if was_cancelled(facts.runs[name]):
            return "failed" if facts.was_ended_for_time(name) else "cancelled"
        return "ignored" if facts.continues_on_error(name) else "failed"
    if name in facts.invalid:
        return "invalid"
    reason = facts.skip_reason(name)
    if reason in (reasons.SKIP_PIPELINE_TIME, reasons.SKIP_TASKS_TIME, reasons.SKIP_FINALLY_TIME):
        return "out_of_time"
    return "skipped" if reason else "incomplete"
