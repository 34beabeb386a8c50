"""Summarizes rounds as medians with their spread."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from measuring.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A median and the range of most values.

    Attributes:
        median: The median.
        low: The minimum.
        high: The maximum of rounds; of single runs the 95th percentile.
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
        who: The controller, with the label of its code if that is not "now".
        backend: The value of ``results-from``.
        bytes: Bytes of a TaskRun's results together.
        taskruns: TaskRuns of a round.
        rounds: Number of rounds.
        cpu: Milliseconds of CPU for each TaskRun.
        pods_cpu: The same for the engine's Steps and sidecars; ``None`` on a cluster.
        peak: Peak memory of all rounds, in megabytes.
        start: Milliseconds from pod to first Step.
        status: Milliseconds from the last Step's end to the TaskRun's verdict.
        pipeline: Milliseconds from the last TaskRun's verdict to the PipelineRun's.
        wall: Seconds until all were done.
        requests: Requests for each TaskRun; ``None`` on the engine.
        wrong: Sentences on what was not as expected.
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
    """Return the name of a controller, with the label of its code if that is not "now"."""
    return side if label == "now" or side == "Tekton" else f"{side}, {label}"


def rows_of(found: Iterable[Record], tasks: int) -> list[Row]:
    """Return a row for each case, in the order of the records, present code first, Tekton last.

    Args:
        found: The records.
        tasks: TaskRuns of a PipelineRun.
    """
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for record in found:
        for figures in record.rounds:
            who = name_of(figures["side"], record.label)
            if figures["side"] == "Tekton" and record.label != "now":
                continue  # the page shows Tekton only beside the present code
            case = (figures["part"], who, figures["backend"], figures["bytes"], figures["runs"] * tasks)
            groups.setdefault((record.place, *case), []).append(figures)
    rows = [_row(key, rounds) for key, rounds in groups.items()]
    return sorted(rows, key=lambda row: (row.who == "Tekton", row.who != "resultsfw"))


def pick(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Return the rows with these attributes."""
    return [row for row in rows if all(getattr(row, key) == value for key, value in wanted.items())]


def of_rounds(values: Sequence[float]) -> Spread:
    """Return minimum, median and maximum of rounds."""
    return Spread(median=statistics.median(values), low=min(values), high=max(values))


def of_runs(values: Sequence[float]) -> Spread:
    """Return minimum, median and 95th percentile of runs; not numbers if there are none."""
    if not values:
        return Spread(median=float("nan"), low=float("nan"), high=float("nan"))
    ordered = sorted(values)
    high = ordered[math.ceil(0.95 * len(ordered)) - 1]
    return Spread(median=statistics.median(ordered), low=ordered[0], high=high)


def _row(key: tuple[Any, ...], rounds: list[dict[str, Any]]) -> Row:
    place, part, who, backend, size, taskruns = key
    single = {
        name: of_runs([value for figures in rounds for value in figures[f"{name}_ms"]])
        for name in ("start", "status", "pipeline")
    }

    def optional(name: str) -> Spread | None:
        values = [figures[name] for figures in rounds if name in figures]
        return of_rounds(values) if len(values) == len(rounds) else None

    return Row(
        place=place,
        part=part,
        who=who,
        backend=backend,
        bytes=size,
        taskruns=taskruns,
        rounds=len(rounds),
        cpu=of_rounds([figures["cpu_ms"] for figures in rounds]),
        pods_cpu=optional("pods_cpu_ms"),
        peak=max(figures["peak_mb"] for figures in rounds),
        wall=of_rounds([figures["wall_s"] for figures in rounds]),
        requests=optional("requests"),
        wrong=tuple(sorted({text for figures in rounds for text in figures["wrong"]})),
        **single,
    )
