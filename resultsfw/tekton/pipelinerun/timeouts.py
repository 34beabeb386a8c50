"""How long a PipelineRun and its parts may take, and how much of that is left."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from resultsfw.cluster import Object
from resultsfw.durations import format_duration, parse_duration
from resultsfw.tekton.api.refusals import USER_ERROR, RefusedRun
from resultsfw.tekton.api.times import DEFAULT_TIMEOUT, latest_start, parse_time
from resultsfw.tekton.pipelinerun import reasons

__all__ = ["Times", "format_seconds", "refuse_timeouts", "times_of"]

_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Times:
    """A run's limits in seconds (``None``, or 0: there is none), and when its parts began.

    Whether a limit has elapsed is a matter of the clock alone. A part that was done before its limit did
    not time out, however late that is seen: see `Facts.tasks_timed_out`.

    Attributes:
        pipeline: Of the whole.
        tasks: Of what comes before ``finally``.
        finally_: Of ``finally``.
        began: When the run did.
        finally_began: When its first final Task did.
        now: The time there is.
    """

    pipeline: float
    tasks: float | None
    finally_: float | None
    began: datetime | None
    finally_began: datetime | None
    now: datetime

    @property
    def pipeline_deadline(self) -> datetime | None:
        """When the run is out of time; ``None``: never."""
        return _deadline(self.pipeline, self.began)

    @property
    def tasks_deadline(self) -> datetime | None:
        """When the Tasks before ``finally`` are out of time; ``None``: never."""
        return _deadline(self.tasks, self.began)

    @property
    def finally_deadline(self) -> datetime | None:
        """When the Tasks of ``finally`` are out of time; ``None``: never, or ``finally`` has not begun."""
        return _deadline(self.finally_, self.finally_began)

    def has_elapsed(self, deadline: datetime | None) -> bool:
        """Return whether a deadline is over."""
        return deadline is not None and self.now >= deadline

    @property
    def part_elapsed(self) -> bool:
        """Whether the time of the run, or of the part of it that runs now, is over."""
        part = self.tasks_deadline if self.finally_began is None else self.finally_deadline
        return self.has_elapsed(self.pipeline_deadline) or self.has_elapsed(part)

    def left(self) -> Iterator[float]:
        """Yield seconds until each end that is still to come."""
        for deadline in (self.pipeline_deadline, self.tasks_deadline, self.finally_deadline):
            if deadline is not None and not self.has_elapsed(deadline):
                yield (deadline - self.now).total_seconds()


def _deadline(limit: float | None, began: datetime | None) -> datetime | None:
    return latest_start(began) + timedelta(seconds=limit) if limit and began is not None else None


def times_of(pipelinerun: Object, now: datetime) -> Times:
    """Return a run's times, with the defaults of Tekton's webhook where there is no such webhook.

    ``pipeline`` is one hour; if one of ``tasks`` and ``finally`` is not given, it gets what the other leaves.
    """
    given = pipelinerun["spec"].get("timeouts")
    if not isinstance(given, dict):  # validation refuses what is not a mapping; until then the defaults count
        given = {}
    whole = _seconds(given.get("pipeline"), DEFAULT_TIMEOUT)
    tasks = None if given.get("tasks") is None else _seconds(given["tasks"])
    last = None if given.get("finally") is None else _seconds(given["finally"])
    if tasks is None and whole and last:
        tasks = whole - last
    elif last is None and whole and tasks:
        last = whole - tasks
    status = pipelinerun.get("status", {})
    return Times(
        pipeline=whole,
        tasks=tasks,
        finally_=last,
        began=parse_time(status.get("startTime")),
        finally_began=parse_time(status.get("finallyStartTime")),
        now=now,
    )


def _seconds(text: Any, default: str = "0") -> float:
    """Return the seconds of a duration; for an invalid text, which validation refuses, the default."""
    try:
        return parse_duration(default if text is None else text) / _NANO
    except ValueError:
        return parse_duration(default) / _NANO


def refuse_timeouts(pipelinerun: Object) -> None:
    """Refuse timeouts that contradict each other, as Tekton's webhook does.

    Raises:
        RefusedRun: ``tasks`` and ``finally`` are more than ``pipeline``, or a Task's is more than its part.
    """
    metadata, spec = pipelinerun["metadata"], pipelinerun["spec"]
    if problems := [*_wrong_parts(spec), *_wrong_tasks(spec)]:
        name = f"{metadata.get('namespace', '')}/{metadata['name']}"
        raise RefusedRun(
            reasons.INVALID,
            f"{USER_ERROR}PipelineRun {name} can't be Run; it has an invalid spec: {'; '.join(problems)}",
            subject=f"PipelineRun {name}",
        )


def _wrong_parts(spec: Object) -> Iterator[str]:
    given = spec.get("timeouts") or {}
    whole = _seconds(given.get("pipeline"), DEFAULT_TIMEOUT)
    parts = {name: _seconds(given[name]) for name in ("tasks", "finally") if given.get(name) is not None}
    for name, seconds in parts.items():
        if whole and (seconds > whole or not seconds):
            how_long = format_seconds(seconds) if seconds else f"{format_seconds(seconds)} (no timeout)"
            yield f"invalid value: {how_long} should be <= pipeline duration: timeouts.{name}"
    # With `pipeline: 0` Tekton refuses both parts together, too; each alone it takes.
    if len(parts) > 1 and sum(parts.values()) > whole:
        both = " + ".join(format_seconds(seconds) for seconds in parts.values())
        yield (
            f"invalid value: {both} should be <= pipeline duration {format_seconds(whole)}: "
            f"timeouts.finally, timeouts.tasks"
        )


def _wrong_tasks(spec: Object) -> Iterator[str]:
    given = spec.get("timeouts") or {}
    whose = "pipeline" if given.get("tasks") is None else "pipeline tasks"
    limit = _seconds(given.get("pipeline" if given.get("tasks") is None else "tasks"), DEFAULT_TIMEOUT)
    for index, entry in enumerate(spec.get("taskRunSpecs") or ()):
        if limit and (seconds := _seconds(entry.get("timeout"))) > limit:
            yield (
                f"invalid value: {format_seconds(seconds)} should be <= {whose} duration "
                f"{format_seconds(limit)}: taskRunSpecs[{index}].timeout"
            )


def format_seconds(seconds: float) -> str:
    """Return a time limit as Go prints it: ``1h0m0s``."""
    return format_duration(round(seconds * _NANO))
