"""Writes the section about large results, from the records of `bench/large_results.py`."""

from collections.abc import Sequence
from typing import Final

from measuring.records import Record

PLACE: Final = "large"
"""What such a record has in place of a cluster or an engine."""

_TEXT: Final = """\
## Large results, by reference

Whole runs on the local engine, each through a store on the same machine: from the last byte that the Step
wrote to the reference in the status, and from there to a verified file (`resultsfw value`). Memory is the
peak of the sidecar, and of the process that reads. The stores are a folder, a real S3 server (SeaweedFS), a
claim that the reader mounts, and a real container registry (`docker-registry`). Where other work runs, times
are many times as long: compare memory, and times within the table.
"""
_HEAD: Final = ("backend", "store", "MB", "to the status, s", "sidecar, MB", "to a file, s", "reader, MB")


def section(found: Sequence[Record]) -> list[str]:
    """Return the section; nothing without a record."""
    rounds = [figures for record in found if record.place == PLACE for figures in record.rounds]
    lines = [
        (
            *(figures["backend"], figures["store"], f"{figures['bytes'] / 1e6:,.0f}"),
            *(f"{figures['status_s']:.2f}", f"{figures['sidecar_mb']:.0f}"),
            *(f"{figures['file_s']:.2f}", f"{figures['reader_mb']:.0f}"),
        )
        for figures in rounds
    ]
    if not lines:
        return []
    rule = "|---|---|" + "--:|" * (len(_HEAD) - 2)
    return [_TEXT, "\n".join([_row(_HEAD), rule, *map(_row, lines)])]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
