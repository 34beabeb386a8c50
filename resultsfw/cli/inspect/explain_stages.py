"""Split a result's way into stages for the page: Step, file, transport, status, and where it ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from resultsfw.cli.inspect.explain_sentences import by_reference
from resultsfw.cli.inspect.judged import Judged
from resultsfw.cli.inspect.traces import End, ResultTrace, budget_of

__all__ = ["Share", "Stage", "StageState", "share_of", "stages"]

_STEPS: Final = 3
"""Steps that are named."""


class StageState(StrEnum):
    """What is known of one stage of a result's way."""

    PASSED = "passed"
    STOPPED = "stopped"
    UNKNOWN = "unknown"
    NOT_REACHED = "not-reached"


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a result's way.

    Attributes:
        name: What it is.
        subject: Its Step, file, container or field.
        state: What is known of it.
    """

    name: str
    subject: str
    state: StageState


@dataclass(frozen=True, slots=True)
class Share:
    """Bytes, and how many there may be.

    Attributes:
        used: The bytes.
        limit: How many there may be; ``None`` where no limit is about them.
    """

    used: int
    limit: int | None


def stages(judged: Judged, trace: ResultTrace) -> list[Stage]:
    """Return the four stages of a result's way, in order."""
    states = _states(trace)
    field = f"status.steps[{trace.step}].results" if trace.step else "status.results"
    names = ("Step" if len(trace.writers) == 1 else "Steps", "file", "transport", "status")
    subjects = (_writers(trace.writers), trace.file, _transport(judged, trace), field)
    return [Stage(*stage) for stage in zip(names, subjects, states, strict=True)]


def _states(trace: ResultTrace) -> list[StageState]:
    passed, stopped = StageState.PASSED, StageState.STOPPED
    unknown, later = StageState.UNKNOWN, StageState.NOT_REACHED
    match trace.end:
        case End.ARRIVED:
            return [passed] * 4
        case End.ABSENT:
            return [stopped, later, later, later]
        case End.PENDING:
            return [later] * 4
        case End.UNKNOWN:
            return [unknown, unknown, unknown, later]
        case End.REFUSED if trace.carried_by:
            return [passed, passed, passed, stopped]
        case End.LOST if trace.problem is None and not trace.dropped_by:  # the controller left it out
            return [passed, passed, passed, stopped]
        case _:
            return [passed, passed, stopped, later]


def _writers(names: Sequence[str]) -> str:
    if len(names) <= _STEPS:
        return ", ".join(names)
    return f"{', '.join(names[:_STEPS])} and {len(names) - _STEPS} more"


def _transport(judged: Judged, trace: ResultTrace) -> str:
    usages = judged.offline.collected.transports if judged.offline.collected else ()
    transports = {usage.container: usage.transport for usage in usages}
    carried = [f"{transports[name]} of {name}" for name in trace.carried_by if name in transports]
    if carried:
        return " and ".join(carried)
    return judged.offline.stamp.backend if judged.offline.stamp else "not known"


def share_of(judged: Judged, trace: ResultTrace) -> Share | None:
    """Return the bytes of a result and their limit; ``None`` if its bytes are not known."""
    if trace.size is None:
        return None
    stamp = judged.offline.stamp
    if trace.limit is not None:
        return Share(trace.size, trace.limit)
    if stamp is None or judged.pod is None or by_reference(stamp):
        return Share(trace.size, None)
    return Share(trace.size, budget_of(judged.pod, stamp).each or stamp.max_result_size)
