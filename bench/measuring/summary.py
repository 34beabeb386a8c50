"""What many rounds come to: medians with their spread, differences, ratios."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from measuring.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A median, and what most values lie within.

    Attributes:
        median: The middle one.
        low: The least of rounds.
        high: The most of rounds; of single runs the one that 95 of 100 do not pass.
    """

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """All rounds of one case.

    Attributes:
        place: ``cluster`` or ``engine``.
        part: ``table``, ``series`` or ``scale``.
        who: The controller, with the label of its code where it is not today's.
        backend: The value of ``results-from``.
        bytes: Of a TaskRun's results, together.
        taskruns: Of a round.
        rounds: How many.
        cpu: Milliseconds a TaskRun.
        pods_cpu: The same of the engine's Steps and sidecars; ``None`` on a cluster.
        peak: Megabytes, the most of all rounds.
        start: Milliseconds from pod to first Step.
        status: Milliseconds from the last Step's end to the TaskRun's verdict.
        pipeline: Milliseconds from there to the PipelineRun's.
        wall: Seconds until all were done.
        requests: A TaskRun; ``None`` on the engine.
        wrong: What was not as it has to be.
    """

    place: str
    part: str
    who: str
    backend: str
    bytes: int
    taskruns: int
    rounds: int
    cpu: Spread
    pods_cpu: Spread | None
    peak: float
    start: Spread
    status: Spread
    pipeline: Spread
    wall: Spread
    requests: Spread | None
    wrong: tuple[str, ...]


def name_of(side: str, label: str) -> str:
    """Whose figures these are."""
    return side if label == "now" or side == "Tekton" else f"{side}, {label}"


def rows_of(found: Iterable[Record], tasks: int) -> list[Row]:
    """A row for each case, in the order of the records, today's code first, Tekton last.

    Args:
        found: The records.
        tasks: TaskRuns of a PipelineRun.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in found:
        for one in record.rounds:
            who = name_of(one["side"], record.label)
            if one["side"] == "Tekton" and record.label != "now":
                continue  # its turns beside older code: once in a page is enough
            key = (record.place, one["part"], who, one["backend"], one["bytes"], one["runs"] * tasks)
            groups.setdefault(key, []).append(one)
    rows = [_row(key, rounds) for key, rounds in groups.items()]
    return sorted(rows, key=lambda row: (row.who == "Tekton", row.who != "resultsfw"))


def pick(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Those with these attributes."""
    return [row for row in rows if all(getattr(row, key) == value for key, value in wanted.items())]


def of_rounds(values: Sequence[float]) -> Spread:
    """The least, the middle and the most of a few rounds."""
    return Spread(median=statistics.median(values), low=min(values), high=max(values))


def of_runs(values: Sequence[float]) -> Spread:
    """The least, the middle, and the one that 95 of 100 do not pass; not numbers if there are none."""
    if not values:
        return Spread(median=float("nan"), low=float("nan"), high=float("nan"))
    ordered = sorted(values)
    high = ordered[math.ceil(0.95 * len(ordered)) - 1]
    return Spread(median=statistics.median(ordered), low=ordered[0], high=high)


def _row(key: tuple[Any, ...], rounds: list[dict[str, Any]]) -> Row:
    place, part, who, backend, size, taskruns = key
    single = {
        name: of_runs([value for one in rounds for value in one[f"{name}_ms"]])
        for name in ("start", "status", "pipeline")
    }

    def maybe(name: str) -> Spread | None:
        return of_rounds([one[name] for one in rounds]) if all(name in one for one in rounds) else None

    return Row(
        place=place,
        part=part,
        who=who,
        backend=backend,
        bytes=size,
        taskruns=taskruns,
        rounds=len(rounds),
        cpu=of_rounds([one["cpu_ms"] for one in rounds]),
        pods_cpu=maybe("pods_cpu_ms"),
        peak=max(one["peak_mb"] for one in rounds),
        wall=of_rounds([one["wall_s"] for one in rounds]),
        requests=maybe("requests"),
        wrong=tuple(sorted({text for one in rounds for text in one["wrong"]})),
        **single,
    )
