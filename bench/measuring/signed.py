"""Writes the section about signed results, from the records of `bench/signed.py`."""

import statistics
from collections.abc import Sequence
from typing import Any, Final

from measuring.records import Record

PLACE: Final = "signed"
"""What such a record has in place of a cluster or an engine."""

_TEXT: Final = """\
## Signed results

Pairs of TaskRuns on a real cluster with SPIRE 1.13 in its default configuration, one signed and one not, by
two controllers in alternating order: the medians of unsigned and signed runs, and the median of the
differences within pairs (the smallest to the largest). Certificates are of P-256, with two intermediates; the
controller makes the entries. With `termination-message`, a container of its own signs. A Step that lasts 10
seconds gives the entry time to arrive; if a Step ends at once, the signer waits for it. **Other work ran on
the machine**: compare within a row. The container's CPU is mostly the import of its libraries, in the
background. The controller's includes 3.3 ms for each second that a run lasts: its open stream to the agent
needs them (`grpcio` looks ten times a second), even if nothing runs.
"""
_HEAD: Final = ("backend", "results", "Step, s", "pairs", "figure", "unsigned", "signed", "more")
_FIGURES: Final = {
    "start_s": ("pod to first Step, s", 1),
    "status_s": ("last command to status, s", 1),
    "sidecar_cpu_ms": ("CPU of the signing container, ms", 0),
    "sidecar_mb": ("its memory, MB", 0),
    "controller_cpu_ms": ("CPU of the controller, ms", 0),
    "envelope": ("record with the envelope, bytes", 0),
    "annotations": ("annotations of the status, bytes", 0),
}
_BYTES: Final = ("envelope", "annotations")
"""Figures that no load of the machine changes; of few pairs these alone are shown."""
_FEW: Final = 5


def section(found: Sequence[Record]) -> list[str]:
    """Return the section; nothing without a record."""
    cases: dict[tuple[str, int, float], list[dict[str, Any]]] = {}
    for record in found:
        for pair in record.rounds if record.place == PLACE else ():
            cases.setdefault((pair["backend"], pair["results"], pair["seconds"]), []).append(pair)
    if not cases:
        return []
    rule = "|---|--:|--:|--:|---|" + "--:|" * 3
    lines = [line for case, pairs in cases.items() for line in _lines(case, pairs)]
    return [_TEXT, "\n".join([_line(_HEAD), rule, *map(_line, lines)])]


def _lines(case: tuple[str, int, float], pairs: Sequence[dict[str, Any]]) -> list[Sequence[str]]:
    backend, results, seconds = case
    first = (backend, str(results), f"{seconds:g}", str(len(pairs)))
    return [
        (*first, words, *compare(key, digits, pairs))
        for key, (words, digits) in _FIGURES.items()
        if len(pairs) >= _FEW or key in _BYTES
    ]


def compare(key: str, digits: int, pairs: Sequence[dict[str, Any]]) -> tuple[str, str, str]:
    """Return a figure of unsigned runs, of signed ones, and the difference with its range."""
    unsigned, signed = ([pair[side][key] for pair in pairs] for side in ("unsigned", "signed"))
    more = [after - before for before, after in zip(unsigned, signed, strict=True)]
    spread = f"{min(more):+,.{digits}f} to {max(more):+,.{digits}f}"
    return (
        f"{statistics.median(unsigned):,.{digits}f}",
        f"{statistics.median(signed):,.{digits}f}",
        f"{statistics.median(more):+,.{digits}f} ({spread})",
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
