"""How long a PipelineRun and its parts may take, and how much of that is left."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from resultsfw.cluster import Object
from resultsfw.tekton.durations import format_duration, parse_duration
from resultsfw.tekton.ending import DEFAULT_TIMEOUT
from resultsfw.tekton.mirror import parse_time

__all__ = ["Times", "times_of"]

_NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Times:
    """A run's limits in seconds (``None``, or 0: there is none), and when its parts began.

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
    def pipeline_over(self) -> bool:
        """Whether the run is out of time."""
        return self._over(self.pipeline, self.began)

    @property
    def tasks_over(self) -> bool:
        """Whether the time of what comes before ``finally`` is over."""
        return self._over(self.tasks, self.began)

    @property
    def finally_over(self) -> bool:
        """Whether the time of ``finally`` is over."""
        return self._over(self.finally_, self.finally_began)

    def left(self) -> Iterator[float]:
        """Seconds until each end that is still to come."""
        for limit, began in (
            (self.pipeline, self.began),
            (self.tasks, self.began),
            (self.finally_, self.finally_began),
        ):
            if limit and began is not None and not self._over(limit, began):
                yield (began + timedelta(seconds=limit) - self.now).total_seconds()

    def _over(self, limit: float | None, began: datetime | None) -> bool:
        return bool(limit) and began is not None and self.now >= began + timedelta(seconds=limit or 0)


def times_of(pipelinerun: Object, now: datetime) -> Times:
    """A run's times. Of ``tasks`` and ``finally``, one that is not given is what the other leaves."""
    given = pipelinerun["spec"].get("timeouts") or {}

    def seconds(text: str | None) -> float | None:
        return None if text is None else parse_duration(text) / _NANO

    whole = seconds(given.get("pipeline"))
    tasks, last = seconds(given.get("tasks")), seconds(given.get("finally"))
    if tasks is None and whole and last:
        tasks = whole - last
    elif last is None and whole and tasks:
        last = whole - tasks
    status = pipelinerun.get("status", {})
    return Times(
        pipeline=parse_duration(DEFAULT_TIMEOUT) / _NANO if whole is None else whole,
        tasks=tasks,
        finally_=last,
        began=parse_time(status.get("startTime")),
        finally_began=parse_time(status.get("finallyStartTime")),
        now=now,
    )


def shown(seconds: float) -> str:
    """A time limit as Go prints it: ``1h0m0s``."""
    return format_duration(int(seconds * _NANO))
