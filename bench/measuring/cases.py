"""What is measured in which order: cases, and which backend can have which."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from measuring.runs import STEPS, shares
from resultsfw import Capabilities, ResultsManager

SERIES = (200, 1_000, 2_500, 10_000, 100_000, 1_000_000)
"""Bytes of a TaskRun's results, together; the last Step's termination message, of 3,072, has all."""

TEKTONS = ("termination-message", "sidecar-logs")
"""What Tekton's controller knows."""

MOST = 1_572_864
"""Bytes that max-result-size may be, Tekton's and ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One round for one side.

    Attributes:
        part: ``table``, ``series``, ``scale`` or ``engine``.
        backend: The value of ``results-from``.
        bytes: Of a TaskRun's results, together.
        runs: PipelineRuns of the round, all at once.
        round: Counted from 0.
        side: Whose controller does it.
    """

    part: str
    backend: str
    bytes: int
    runs: int
    round: int
    side: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Cases that belong together: each backend with each size, so many runs, so many times."""

    name: str
    backends: Sequence[str]
    sizes: Sequence[int]
    runs: Sequence[int]
    rounds: int


def capabilities(backend: str, flags: Mapping[str, str]) -> Capabilities:
    """The backend's record of what it can carry.

    Raises:
        ResultsError: There is no such backend, or it cannot be had.
    """
    core = ResultsManager.from_flags({**flags, "results-from": backend})
    return core.backend(backend).capabilities


def can_carry(record: Capabilities, size: int, steps: int = STEPS) -> bool:
    """Whether results of so many bytes together, shared out to so many Steps, are within a record."""
    if record.run_bytes is not None and size > record.run_bytes:
        return False
    most = MOST if record.result_bytes is None else record.result_bytes
    return max(shares(size, steps)) <= most


def max_result_size(size: int) -> int:
    """The flag for it. Tekton counts the line of the log with all that is around the value."""
    return min(MOST, max(4096, max(shares(size, STEPS)) + 1024))


def plan(parts: Iterable[Part], sides: Sequence[str], records: Mapping[str, Capabilities]) -> list[Case]:
    """All cases. Sides take turns, and so do backends: what changes on the machine meets all of them."""
    return [
        Case(part=part.name, backend=backend, bytes=size, runs=runs, round=number, side=side)
        for part in parts
        for number in range(part.rounds)
        for runs in part.runs
        for size in part.sizes
        for backend in part.backends
        if can_carry(records[backend], size)
        for side in sides
        if side != "Tekton" or backend in TEKTONS
    ]


def left(cases: Iterable[Case], done: Collection[Case]) -> list[Case]:
    """Those that are still to be done."""
    return [case for case in cases if case not in done]
