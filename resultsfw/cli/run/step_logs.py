"""Find the Step that failed and show its log: all of a short one, the beginning and the end of a long one."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from resultsfw.cli.output import show
from resultsfw.cluster import Object
from resultsfw.errors import ClusterError
from resultsfw.local.container_paths import show_paths
from resultsfw.local.engine import Engine

__all__ = ["FailedStep", "failed_step", "log_lines"]

_FULL: Final = (5, 14)
"""The first and the last lines that are shown of a long log; one line more is shown whole."""
_BRIEF: Final = (1, 2)
"""The same where the Step's own result says why it failed."""
_LINE: Final = 400
"""Characters of a line that are shown."""
_HEAD_BYTES: Final = 16_384
_TAIL_BYTES: Final = 65_536
_PIECE: Final = 1_048_576

_HARMLESS: Final = frozenset({"Continued", "Skipped"})
"""``terminationReason`` of Steps with an exit code that did not fail the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedStep:
    """The Step of a TaskRun that failed first.

    Attributes:
        name: Of the Step.
        log: The file with its log.
        paths: The path in its container that each folder of this machine stands in for.
    """

    name: str
    log: Path
    paths: Mapping[str, str]


def failed_step(engine: Engine, taskrun: Object) -> FailedStep | None:
    """Return the first Step for whose end a TaskRun failed; ``None`` if no Step's end failed it."""
    status = taskrun.get("status") or {}
    if show.verdict_of(taskrun).succeeded:
        return None
    for step in status.get("steps") or ():
        if not step.get("terminated", {}).get("exitCode") or step.get("terminationReason") in _HARMLESS:
            continue
        place = (taskrun["metadata"]["namespace"], status["podName"], step["container"])
        try:
            log = engine.store.log_path(*place)
        except ClusterError:
            return None
        return FailedStep(name=step["name"], log=log, paths=engine.kubelet.container_paths(*place))
    return None


def log_lines(step: FailedStep, *, kept: bool, brief: bool = False) -> list[str]:
    """Return the lines to show of a failed Step's log; empty if it wrote none, or the log is gone.

    Args:
        step: The Step.
        kept: Whether the file stays when the command has ended.
        brief: Show few lines: the log does not say why the Step failed.
    """
    try:
        with step.log.open("rb") as log:
            first, last, between = _ends(log, step.log.stat().st_size, _BRIEF if brief else _FULL)
    except OSError:
        return []
    if not first:
        return []
    shown = [_shortened(line, step.paths) for line in first]
    if between:
        where = f"all of them are in {step.log}" if kept else "--logs shows them, --keep keeps them"
        shown.append(f"... {between:,} {'line' if between == 1 else 'lines'} left out: {where}")
    return [*shown, *(_shortened(line, step.paths) for line in last)]


def _ends(log: BinaryIO, size: int, most: tuple[int, int]) -> tuple[Sequence[bytes], Sequence[bytes], int]:
    """Return the first and the last lines of a log, and how many lines are between them."""
    head = log.read(_HEAD_BYTES)
    first = _lines(head)
    if size <= _HEAD_BYTES:
        count, last = len(first), first
    else:
        log.seek(0)
        count = sum(piece.count(b"\n") for piece in _pieces(log))
        log.seek(size - min(size, _TAIL_BYTES))
        tail = log.read(_TAIL_BYTES)
        count += not tail.endswith(b"\n")
        last = _lines(tail)
    if count <= sum(most) + 1 and size <= _HEAD_BYTES:
        return first, (), 0
    first = first[: most[0]]
    last = last[-min(most[1], count - len(first)) :] if count > len(first) else []
    return first, last, count - len(first) - len(last)


def _pieces(log: BinaryIO) -> Iterator[bytes]:
    while piece := log.read(_PIECE):
        yield piece


def _lines(data: bytes) -> list[bytes]:
    lines = data.split(b"\n")
    return lines[:-1] if lines[-1] == b"" else lines


def _shortened(line: bytes, paths: Mapping[str, str]) -> str:
    text = show.plain(show_paths(line.decode("utf-8", "replace"), paths))
    return text if len(text) <= _LINE else f"{text[:_LINE]} ... (line cut)"
