"""What a person can do next about a run that failed, with the commands to do it."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from resultsfw.limits import DEFAULT_RESULT_BYTES, OBJECT_BYTES
from resultsfw.tekton import reasons
from resultsfw.types import Problem, ProblemCode

__all__ = ["Advice", "Again", "advice_for", "advice_on", "is_too_large", "larger", "patch_command"]

Again = Callable[[Mapping[str, str]], str]
"""From feature flags to the command that runs the same here under them."""

MESSAGES: Final = "termination-message"
LOGS: Final = "sidecar-logs"
STORE: Final = "object-store"

ACCESS: Final = "kubectl apply -f config/enable-log-access-to-controller/"
"""As TEP-0127 writes it (Logs Access)."""

_SIZES: Final = re.compile(r"\bha(?:s|ve) ([0-9]+) bytes")
_TOO_LARGE: Final = ("does not fit into the termination message", "over the limit of")
_STORED: Final = "with its status is larger than the API server stores"
_STEP: Final = 4096


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to do.

    Attributes:
        what: In a sentence without its full stop.
        commands: That do it, to be copied, by where they are typed.
    """

    what: str
    commands: tuple[tuple[str, tuple[str, ...]], ...] = ()


def patch_command(flag: str, value: str) -> str:
    """The kubectl command that sets a feature flag, as TEP-0127 writes it."""
    patch = json.dumps({"data": {flag: value}}, separators=(",", ":"))
    return f"kubectl patch cm feature-flags -n tekton-pipelines -p '{patch}'"


def is_too_large(reason: str, message: str) -> bool:
    """Whether a run failed for the size of its results."""
    return reason == reasons.TOO_LARGE or any(mark in message for mark in _TOO_LARGE)


def advice_on(taskrun: Mapping[str, Any], *, again: Again | None = None) -> list[Advice]:
    """What to do about a finished run that failed; empty where nothing better than its message is known.

    Args:
        taskrun: With its status; of a PipelineRun nothing is known.
        again: Where it ran on this machine.
    """
    status = taskrun.get("status", {})
    conditions = status.get("conditions") or ()
    verdict: Mapping[str, Any] = next((one for one in conditions if one.get("type") == "Succeeded"), {})
    flags = status.get("provenance", {}).get("featureFlags", {})
    reason, message = verdict.get("reason", ""), verdict.get("message", "")
    if reason == reasons.POD_CREATION_FAILED or taskrun.get("kind") == "PipelineRun" or _STORED in message:
        return []  # whose message says what to do
    if reason == reasons.VALIDATION_FAILED and status.get("podName") == "":
        return []  # nothing of it ran: it is not about results
    if "together" in message or "the object would have" in message:
        return [_TOTAL]
    if is_too_large(reason, message):
        size = max(map(int, _SIZES.findall(message)), default=0)
        return [larger(flags.get("resultExtractionMethod", ""), size, again=again)]
    found = [advice for mark, advice in _BY_WORDS if mark in message]
    return found or ([_PLAIN[reason]] if reason in _PLAIN else [])


def advice_for(problem: Problem, backend: str) -> list[Advice]:
    """What to do about one problem with results; empty where nothing better than its message is known."""
    if problem.code in (ProblemCode.RESULT_TOO_LARGE, ProblemCode.TRANSPORT_CUT):
        cut = problem.code is ProblemCode.TRANSPORT_CUT
        return [larger(backend, 0 if cut else problem.size or 0)]
    if problem.code in _BY_CODE:
        return [_BY_CODE[problem.code]]
    return []


def larger(backend: str, size: int, *, again: Again | None = None) -> Advice:
    """How to get a result through that was too large for its transport.

    Args:
        backend: That carried the results.
        size: Bytes of the largest value; 0 where nobody knows.
        again: As in `advice_on`.
    """
    if backend == STORE:
        return Advice(f"raise max-object-size of config.{STORE}, or write less")
    if size > OBJECT_BYTES:
        return Advice(
            f"set results-from: {STORE}, which leaves large results in a store: an API object holds "
            f"{OBJECT_BYTES} bytes, whatever is set; or keep the data in a workspace or a registry, and make "
            f"its address the result"
        )
    flags: dict[str, str] = {}
    if backend == MESSAGES:
        flags["results-from"] = LOGS
    if size > DEFAULT_RESULT_BYTES or (size and backend != MESSAGES):
        flags["max-result-size"] = str(min(-(-size // _STEP) * _STEP, OBJECT_BYTES))
    if not flags:
        return Advice("write less, or keep the data in a workspace and make its place the result")
    patches = [patch_command(key, value) for key, value in flags.items()]
    if backend == MESSAGES:
        patches.append(ACCESS)
    commands = [("on a cluster", tuple(patches))]
    if again:
        commands.insert(0, ("here", (again(flags),)))
    return Advice("set " + " and ".join(f"{key}: {value}" for key, value in flags.items()), tuple(commands))


_TYPES: Final = Advice(
    "an array result is a JSON array of strings, an object result a JSON object of strings: write that, or "
    "declare the result with the type it has"
)
_KEYS: Final = Advice("write every key that the result's properties name, or declare fewer")
_REFUSED: Final = Advice(
    "write the result as a regular file of UTF-8 text; encode what is no text, for instance with base64"
)
_WITHHELD: Final = Advice(
    "an extension that the operator chose refuses it: let the result come by value, or change its options"
)
_MISSING: Final = Advice('write the result in a Step, or set the feature flag "missing-results" to "ignore"')
_INCOMPLETE: Final = Advice("run it again: what did not come cannot be had any more")
_CORRUPT: Final = Advice(
    "find what else writes there: a Step to its termination file, or a program into the sidecar's log"
)
_TOTAL: Final = Advice("write less: keep large data in a workspace or a registry, its address as the result")

_BY_WORDS: Final = (
    ("Provided results don't match declared results", _TYPES),
    ("missing keys for these results", _KEYS),
    (" was refused ", _REFUSED),
    (" is withheld by the extension ", _WITHHELD),
)

_PLAIN: Final[Mapping[str, Advice]] = {
    reasons.TIMED_OUT: Advice("give it more time in spec.timeout, or find the Step that waits"),
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
    ProblemCode.MISSING: _MISSING,
    ProblemCode.TRANSPORT_INCOMPLETE: _INCOMPLETE,
    ProblemCode.TRANSPORT_CORRUPT: _CORRUPT,
    ProblemCode.RUN_TOO_LARGE: _TOTAL,
    ProblemCode.OBJECT_TOO_LARGE: _TOTAL,
}
