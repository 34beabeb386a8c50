"""Print tables that fit into a terminal: only the last column is wrapped."""

import textwrap
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

__all__ = ["INDENT", "columns"]

INDENT: Final = "  "

_READABLE: Final = 32
"""Columns of a terminal that the last column of a table needs to be read."""


def columns(
    width: int, head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Collection[int] = ()
) -> Iterator[Text]:
    """Yield the lines of a table; only the last column is wrapped to the width.

    A row whose other cells leave it too little space has its last cell on lines of its own. So has each row,
    if that is so for most of them.

    Args:
        width: Width of all columns together, with the indent.
        head: Names of the columns.
        rows: Texts of the cells, without control characters.
        right: Indexes of the columns that are aligned to the right.
    """
    widths = _widths(width, [head, *rows])
    used = sum(widths[:-1]) + len(INDENT) * len(widths)
    all_below = width - used < min(_READABLE, widths[-1])
    hanging = 2 * len(INDENT) if all_below else used
    for index, row in enumerate([head, *rows]):
        cells = [
            cell.rjust(size) if place in right else _padded(cell, size)
            for place, (cell, size) in enumerate(zip(row[:-1], widths, strict=False))
        ]
        line = INDENT + INDENT.join(cells)
        below = all_below or cell_len(line) + len(INDENT) > used
        last = _wrapped(row[-1], width - hanging)
        if not below:
            line += INDENT + f"\n{' ' * hanging}".join(last)
        elif index and row[-1]:
            line = "\n".join([line.rstrip(), *(" " * hanging + part for part in last)])
        yield Text(line.rstrip(), style="dim" if index == 0 else "")


def _widths(width: int, rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the widths of the columns; the one before the last may be too narrow for a few of its cells."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lacking = min(_READABLE, widths[-1]) - (width - sum(widths[:-1]) - len(INDENT) * len(widths))
    if lacking > 0 and len(widths) > 1:
        sizes = [cell_len(row[-2]) for row in rows]
        fitting = [size for size in sizes if size <= widths[-2] - lacking]
        if sizes[0] in fitting and 2 * len(fitting) > len(sizes):
            widths[-2] = max(fitting)
    return widths


def _padded(cell: str, size: int) -> str:
    return cell if cell_len(cell) > size else set_cell_size(cell, size)


def _wrapped(cell: str, width: int) -> list[str]:
    if cell_len(cell) <= width:
        return [cell]
    return textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False)
