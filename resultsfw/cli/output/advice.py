"""Advice on runs that failed, with the commands to follow it."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.limits import DEFAULT_RESULT_BYTES, OBJECT_BYTES, result_too_large
from resultsfw.site import page
from resultsfw.tekton.api import reasons
from resultsfw.types import ARTIFACTS, CollectionOutcome, Problem, ProblemCode

__all__ = [
    "Advice",
    "CommandBuilder",
    "advice_for",
    "advice_on",
    "failed_for_size",
    "larger",
    "patch_command",
    "without_hints",
]

CommandBuilder = Callable[[Mapping[str, str]], str]
"""Returns the command that repeats a run on this machine with other feature flags."""

MESSAGES: Final = "termination-message"
MESSAGE_TOO_LONG: Final = "Termination message is above max allowed size"
"""What Tekton's entrypoint logs when it drops the results of a Step (pkg/termination/write.go)."""
LOGS: Final = "sidecar-logs"
STORE: Final = "object-store"

ACCESS: Final = "resultsfw install --enable-log-access"
"""As TEP-0127 writes it (Logs Access)."""

_STEP: Final = 4096
_SIZE_HINT: Final = result_too_large("", 0, 0).hint
"""The core's hint for a result over ``max-result-size``."""

_TOTALS: Final = frozenset({ProblemCode.RUN_TOO_LARGE, ProblemCode.OBJECT_TOO_LARGE})
_SINGLE: Final = frozenset({ProblemCode.RESULT_TOO_LARGE, ProblemCode.TRANSPORT_CUT})
"""Problems with one result, which another backend or a higher limit would let through."""
_CONSEQUENCES: Final = frozenset(
    {ProblemCode.MISSING, ProblemCode.TRANSPORT_INCOMPLETE, ProblemCode.TRANSPORT_CORRUPT}
)
"""Problems that a Step's failure or a timeout brings along: they get advice only if they are the reason."""


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do.

    Attributes:
        what: A sentence without its full stop.
        commands: Commands that do it, to be copied, by where they are to be typed.
    """

    what: str
    commands: tuple[tuple[str, tuple[str, ...]], ...] = ()


def patch_command(flag: str, value: str) -> str:
    """Return the kubectl command that sets a feature flag, as TEP-0127 writes it."""
    patch = json.dumps({"data": {flag: value}}, separators=(",", ":"))
    return f"kubectl patch cm feature-flags -n tekton-pipelines -p {shlex.quote(patch)}"


def failed_for_size(taskrun: Mapping[str, Any], collected: CollectionOutcome | None) -> bool:
    """Return whether a TaskRun failed because its results are too large.

    Args:
        taskrun: With its status.
        collected: The verdict over its results; ``None`` where there is none.
    """
    codes = {problem.code for problem in collected.problems} if collected else frozenset()
    return _reason(taskrun) == reasons.TOO_LARGE or not codes.isdisjoint(
        _TOTALS | {ProblemCode.RESULT_TOO_LARGE}
    )


def without_hints(taskrun: Mapping[str, Any], collected: CollectionOutcome | None) -> str:
    """Return the condition's message without the hints that `advice_on` repeats as commands to copy.

    Args:
        taskrun: With its status.
        collected: The verdict over its results; ``None`` where there is none: the message stays whole.
    """
    message = str(_condition(taskrun).get("message", ""))
    backend = _backend(taskrun)
    for problem in collected.problems if collected else ():
        repeated = problem.code in _SINGLE and (backend == MESSAGES or problem.hint == _SIZE_HINT)
        if problem.hint and repeated:
            message = message.replace(f"; {problem.hint}", "")
    return message


def advice_on(
    taskrun: Mapping[str, Any],
    collected: CollectionOutcome | None = None,
    *,
    rerun: CommandBuilder | None = None,
) -> list[Advice]:
    """Return what to do about a finished run that failed.

    The reason of the condition, the codes of the problems and their sizes decide; no message is read.

    Args:
        taskrun: With its status; of a PipelineRun nothing is known.
        collected: The verdict over the run's results; ``None`` where there is none or it is not known.
        rerun: Builds the command that repeats the run, where it ran on this machine.

    Returns:
        Empty where nothing better than the condition's message is known.
    """
    status = taskrun.get("status", {})
    reason = _reason(taskrun)
    if reason == reasons.POD_CREATION_FAILED or taskrun.get("kind") == "PipelineRun":
        return []  # the message says what to do
    if reason in (reasons.VALIDATION_FAILED, reasons.TOO_LARGE) and status.get("podName") == "":
        return []  # no Step ran, so this is not about results
    backend = _backend(taskrun)
    problems = collected.problems if collected else ()
    codes = {problem.code for problem in problems}
    if codes & _TOTALS or (collected and _results_left_out(collected, status)):
        return [_TOTAL]
    if codes & _SINGLE:
        if any(map(_is_too_much_provenance, problems)):
            return [_PROVENANCE]
        sizes = [problem.size or 0 for problem in problems if problem.code is ProblemCode.RESULT_TOO_LARGE]
        return [larger(backend, max(sizes, default=0), rerun=rerun)]
    if advice := _of_problems(problems, reason):
        return advice
    if reason == reasons.TOO_LARGE:
        return [larger(backend, 0, rerun=rerun)]
    return [_BY_REASON[reason]] if reason in _BY_REASON else []


def _of_problems(problems: Sequence[Problem], reason: str) -> list[Advice]:
    """Return the advice for each problem that is not merely a consequence of why the run failed."""
    known = [(problem.code, _BY_CODE[problem.code]) for problem in problems if problem.code in _BY_CODE]
    advice = [
        advice for code, advice in known if code not in _CONSEQUENCES or advice is _BY_REASON.get(reason)
    ]
    return list(dict.fromkeys(advice))


def _results_left_out(collected: CollectionOutcome, status: Mapping[str, Any]) -> bool:
    """Return whether results that arrived are not in the status: the object had no space for them."""
    written = len(status.get("results") or ())
    written += sum(len(step.get("results") or ()) for step in status.get("steps") or ())
    return written < len(collected.results) + sum(map(len, collected.step_results.values()))


def _condition(taskrun: Mapping[str, Any]) -> Mapping[str, Any]:
    conditions = taskrun.get("status", {}).get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == "Succeeded"), {})


def _reason(taskrun: Mapping[str, Any]) -> str:
    return str(_condition(taskrun).get("reason", ""))


def _backend(taskrun: Mapping[str, Any]) -> str:
    provenance = taskrun.get("status", {}).get("provenance", {})
    return str(provenance.get("featureFlags", {}).get("resultExtractionMethod", ""))


def advice_for(problem: Problem, backend: str) -> list[Advice]:
    """Return what to do about one problem with results; empty where its message says all that is known."""
    if _is_too_much_provenance(problem):
        return [_PROVENANCE]
    if problem.code in _SINGLE:
        cut = problem.code is ProblemCode.TRANSPORT_CUT
        return [larger(backend, 0 if cut else problem.size or 0)]
    if problem.code in _BY_CODE:
        return [_BY_CODE[problem.code]]
    return []


def _is_too_much_provenance(problem: Problem) -> bool:
    """Return whether a problem is provenance of artifacts that no status can hold, through any backend."""
    return problem.result == ARTIFACTS and problem.code in _SINGLE and (problem.size or 0) > OBJECT_BYTES


def larger(backend: str, size: int, *, rerun: CommandBuilder | None = None) -> Advice:
    """Return how to get a result through that was too large for its transport.

    Args:
        backend: That carried the results.
        size: Bytes of the largest value; 0 where it is not known.
        rerun: As in `advice_on`.
    """
    if backend == STORE:
        return Advice(f"raise max-object-size of config.{STORE}, or write less")
    if size > OBJECT_BYTES:
        return Advice(
            f"set results-from: {STORE}, which leaves large results in a store: an API object holds "
            f"{OBJECT_BYTES} bytes, whatever is set; or keep the data in a workspace or a registry, and "
            f"write its address as the result"
        )
    flags: dict[str, str] = {}
    if backend == MESSAGES:
        flags["results-from"] = LOGS
    if size > DEFAULT_RESULT_BYTES or (size and backend != MESSAGES):
        flags["max-result-size"] = str(min(-(-size // _STEP) * _STEP, OBJECT_BYTES))
    if not flags:
        return Advice("write less, or keep the data in a workspace and write its path as the result")
    patches = [patch_command(key, value) for key, value in flags.items()]
    if backend == MESSAGES:
        patches.append(ACCESS)
    commands = [("on a cluster", tuple(patches))]
    if rerun:
        commands.insert(0, ("here", (rerun(flags),)))
    what = "set " + " and ".join(f"{key}: {value}" for key, value in flags.items())
    if not size:
        what += f", and max-result-size if a result may have more than {DEFAULT_RESULT_BYTES} bytes"
    return Advice(what, tuple(commands))


_TYPES: Final = Advice(
    "an array result is a JSON array of strings, an object result a JSON object of strings: write that, or "
    "declare the result with the type it has"
)
_KEYS: Final = Advice("write every key that the result's properties name, or declare fewer")
_REFUSED: Final = Advice(
    "write the result as a regular file of UTF-8 text; encode binary data, for instance with base64"
)
_WITHHELD: Final = Advice(
    "an extension that the operator enabled refuses it: return the result by value, or change its options"
)
_UNVERIFIED: Final = Advice(
    "follow the message: find out who can write where the results travel, why the pod did not sign, or why "
    f"nothing could be verified; {page('how-to/signed-results')} explains each"
)
_MISSING: Final = Advice('write the result in a Step, or set the feature flag "missing-results" to "ignore"')
_INCOMPLETE: Final = Advice("run it again: the missing results cannot be recovered")
_CORRUPT: Final = Advice(
    "find out what else writes where the results travel: to the Step's termination file, to the log of the "
    "results sidecar, or to what the backend stores outside the pod"
)
_FAULTY: Final = Advice(
    "choose another backend, by results-from or the annotation, and send the traceback in the log to the "
    "author of the one that failed"
)
_TOTAL: Final = Advice(
    "write less: keep large data in a workspace or a registry, and write its address as the result"
)

_PROVENANCE: Final = Advice(
    f"record fewer artifacts: the run's status contains them, and an API object holds {OBJECT_BYTES} bytes, "
    f"whatever is set"
)

_BY_REASON: Final[Mapping[str, Advice]] = {
    reasons.TIMED_OUT: Advice("increase spec.timeout, or find out which Step takes so long"),
    "TaskRunResultRefused": _REFUSED,
    "TaskRunResultMissing": _MISSING,
    "TaskRunResultsIncomplete": _INCOMPLETE,
    "TaskRunResultsCorrupt": _CORRUPT,
}

_BY_CODE: Final[Mapping[ProblemCode, Advice]] = {
    ProblemCode.TYPE_MISMATCH: _TYPES,
    ProblemCode.MISSING_KEYS: _KEYS,
    ProblemCode.NOT_UTF8: _REFUSED,
    ProblemCode.NOT_REGULAR_FILE: _REFUSED,
    ProblemCode.OUTSIDE_FOLDER: _REFUSED,
    ProblemCode.FILE_UNREADABLE: _REFUSED,
    ProblemCode.WITHHELD: _WITHHELD,
    ProblemCode.UNVERIFIED: _UNVERIFIED,
    ProblemCode.MISSING: _MISSING,
    ProblemCode.TRANSPORT_INCOMPLETE: _INCOMPLETE,
    ProblemCode.TRANSPORT_CORRUPT: _CORRUPT,
    ProblemCode.BACKEND_FAULTY: _FAULTY,
    ProblemCode.RUN_TOO_LARGE: _TOTAL,
    ProblemCode.OBJECT_TOO_LARGE: _TOTAL,
}
