"""Assemble the outcome of a collection and write it into a status, for every backend."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from resultsfw.artifacts import different_documents, read_documents
from resultsfw.cluster import Object
from resultsfw.jsons import merge_patch
from resultsfw.limits import (
    OBJECT_BYTES,
    OBJECT_CAPACITY,
    OBJECT_HEADROOM,
    object_size,
    result_too_large,
    run_too_large,
)
from resultsfw.provenance import merge_artifacts
from resultsfw.references import format_reference
from resultsfw.result_annotations import without_result_annotations
from resultsfw.types import (
    ARTIFACTS,
    CollectionOutcome,
    ExtractedResult,
    Extraction,
    Limits,
    Problem,
    ProblemCode,
    Reference,
    Result,
    ResultSpec,
    Run,
    Verification,
)
from resultsfw.values import (
    escape_surrogates,
    format_names,
    label,
    mismatch_message,
    missing_keys_message,
    parse_value,
    utf8_size,
)

__all__ = [
    "VERIFIED",
    "build_outcome",
    "failure_message",
    "result_entries",
    "status_patch",
    "verification_condition",
]

log = logging.getLogger(__name__)

Origin = tuple[str | None, str]
"""Where a value is written: the Step whose own result it is (``None``: the Task's) and its name."""

ReasonAndMessage = Callable[[Sequence[Problem]], tuple[str, str]]
"""From problems, at least one, to the reason and message of a condition."""

_SENTENCES: Final = {
    ProblemCode.TYPE_MISMATCH: mismatch_message,
    ProblemCode.MISSING_KEYS: missing_keys_message,
}
"""Problems that Tekton reports in one sentence for the whole run."""

_HEAD: Final = 2048
_TAIL: Final = 6144
"""Characters of a condition's message where the object is short of room: the end names what is left out."""

VERIFIED: Final = "SignedResultsVerified"
"""Type of the condition that shows whether the results are those that were signed in the pod."""

_NOT_READ: Final = Verification(
    status="False",
    reason="TaskRunResultsVerificationFailed",
    message="nothing was verified: no results were read, or nothing verifies signatures any more",
)

ALL_DONE: Final = "All Steps have completed executing"


@dataclass(frozen=True, slots=True)
class _Sound:
    """A found value that is within the limits."""

    found: ExtractedResult
    size: int


def build_outcome(
    run: Run, extraction: Extraction, limits: Limits, *, missing_fails: bool = False
) -> CollectionOutcome:
    """Turn what a backend found into the verdict over a run.

    Only declared names count, of two values of one name the later wins, sizes are bytes of UTF-8,
    and what arrived whole is kept beside every failure. Results come in declaration order.
    """
    latest: dict[Origin, ExtractedResult] = {
        (found.step, found.name): found for found in extraction.results if found.name != ARTIFACTS
    }
    reported = [_escape_problem(problem) for problem in extraction.problems]
    written: list[Origin] = [(step.name, result.name) for step in run.steps for result in step.results]
    written += [(None, result.name) for result in run.written_results]
    found_results = [latest[origin] for origin in written if origin in latest]
    documents, unknown = different_documents(run, extraction)
    kept, too_big = _apply_limits([*found_results, *documents], limits)
    sound = {(value.found.step, value.found.name): value for value in kept}
    artifacts, warnings, damaged = read_documents(value.found for value in kept)
    problems = [*reported, *too_big, *damaged]
    lost = {(problem.step, problem.result) for problem in problems}
    # After a loss of unknown or several results it is unknown which results were never written.
    missing_fails &= not any(
        problem.result is None or problem.code is ProblemCode.TRANSPORT_CUT for problem in reported
    )

    def take(declared: ResultSpec, step: str | None) -> Result | None:
        origin = (
            (declared.from_step.step, declared.from_step.result)
            if declared.from_step
            else (step, declared.name)
        )
        if origin not in sound:
            if missing_fails and origin not in latest and origin not in lost:
                problems.append(_missing(declared, step))
            return None
        found, size = sound[origin].found, sound[origin].size
        value = (
            found.value
            if isinstance(found.value, Reference)
            else parse_value(declared, found.value, step=step)
        )
        if isinstance(value, Problem):
            problems.append(value)
            return None
        return Result(name=declared.name, type=declared.type, value=value, size=size, source=found.source)

    by_step = {
        step.name: tuple(filter(None, (take(result, step.name) for result in step.results)))
        for step in run.steps
    }
    results = tuple(filter(None, (take(result, None) for result in run.results)))
    ignored = sorted(
        escape_surrogates(_dotted(origin)) for origin in (latest.keys() - set(written)) | unknown
    )
    for name in ignored:
        log.warning("run %s/%s: %r came and is declared nowhere; ignored", run.namespace, run.name, name)
    for warning in warnings:
        log.warning("run %s/%s: %s", run.namespace, run.name, warning)
    return CollectionOutcome(
        results=results,
        step_results={step: some for step, some in by_step.items() if some},
        problems=tuple(problems),
        ignored=tuple(ignored),
        transports=tuple(
            replace(usage, results=tuple(escape_surrogates(name) for name in usage.results))
            for usage in extraction.transports
        ),
        artifacts=artifacts,
        warnings=tuple(warnings),
        envelope=extraction.envelope,
        envelope_fault=extraction.envelope_fault,
        verification=extraction.verification,
    )


def failure_message(problems: Sequence[Problem]) -> str:
    """Describe all problems of a run: Tekton's sentences once each, then the others."""
    words: list[str] = []
    for code in dict.fromkeys(problem.code for problem in problems):
        same = [problem for problem in problems if problem.code is code]
        sentence = _SENTENCES.get(code)
        words += [sentence(same)] if sentence else list(dict.fromkeys(problem.message for problem in same))
    hints = dict.fromkeys(problem.hint for problem in problems if problem.hint)
    return "; ".join([*words, *hints])


def result_entries(results: Iterable[Result]) -> list[Object]:
    """Results as a status holds them: ``{"name", "type", "value"}``, a reference as a mapping."""
    return [
        {
            "name": result.name,
            "type": result.type,
            "value": format_reference(result.value) if isinstance(result.value, Reference) else result.value,
        }
        for result in results
    ]


def status_patch(
    collected: CollectionOutcome,
    obj: Object,
    *,
    now: str,
    status: Mapping[str, Any] | None = None,
    reason_and_message: ReasonAndMessage | None = None,
) -> Object:
    """Return the merge patch that writes a run's results and verdict into its status.

    Args:
        collected: The core's verdict.
        obj: The object as it was read; its ``resourceVersion`` makes the patch conditional.
        now: RFC 3339 time for a condition that changes.
        status: The rest of the new status: a mirror of Steps, and a ``Succeeded`` condition that is
            already "False" for another cause, which then stays the reason and comes first in the message.
        reason_and_message: Returns a condition's reason and message for problems; by default the first
            problem's code and `failure_message`.

    Returns:
        ``{"metadata": {...}, "status": {...}}``. The patched object fits under `OBJECT_BYTES`: where
        the results would not, the last ones are left out and the condition says so.
    """
    obj = without_result_annotations(obj)  # whoever writes the patch removes them with it
    base = dict(status or {})
    metadata = {"resourceVersion": obj["metadata"]["resourceVersion"]} if _version(obj) else {}

    def write(kept: CollectionOutcome) -> Object:
        return {
            "metadata": metadata,
            "status": _status_with_results(base, obj, kept, now, reason_and_message or _code_and_message),
        }

    patch = write(collected)
    room = OBJECT_CAPACITY
    if (size := object_size(merge_patch(obj, patch))) <= room:
        return patch
    kept = collected
    left: list[Origin] = []
    while True:
        verdict = patch["status"]["conditions"][0]
        verdict["message"] = _shorten(verdict["message"])
        over = object_size(merge_patch(obj, patch)) - room
        if over <= 0 or not (kept.results or kept.step_results or kept.artifacts):
            return patch
        kept, gone = _shed(kept, over)
        left = [*gone, *left]
        # The problem's own words need room too: hence the loop.
        patch = write(replace(kept, problems=(*kept.problems, _over_object(left, size, room))))


def _code_and_message(problems: Sequence[Problem]) -> tuple[str, str]:
    return str(problems[0].code), failure_message(problems)


def _apply_limits(values: Iterable[ExtractedResult], limits: Limits) -> tuple[list[_Sound], list[Problem]]:
    """Return the values within the limits of a value and of a run, and problems for the rest."""
    sound: list[_Sound] = []
    problems: list[Problem] = []
    beyond: list[Origin] = []
    used = total = 0
    for found in values:
        step, name = found.step, found.name
        size = found.value.size if isinstance(found.value, Reference) else utf8_size(found.value)
        if size is None:
            message = f"{label(name, step)} is not UTF-8: it holds a lone surrogate"
            problems.append(Problem(code=ProblemCode.NOT_UTF8, message=message, result=name, step=step))
            continue
        if size > limits.result_bytes:
            problems.append(result_too_large(name, size, limits.result_bytes, step=step))
            continue
        total += size
        if used + size > limits.run_bytes:
            beyond.append((step, name))
            continue
        used += size
        sound.append(_Sound(found, size))
    if beyond:
        over = run_too_large([_dotted(origin) for origin in beyond], total, limits.run_bytes)
        problems.append(replace(over, step=beyond[0][0], result=beyond[0][1]))
    return sound, problems


def _missing(declared: ResultSpec, step: str | None) -> Problem:
    return Problem(
        code=ProblemCode.MISSING,
        message=f"{label(declared.name, step)} is declared and no Step wrote it "
        f'(the feature flag "missing-results" is "fail")',
        result=declared.name,
        step=step,
    )


def _status_with_results(
    base: Mapping[str, Any], obj: Object, collected: CollectionOutcome, now: str, describe: ReasonAndMessage
) -> dict[str, Any]:
    """Return the status with results, the Steps' own results and the condition in it."""
    status = dict(base)
    status["results"] = result_entries(collected.results) or None
    written = {step: document for step, document in collected.artifacts.items() if step is not None}
    if "steps" in status or collected.step_results or written:
        steps = {step["name"]: dict(step) for step in status.get("steps", ())}
        for name, results in collected.step_results.items():
            steps.setdefault(name, {"name": name})["results"] = result_entries(results)
        for name, document in written.items():
            steps.setdefault(name, {"name": name}).update(document)
        status["steps"] = list(steps.values())
    if collected.artifacts:
        status["artifacts"] = merge_artifacts(collected.artifacts.values())
    # The patch replaces the whole list: conditions of others, who know nothing of us, must be in it.
    conditions = {
        condition.get("type"): condition for condition in obj.get("status", {}).get("conditions") or ()
    }
    conditions.pop("Succeeded", None)
    conditions |= {condition.get("type"): condition for condition in status.get("conditions") or ()}
    given = conditions.pop("Succeeded", None)
    verification = collected.verification
    if verification is None and conditions.get(VERIFIED, {}).get("status") == "Unknown":
        verification = _NOT_READ  # a condition must not stay open for ever
    if verification is not None:
        conditions[VERIFIED] = verification_condition(verification, now)
    status["conditions"] = [_condition(given, collected, now, describe), *conditions.values()]
    return status


def verification_condition(verification: Verification, now: str) -> Object:
    """Return a `Verification` as a condition; of a long message, its beginning and its end.

    Args:
        verification: The verification.
        now: RFC 3339 time.
    """
    return {
        "type": VERIFIED,
        "status": verification.status,
        "reason": verification.reason,
        "message": escape_surrogates(_shorten(verification.message)),
        "lastTransitionTime": now,
    }


def _condition(
    given: Mapping[str, Any] | None, collected: CollectionOutcome, now: str, describe: ReasonAndMessage
) -> Object:
    """Return the Succeeded condition; a failure of Steps or a timeout comes before problems of results."""
    if collected.ok:
        done = {"type": "Succeeded", "status": "True", "reason": "Succeeded", "message": ALL_DONE}
        verdict = {"lastTransitionTime": now, **(given or done)}
        return {**verdict, "message": "; ".join((str(verdict.get("message", "")), *collected.warnings))}
    reason, message = describe(collected.problems)
    message = "; ".join((message, *collected.warnings))
    if given is not None and given.get("status") == "False":
        cause = str(given.get("message", "")).rstrip()
        joint = " " if cause.endswith(".") else "; "
        return {"lastTransitionTime": now, **given, "message": f"{cause}{joint}results: {message}"}
    return {
        "lastTransitionTime": now,
        "type": "Succeeded",
        "status": "False",
        "reason": reason,
        "message": message,
    }


def _version(obj: Object) -> str:
    return str(obj.get("metadata", {}).get("resourceVersion", ""))


def _shed(collected: CollectionOutcome, over: int) -> tuple[CollectionOutcome, list[Origin]]:
    """Leave out results, the last first, that free so many bytes; and which those are, in order."""
    kept = list(collected.results)
    artifacts = dict(collected.artifacts)
    by_step = {step: list(results) for step, results in collected.step_results.items()}
    gone: list[Origin] = []
    while over > 0 and artifacts:
        whose, document = artifacts.popitem()
        # Those of a Step are also part of the run's.
        over -= object_size(document) * (1 if whose is None else 2)
        gone.append((whose, ARTIFACTS))
    while over > 0 and (kept or by_step):
        if kept:
            step, result = None, kept.pop()
        else:
            step = next(reversed(by_step))
            result = by_step[step].pop()
            if not by_step[step]:
                del by_step[step]
        over -= object_size(result_entries([result])) - 1  # brackets are two bytes, a comma is one
        gone.append((step, result.name))
    by_steps = {step: tuple(results) for step, results in by_step.items()}
    rest = replace(collected, results=tuple(kept), step_results=by_steps, artifacts=artifacts)
    return rest, gone[::-1]


def _over_object(left: Sequence[Origin], size: int, room: int) -> Problem:
    step, name = left[0]
    return Problem(
        code=ProblemCode.OBJECT_TOO_LARGE,
        message=f"with its results the object would have {size} bytes, over the limit of {room} bytes "
        f"({OBJECT_BYTES} an object, less {OBJECT_HEADROOM} that the API server needs); "
        f"left out: {format_names([_dotted(origin) for origin in left])}",
        result=name,
        step=step,
        size=size,
        limit=room,
    )


def _shorten(message: str) -> str:
    """Return a message that leaves capacity for results: of a long one, its beginning and its end."""
    if (more := len(message) - _HEAD - _TAIL) <= 0:
        return message
    return f"{message[:_HEAD]} ... ({more} characters) ... {message[-_TAIL:]}"


def _dotted(origin: Origin) -> str:
    step, name = origin
    return name if step is None else f"{step}.{name}"


def _escape_problem(problem: Problem) -> Problem:
    """Return a problem as it can be printed and stored: its texts may quote what a Step wrote."""
    name, step = problem.result, problem.step
    return replace(
        problem,
        message=escape_surrogates(problem.message),
        result=None if name is None else escape_surrogates(name),
        step=None if step is None else escape_surrogates(step),
        hint=escape_surrogates(problem.hint),
    )
