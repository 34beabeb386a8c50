"""Build a PipelineRun's status as TEP-0100 has it: verdict, child references, skipped Tasks, results."""

from typing import Any, Final, Literal, NamedTuple

from resultsfw.cluster import Object
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.children import kind_of
from resultsfw.tekton.pipelinerun.counts import Counts, count
from resultsfw.tekton.pipelinerun.display_names import display_names
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.result_refs import (
    ResultMissing,
    Results,
    ResultUnread,
    parse_reference,
    protected_lookup,
    resolve_result,
    result_lookup,
)
from resultsfw.tekton.pipelinerun.timeouts import Times, format_seconds
from resultsfw.tekton.spec.expansion import Budget, Expansion, TooLargeError
from resultsfw.tekton.spec.variables import escape_protection, unprotect, variables_in

__all__ = [
    "Verdict",
    "cancelled_message",
    "child_references",
    "pipeline_results",
    "skipped_tasks",
    "timed_out_message",
    "verdict",
]

_SHOWN: Final = 1024
"""Maximum characters of a message about missing results (Tekton's)."""


class Verdict(NamedTuple):
    """What a run comes to; ``Unknown`` while it goes on."""

    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def verdict(name: str, facts: Facts) -> Verdict:
    """Return the outcome of a run, or its state so far."""
    times, counts = facts.times, count(facts)
    if facts.pipeline_timed_out:
        return Verdict("False", reasons.TIMED_OUT, timed_out_message(name, times))
    waits_for_finally = bool(facts.final) and not facts.final_done
    if facts.tasks_timed_out and not waits_for_finally:
        within = format_seconds(times.tasks or 0)
        message = f'PipelineRun "{name}" failed due to tasks failed to finish within "{within}"'
        return Verdict("False", reasons.TIMED_OUT, message)
    if counts.incomplete:
        reason = _running_reason(facts, counts, waits_for_finally=waits_for_finally)
        return Verdict("Unknown", reason, _running_message(counts))
    return _final_verdict(name, facts, counts)


def timed_out_message(name: str, times: Times) -> str:
    """Return the message of a run that took longer than ``timeouts.pipeline``."""
    return f'PipelineRun "{name}" failed to finish within "{format_seconds(times.pipeline)}"'


def cancelled_message(name: str) -> str:
    """Return the message of a run that was cancelled."""
    return f'PipelineRun "{name}" was cancelled'


def _final_verdict(name: str, facts: Facts, counts: Counts) -> Verdict:
    ended = counts.succeeded + counts.failed + counts.ignored + counts.cancelled
    failed = counts.failed + counts.ignored
    ignored = f" (Ignored: {counts.ignored})" if counts.ignored else ""
    message = f"Tasks Completed: {ended} (Failed: {failed}{ignored}, Cancelled {counts.cancelled})"
    message += f", Skipped: {counts.skipped}"
    if counts.invalid:
        why = "; ".join(facts.invalid[name] for name in sorted(facts.invalid))
        cut = f"{why[:_SHOWN]}..." if len(why) > _SHOWN else why
        invalid = f"{message}, Failed Validation: {counts.invalid} ({cut})"
        return Verdict("False", reasons.INVALID, invalid)
    if counts.failed or counts.out_of_time:
        return Verdict("False", reasons.FAILED, message)
    if facts.requested in ("CancelledRunFinally", "StoppedRunFinally"):
        return Verdict("False", reasons.CANCELLED, cancelled_message(name))
    if counts.cancelled:
        return Verdict("False", reasons.CANCELLED, message)
    return Verdict("True", reasons.COMPLETED if counts.skipped else reasons.SUCCEEDED, message)


def _running_reason(facts: Facts, counts: Counts, *, waits_for_finally: bool) -> str:
    if facts.tasks_timed_out and waits_for_finally:
        return reasons.TIMED_OUT_FINALLY
    if facts.requested == "CancelledRunFinally":
        return reasons.CANCELLED_FINALLY
    if facts.requested == "StoppedRunFinally":
        return reasons.STOPPED_FINALLY
    if counts.cancelled or (counts.failed and not waits_for_finally):
        return reasons.STOPPING
    return reasons.RUNNING


def _running_message(counts: Counts) -> str:
    ended = counts.succeeded + counts.failed + counts.ignored + counts.cancelled
    return (
        f"Tasks Completed: {ended} (Failed: {counts.failed}, Cancelled {counts.cancelled}), "
        f"Incomplete: {counts.incomplete}, Skipped: {counts.skipped}"
    )


def child_references(facts: Facts) -> list[Object]:
    """Return references to the run's children, in the order of the Pipeline."""
    references = []
    for name, (_, task) in facts.tasks.items():
        if name not in facts.runs:
            continue
        kind = kind_of(task)
        shared: Object = {"apiVersion": f"{kind.group}/{kind.version}", "kind": kind.kind}
        shown: Object = {"pipelineTaskName": name}
        if task.get("when"):
            shown["whenExpressions"] = facts.inputs.shown_when(name)
        for child, display_name in zip(facts.runs[name], display_names(facts, name), strict=True):
            reference = {**shared, "name": child["metadata"]["name"], **shown}
            references.append({**reference, "displayName": display_name} if display_name else reference)
    return references


def skipped_tasks(facts: Facts) -> list[Object]:
    """Return the Tasks that do not run, and why."""
    skipped = []
    for name, (section, task) in facts.tasks.items():
        if not (reason := facts.skip_reason(name)):
            continue
        entry: Object = {"name": name, "reason": reason}
        if task.get("when") and (section == "tasks" or reason == reasons.SKIP_WHEN):
            entry["whenExpressions"] = facts.inputs.shown_when(name)
        skipped.append(entry)
    return skipped


def pipeline_results(spec: Object, facts: Facts) -> tuple[list[Object], list[str]]:
    """Return the run's own results, and the names of those that name what a succeeded Task did not write.

    One that names a Task that failed or was left out is absent, as in Tekton.
    """
    written: list[Object] = []
    invalid: list[str] = []
    results = facts.results.as_texts()
    known = Expansion(protected_lookup(result_lookup(results, facts.read_value)), budget := Budget())
    passing = Expansion(result_lookup(results, facts.read_value, passing=True), budget)
    for result in spec.get("results") or ():
        state = _state(result.get("value"), facts, results)
        if state == "there":
            try:
                value = _value(result["value"], result["name"], known, passing)
            except (ResultUnread, TooLargeError) as error:
                invalid.append(f"{result['name']} ({error.message})")
            else:
                written.append({"name": result["name"], "value": value})
        elif state == "invalid":
            invalid.append(result["name"])
    return written, invalid


def _value(value: Any, name: str, known: Expansion, passing: Expansion) -> Any:
    """Return a result's value; where it names one result as a whole, that result, even by reference."""
    whole = passing.whole(value) if isinstance(value, str) else None
    return unprotect(known.value(escape_protection(value), f"results.{name}")) if whole is None else whole


def _state(value: Any, facts: Facts, results: Results) -> str:
    """Return whether what a Pipeline result names is ``there``, ``absent`` with its Task, or ``invalid``."""
    names = list(variables_in(value))
    if not names:
        return "absent"
    for name in names:
        ref = parse_reference(name)
        if ref is None:
            return "invalid"
        try:
            resolve_result(ref, results, facts.read_value)
        except ResultUnread:
            continue
        except ResultMissing:
            known = results.get(ref.task, {})
            ran = ref.task in facts.tasks and facts.has_succeeded(ref.task)
            return "invalid" if ran or ref.result in known or ref.task not in facts.tasks else "absent"
    return "there"
