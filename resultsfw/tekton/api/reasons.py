"""Reasons of a TaskRun's Succeeded condition: Tekton's own, and ours where Tekton has none."""

from collections.abc import Mapping, Sequence
from typing import Final

from resultsfw.status import failure_message
from resultsfw.types import Problem, ProblemCode

__all__ = [
    "CANCELLED",
    "POD_CREATION_FAILED",
    "POD_DELETED",
    "RUNNING",
    "TIMED_OUT",
    "TO_BE_RETRIED",
    "VALIDATION_FAILED",
    "reason_and_message",
]

RUNNING: Final = "Running"
PENDING: Final = "Pending"
RUN_PENDING: Final = "TaskRunPending"
"""``spec.status`` asks that the run does not begin yet. Of that name, too, is the value that asks it."""
SUCCEEDED: Final = "Succeeded"
CANCELLED: Final = "TaskRunCancelled"
TIMED_OUT: Final = "TaskRunTimeout"
VALIDATION_FAILED: Final = "TaskRunValidationFailed"
RESOLUTION_FAILED: Final = "TaskRunResolutionFailed"
POD_CREATION_FAILED: Final = "PodCreationFailed"
CLAIM_FAILED: Final = "CouldntCreateWorkspacePVC"
TO_BE_RETRIED: Final = "ToBeRetried"
IMAGE_PULL_FAILED: Final = "TaskRunImagePullFailed"
CONFIG_ERROR: Final = "CreateContainerConfigError"
EVICTED: Final = "PodEvicted"
FAILURE_IGNORED: Final = "FailureIgnored"

UNSCHEDULABLE: Final = "TaskRunPodUnschedulable"
"""Ours: no node took the pod in time. Tekton waits for the run's timeout."""

POD_DELETED: Final = "TaskRunPodDeleted"
"""Ours: the pod was deleted, or vanished, before its run was over. Tekton makes a second one."""

STEP_NOT_ENDED: Final = "TaskRunStepNotEnded"
"""Ours: a Step recorded its end, and its container did not end. Tekton waits for the run's timeout."""

UNREADABLE: Final = "TaskRunResultsUnreadable"
"""Ours: with "Unknown", the results cannot be read yet; with "False", they never could."""

TOO_LARGE: Final = "TaskRunResultLargerThanAllowedLimit"

NOT_VERIFIED: Final = "TaskRunResultsVerificationFailed"
"""Tekton's own, of the condition that says whether signed results were verified."""

NOT_REGISTERED: Final = "PodNotRegistered"
"""Ours, of the same condition: the pod's identity could not be registered yet."""

_REASONS: Final[Mapping[ProblemCode, str]] = {
    ProblemCode.RESULT_TOO_LARGE: TOO_LARGE,
    ProblemCode.RUN_TOO_LARGE: TOO_LARGE,
    ProblemCode.OBJECT_TOO_LARGE: TOO_LARGE,
    ProblemCode.TRANSPORT_CUT: TOO_LARGE,
    ProblemCode.TYPE_MISMATCH: VALIDATION_FAILED,
    ProblemCode.MISSING_KEYS: VALIDATION_FAILED,
    ProblemCode.TRANSPORT_INCOMPLETE: "TaskRunResultsIncomplete",
    ProblemCode.TRANSPORT_CORRUPT: "TaskRunResultsCorrupt",
    ProblemCode.TRANSPORT_FOREIGN: "TaskRunResultsForeign",
    ProblemCode.TRANSPORT_UNREADABLE: UNREADABLE,
    ProblemCode.BACKEND_FAULTY: UNREADABLE,
    ProblemCode.NOT_UTF8: "TaskRunResultRefused",
    ProblemCode.NOT_REGULAR_FILE: "TaskRunResultRefused",
    ProblemCode.OUTSIDE_FOLDER: "TaskRunResultRefused",
    ProblemCode.FILE_UNREADABLE: "TaskRunResultRefused",
    ProblemCode.WITHHELD: "TaskRunResultRefused",
    ProblemCode.MISSING: "TaskRunResultMissing",
    ProblemCode.UNVERIFIED: NOT_VERIFIED,
}

_NOT_THE_USERS: Final = frozenset(
    {
        ProblemCode.TRANSPORT_INCOMPLETE,
        ProblemCode.TRANSPORT_CORRUPT,
        ProblemCode.TRANSPORT_FOREIGN,
        ProblemCode.TRANSPORT_UNREADABLE,
        ProblemCode.BACKEND_FAULTY,
        ProblemCode.UNVERIFIED,
    }
)


def reason_and_message(problems: Sequence[Problem]) -> tuple[str, str]:
    """Return reason and message for problems with results; the first decides the reason.

    What the Task's author can mend begins as Tekton begins it: ``[User error]``.
    """
    code = problems[0].code
    message = failure_message(problems)
    return _REASONS[code], message if code in _NOT_THE_USERS else f"[User error] {message}"
