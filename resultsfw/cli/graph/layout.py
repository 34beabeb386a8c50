"""Place boxes in columns, and the lines between them so that no line crosses a box."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

__all__ = ["Box", "Layout", "Link", "Point", "place"]

_MARGIN: Final = 11
"""Above and below a box, in pixels."""
_LANE: Final = 10
"""Height of a line that passes a column, with its margins, in pixels."""
_SWEEPS: Final = 3

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A box to be placed.

    Attributes:
        column: From 0, left to right.
        width: In pixels.
        height: In pixels.
        entry: Where lines arrive at its left side, in pixels below its top.
    """

    column: int
    width: float
    height: float
    entry: float


@dataclass(frozen=True, slots=True)
class Link:
    """A line to be placed, from one box to another in a column further to the right.

    Attributes:
        source: The name of the box where it begins.
        target: The name of the box where it ends.
        leave: Where it leaves the right side of the source, in pixels below its top.
    """

    source: str
    target: str
    leave: float


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything is, in pixels from the upper left corner.

    Attributes:
        corners: The upper left corner of each box.
        widths: The width of each column: that of its widest box, and of all others in it.
        lanes: For each pair of boxes with columns between them, the points at which a line enters and leaves
            those columns; lines between the same boxes share them.
        columns: The left side of each column.
        right: The right side of everything.
        bottom: The bottom of everything.
    """

    corners: Mapping[str, Point]
    widths: Sequence[float]
    lanes: Mapping[tuple[str, str], Sequence[tuple[Point, Point]]]
    columns: Sequence[float]
    right: float
    bottom: float


@dataclass(slots=True)
class _Item:
    """A box, or the part of a line that passes a column."""

    height: float
    entry: float
    margin: float
    sources: list[tuple["_Item", float]]
    targets: list["_Item"]
    top: float = 0
    rank: float = 0


def place(boxes: Mapping[str, Box], links: Sequence[Link], gaps: Sequence[float], origin: Point) -> Layout:
    """Return the layout: boxes in their columns, each beside the boxes where its lines begin.

    Args:
        boxes: By name, in their order from top to bottom where nothing else decides it.
        links: The lines between them.
        gaps: The space left of each column, in pixels.
        origin: The upper left corner of everything.
    """
    count = 1 + max((box.column for box in boxes.values()), default=-1)
    columns: list[list[_Item]] = [[] for _ in range(count)]
    items: dict[str, _Item] = {}
    for name, box in boxes.items():
        items[name] = _Item(box.height, box.entry, _MARGIN, [], [])
        columns[box.column].append(items[name])
    passing: dict[tuple[str, str], list[_Item]] = {}
    for link in links:
        chain = passing.get((link.source, link.target))
        if chain is None:
            span = range(boxes[link.source].column + 1, boxes[link.target].column)
            chain = passing[link.source, link.target] = []
            for column in span:
                chain.append(_Item(_LANE, _LANE / 2, 0, [], []))
                columns[column].append(chain[-1])
            _join([*chain, items[link.target]])
        first = (chain or [items[link.target]])[0]
        first.sources.append((items[link.source], link.leave))
        items[link.source].targets.append(first)
    _sort(columns)
    bottom = _stack(columns, origin[1])
    widths = [
        max((box.width for box in boxes.values() if box.column == column), default=0)
        for column in range(count)
    ]
    lefts, x = [], origin[0]
    for gap, width in zip(gaps, widths, strict=True):
        x += gap
        lefts.append(x)
        x += width
    return Layout(
        corners={name: (lefts[box.column], items[name].top) for name, box in boxes.items()},
        widths=widths,
        lanes={
            pair: [
                (
                    (lefts[column], item.top + item.entry),
                    (lefts[column] + widths[column], item.top + item.entry),
                )
                for column, item in enumerate(chain, boxes[pair[0]].column + 1)
            ]
            for pair, chain in passing.items()
        },
        columns=lefts,
        right=x,
        bottom=bottom,
    )


def _join(chain: Sequence[_Item]) -> None:
    for left, right in pairwise(chain):
        right.sources.append((left, left.entry))
        left.targets.append(right)


def _sort(columns: Sequence[list[_Item]]) -> None:
    """Sort each column so that few lines cross: by the mean rank of what its items are joined to."""
    for column in columns:
        _rank(column)
    for sweep in range(_SWEEPS):
        rightwards = sweep % 2 == 0
        for column in columns if rightwards else reversed(columns):
            for item in column:
                ranks = (
                    [source.rank + leave / (source.height + 1) for source, leave in item.sources]
                    if rightwards
                    else [target.rank for target in item.targets]
                )
                if ranks:
                    item.rank = sum(ranks) / len(ranks)
            column.sort(key=lambda item: item.rank)
            _rank(column)


def _rank(column: Sequence[_Item]) -> None:
    for index, item in enumerate(column):
        item.rank = float(index)


def _stack(columns: Sequence[Sequence[_Item]], top: float) -> float:
    """Set the top of each item, level with where its lines begin if there is space; return the bottom."""
    lowest = top
    for column in columns:
        least = top
        for index, item in enumerate(column):
            least += item.margin if index else 0
            wanted = [source.top + leave - item.entry for source, leave in item.sources]
            item.top = max(least, sum(wanted) / len(wanted) if wanted else least)
            lowest = max(lowest, item.top + item.height)
            least = item.top + item.height + item.margin
    return lowest
