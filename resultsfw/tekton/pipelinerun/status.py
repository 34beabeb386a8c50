"""A PipelineRun's status, small as TEP-0100 has it: condition, children, who was left out, its results."""

from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.counts import Counts, count
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.result_refs import (
    ResultMissing,
    ResultUnread,
    as_data,
    looked_up,
    parse_reference,
    result_finder,
)
from resultsfw.tekton.pipelinerun.timeouts import Times, shown
from resultsfw.tekton.spec.expansion import Budget, Expansion, TooLargeError
from resultsfw.tekton.spec.variables import authored, unprotect, variables_in

__all__ = ["child_references", "pipeline_results", "skipped_tasks", "timed_out", "verdict"]

_SHOWN: Final = 1024
"""Characters of what is said of missing results (Tekton's)."""

Verdict = tuple[str, str, str]
"""Status, reason and message of a condition."""


def verdict(name: str, facts: Facts) -> Verdict:
    """What a run comes to, or where it stands."""
    times, counts = facts.times, count(facts)
    if facts.pipeline_timed_out:
        return "False", reasons.TIMED_OUT, timed_out(name, times)
    waits_for_finally = bool(facts.final) and not facts.final_done
    if facts.tasks_timed_out and not waits_for_finally:
        within = shown(times.tasks or 0)
        said = f'PipelineRun "{name}" failed due to tasks failed to finish within "{within}"'
        return "False", reasons.TIMED_OUT, said
    if counts.incomplete:
        return "Unknown", _goes_on(facts, counts, waits_for_finally=waits_for_finally), _incomplete(counts)
    return _ended(name, facts, counts)


def timed_out(name: str, times: Times) -> str:
    """Return the message of a run that took longer than ``timeouts.pipeline``."""
    return f'PipelineRun "{name}" failed to finish within "{shown(times.pipeline)}"'


def _ended(name: str, facts: Facts, counts: Counts) -> Verdict:
    ended = counts.succeeded + counts.failed + counts.ignored + counts.cancelled
    failed = counts.failed + counts.ignored
    ignored = f" (Ignored: {counts.ignored})" if counts.ignored else ""
    said = f"Tasks Completed: {ended} (Failed: {failed}{ignored}, Cancelled {counts.cancelled})"
    said += f", Skipped: {counts.skipped}"
    if counts.invalid:
        why = "; ".join(facts.invalid[one] for one in sorted(facts.invalid))
        cut = f"{why[:_SHOWN]}..." if len(why) > _SHOWN else why
        return "False", reasons.INVALID, f"{said}, Failed Validation: {counts.invalid} ({cut})"
    if counts.failed or counts.out_of_time:
        return "False", reasons.FAILED, said
    if facts.asked in ("CancelledRunFinally", "StoppedRunFinally"):
        return "False", reasons.CANCELLED, f'PipelineRun "{name}" was cancelled'
    if counts.cancelled:
        return "False", reasons.CANCELLED, said
    return "True", reasons.COMPLETED if counts.skipped else reasons.SUCCEEDED, said


def _goes_on(facts: Facts, counts: Counts, *, waits_for_finally: bool) -> str:
    if facts.tasks_timed_out and waits_for_finally:
        return reasons.TIMED_OUT_FINALLY
    if facts.asked == "CancelledRunFinally":
        return reasons.CANCELLED_FINALLY
    if facts.asked == "StoppedRunFinally":
        return reasons.STOPPED_FINALLY
    if counts.cancelled or (counts.failed and not waits_for_finally):
        return reasons.STOPPING
    return reasons.RUNNING


def _incomplete(counts: Counts) -> str:
    ended = counts.succeeded + counts.failed + counts.ignored + counts.cancelled
    return (
        f"Tasks Completed: {ended} (Failed: {counts.failed}, Cancelled {counts.cancelled}), "
        f"Incomplete: {counts.incomplete}, Skipped: {counts.skipped}"
    )


def child_references(facts: Facts) -> list[Object]:
    """The run's TaskRuns, in the order of the Pipeline, without anything that is in them."""
    children = []
    for name, (_, task) in facts.tasks.items():
        if name not in facts.runs:
            continue
        child: Object = {
            "apiVersion": "tekton.dev/v1",
            "kind": "TaskRun",
            "name": facts.runs[name]["metadata"]["name"],
            "pipelineTaskName": name,
        }
        if task.get("displayName"):
            child["displayName"] = unprotect(task["displayName"])
        if task.get("when"):
            child["whenExpressions"] = facts.when(name)
        children.append(child)
    return children


def skipped_tasks(facts: Facts) -> list[Object]:
    """Tasks that do not run, and why."""
    left_out = []
    for name, (section, task) in facts.tasks.items():
        if not (why := facts.skipped(name)):
            continue
        one: Object = {"name": name, "reason": why}
        if task.get("when") and (section == "tasks" or why == reasons.SKIP_WHEN):
            one["whenExpressions"] = facts.when(name)
        left_out.append(one)
    return left_out


def pipeline_results(spec: Object, facts: Facts) -> tuple[list[Object], list[str]]:
    """The run's own results, and names of those that name what a Task that succeeded did not write.

    One that names a Task that failed or was left out is absent, as in Tekton.
    """
    written: list[Object] = []
    invalid: list[str] = []
    known = Expansion(as_data(result_finder(facts.results, facts.read)), budget := Budget())
    passing = Expansion(result_finder(facts.results, facts.read, passing=True), budget)
    for one in spec.get("results") or ():
        state = _state(one.get("value"), facts)
        if state == "there":
            try:
                value = _value(one["value"], one["name"], known, passing)
            except (ResultUnread, TooLargeError) as error:
                invalid.append(f"{one['name']} ({error.message})")
            else:
                written.append({"name": one["name"], "value": value})
        elif state == "invalid":
            invalid.append(one["name"])
    return written, invalid


def _value(value: Any, name: str, known: Expansion, passing: Expansion) -> Any:
    """A result's value; one that is another result as a whole is that, a reference to a value too."""
    whole = passing.whole(value) if isinstance(value, str) else None
    return unprotect(known.value(authored(value), f"results.{name}")) if whole is None else whole


def _state(value: Any, facts: Facts) -> str:
    """Whether all that a Pipeline result names is ``there``, ``absent`` with its Task, or ``invalid``."""
    names = list(variables_in(value))
    if not names:
        return "absent"
    for name in names:
        ref = parse_reference(name)
        if ref is None:
            return "invalid"
        try:
            looked_up(ref, facts.results, facts.read)
        except ResultUnread:
            continue
        except ResultMissing:
            known = facts.results.get(ref.task, {})
            ran = ref.task in facts.tasks and facts.has_succeeded(ref.task)
            return "invalid" if ran or ref.result in known or ref.task not in facts.tasks else "absent"
    return "there"
