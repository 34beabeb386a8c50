"""Draws plots of measurements as SVG; the same figures give the same files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from measuring.summary import Row, pick

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.hashsalt": "resultsfw",  # else the names of parts are new each time
        "svg.fonttype": "none",  # text as text: small, and searched
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "legend.frameon": False,
    }
)

_COLOURS = {"resultsfw": "#0072b2", "Tekton": "#d55e00"}
_OTHERS = "#56b4e9"
_STYLES = ("-", "--", ":", "-.")


def draw(rows: Sequence[Row], folder: Path) -> dict[str, str]:
    """Draw all plots for which there are rows.

    Args:
        rows: What the records come to.
        folder: Where the files go.

    Returns:
        A plot's name to its file, relative to the folder's parent.
    """
    drawn: dict[str, Figure] = {}
    for place in ("cluster", "engine"):
        here = pick(rows, place=place)
        if found := pick(here, part="table"):
            labels = _in_order(row.backend for row in found)
            drawn[f"{place}-table"] = _pair(found, labels, "backend")
        if found := pick(here, part="series"):
            drawn[f"{place}-cpu"] = _lines(found, "cpu", "CPU a TaskRun, ms")
            drawn[f"{place}-status"] = _lines(found, "status", "last Step to status, ms")
        if found := pick(here, part="scale"):
            drawn[f"{place}-scale"] = _pair(found, sorted({row.taskruns for row in found}), "taskruns")
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})
    return {name: f"{folder.name}/{name}.svg" for name in drawn}


def _figure(width: float) -> Figure:
    return Figure(figsize=(width, 2.8), layout="constrained", facecolor="white")


def _pair(rows: Sequence[Row], groups: Sequence[str | int], key: str) -> Figure:
    """Draw CPU and memory side by side, with a group of bars for each value of an attribute."""
    figure = _figure(8)
    left, right = figure.subplots(1, 2)
    _bars(left, rows, groups, key, cpu=True)
    _bars(right, rows, groups, key, cpu=False)
    left.set_ylabel("CPU a TaskRun, ms")
    right.set_ylabel("peak memory, MB")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def _bars(axes: Axes, rows: Sequence[Row], groups: Sequence[str | int], key: str, *, cpu: bool) -> None:
    whose = _in_order(row.who for row in rows)
    width = 0.8 / len(whose)
    for index, who in enumerate(whose):
        # Groups that one cannot do stay free.
        found = [(place, pick(rows, who=who, **{key: group})) for place, group in enumerate(groups)]
        there = [(place, mine[0]) for place, mine in found if mine]
        heights = [row.cpu.median if cpu else row.peak for _, row in there]
        places = [place + (index - (len(whose) - 1) / 2) * width for place, _ in there]
        spread = [
            [max(0.0, row.cpu.median - row.cpu.low) for _, row in there],
            [max(0.0, row.cpu.high - row.cpu.median) for _, row in there],
        ]
        bars = axes.bar(
            places,
            heights,
            width * 0.95,
            color=_COLOURS.get(who, _OTHERS),
            label=who,
            yerr=spread if cpu and any(row.rounds > 1 for _, row in there) else None,
            ecolor="#444",
        )
        axes.bar_label(bars, fmt="%.0f", label_type="center", color="white", fontsize=8)
    suffix = " TaskRuns" if key == "taskruns" else ""
    axes.set_xticks(range(len(groups)), [f"{group}{suffix}" for group in groups])


def _lines(rows: Sequence[Row], attribute: str, label: str) -> Figure:
    """Draw a line for each controller (colour) and backend (stroke)."""
    figure = _figure(8)
    axes = figure.subplots()
    whose = _in_order(row.who for row in rows)
    for stroke, name in zip(_STYLES * 3, _in_order(row.backend for row in rows), strict=False):
        for who in whose:
            mine = sorted(pick(rows, who=who, backend=name), key=lambda row: row.bytes)
            points = [getattr(row, attribute).median for row in mine]
            axes.plot(
                [row.bytes for row in mine],
                points,
                stroke,
                color=_COLOURS.get(who, _OTHERS),
                marker="o",
                markersize=3,
                label=f"{who}, {name}",
            )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("bytes of a TaskRun's results")
    axes.set_ylabel(label)
    figure.legend(loc="outside right upper", fontsize=8)
    return figure


def _in_order(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
