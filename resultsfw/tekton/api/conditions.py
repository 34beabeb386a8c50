"""The ``Succeeded`` condition of a run, of a TaskRun or a PipelineRun."""

from datetime import datetime
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.times import format_time

__all__ = [
    "MESSAGE_CHARACTERS",
    "Waiting",
    "condition",
    "is_done",
    "previous_status",
    "succeeded",
    "waiting_for",
]


MESSAGE_CHARACTERS: Final = 16_384
"""Of a condition's message: a status must have space for the rest, and people read no more."""

_NOTHING_TO_SAY: Final = frozenset({"Started", "Running", "TaskRunPending"})
"""Reasons of a condition that says of no cause why a run does not go on (Tekton's list)."""

Waiting = tuple[str, str]
"""Reason and message of the condition of a run that is not over."""


def succeeded(run: Object) -> Object:
    """Return a run's Succeeded condition; empty before it has one."""
    conditions = (run.get("status") or {}).get("conditions") or ()
    return next((entry for entry in conditions if entry.get("type") == "Succeeded"), {})


def is_done(run: Object) -> bool:
    """Return whether a run has its verdict."""
    return succeeded(run).get("status") in ("True", "False")


def condition(status: str, reason: str, message: str, now: datetime) -> Object:
    """Return a Succeeded condition; its message, which may hold users' text, is limited in length."""
    if len(message) > MESSAGE_CHARACTERS:
        cut = f"... ({len(message)} characters, cut here)"
        message = message[: MESSAGE_CHARACTERS - len(cut)] + cut
    return {
        "lastTransitionTime": format_time(now),
        "message": message,
        "reason": reason,
        "status": status,
        "type": "Succeeded",
    }


def waiting_for(run: Object) -> Waiting:
    """Return reason and message of the condition that a run, of either kind, has before it is over."""
    known = succeeded(run)
    return (known.get("reason") or "", known.get("message") or "")


def previous_status(waiting: Waiting) -> str:
    """Return what to add to the message of a run that is ended: the cause that it waited for, if any.

    In Tekton's words (appendPreviousConditionContext).
    """
    reason, message = waiting
    if reason in _NOTHING_TO_SAY or message in ("", reason):
        return ""
    return f"\nPrevious status: [{reason}] {message}"
