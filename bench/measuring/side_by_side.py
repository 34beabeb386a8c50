"""Writes the section with every backend in one table, from the records of `bench/backends.py`."""

import statistics
from collections.abc import Sequence
from typing import Any, Final

from measuring.records import Record

PLACE: Final = "backends"
"""What such a record has in place of a cluster or an engine."""
LARGE: Final = 100_000_000
"""Bytes above which one round is enough."""
_BY_VALUE: Final = (1_000, 100_000, 1_000_000)
_ALL: Final = (*_BY_VALUE, 200_000_000)
SIZES: Final = {
    "termination-message": (1_000,),
    "sidecar-logs": _BY_VALUE,
    "sidecar-logs, compress": _BY_VALUE,
    "config-map": _BY_VALUE,
    "custom-resource": _BY_VALUE,
    "self-update": _BY_VALUE,
    "http, SQLite": _BY_VALUE,
    "pvc": _ALL,
    "oci": _ALL,
    "object-store, S3": _ALL,
    "object-store, S3, encryption": _ALL,
}
"""Bytes of a result by configuration: its backend, and what is set, in the order of the table."""

_TEXT: Final = """\
## All backends, side by side

One TaskRun after another on a real cluster, each with one result: numbers as text. Runs by value end at 1 MB;
200 MB go by reference. Where a backend can do both, 1,000 bytes go by value unless it encrypts. "Last Step to
status" is the time from the Step's last command to the verdict, with the kubelet's own share: the median (the
largest) of up to three rounds. **Other work ran on the machine**, so times are upper bounds, and differences
of a second mean nothing; memory and counts do not depend on it. Memory is the peak resident set in any round.
Requests are the controller's for objects of the run's namespace, from the run's creation until a second after
its verdict, without watches and Events. "Carried" is what carries the value outside `status.results`: a
message or log, the object with its metadata, stored files; the most of any round, as a store keeps equal
bytes once. `termination-message` refuses more than 4,096 bytes.
"""
_HEAD: Final = (
    *("backend", "bytes", "delivered by", "last Step to status, s", "sidecar, MB", "controller, MB"),
    *("requests", "carried, bytes"),
)


def section(found: Sequence[Record]) -> list[str]:
    """Return the section; nothing without a record."""
    rounds = [figures for record in found if record.place == PLACE for figures in record.rounds]
    if not rounds:
        return []
    cases: dict[tuple[str, int], list[dict[str, Any]]] = {
        (name, size): [] for name, sizes in SIZES.items() for size in sizes
    }
    for figures in rounds:
        cases[figures["name"], figures["bytes"]].append(figures)
    rule = "|---|--:|---|" + "--:|" * (len(_HEAD) - 3)
    lines = [_row(name, size, group) for (name, size), group in cases.items() if group]
    return [_TEXT, "\n".join([_line(_HEAD), rule, *map(_line, lines)])]


def _row(name: str, size: int, rounds: Sequence[dict[str, Any]]) -> Sequence[str]:
    seconds = [figures["status_s"] for figures in rounds]
    took = f"{statistics.median(seconds):.2f}"
    if len(seconds) > 1:
        took += f" ({max(seconds):.2f})"
    sidecar = max(figures["sidecar_mb"] for figures in rounds)
    return (
        *(name, f"{size:,}", rounds[0]["delivery"], took, f"{sidecar:.0f}" if sidecar else "-"),
        f"{max(figures['controller_mb'] for figures in rounds):.0f}",
        f"{statistics.median(figures['requests'] for figures in rounds):.0f}",
        f"{max(figures['carried'] for figures in rounds):,}",
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
