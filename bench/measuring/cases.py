"""Plans the cases to measure: their order, and which backend can carry which size."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from measuring.runs import STEPS, shares
from resultsfw import Capabilities, ResultsManager

SERIES = (200, 1_000, 2_500, 10_000, 100_000, 1_000_000)
"""Bytes of a TaskRun's results together; the last Step's termination message, of 3,072 bytes, has all."""

TEKTONS = ("termination-message", "sidecar-logs")
"""Backends of Tekton's controller."""

MOST = 1_572_864
"""Greatest value of max-result-size, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One round of one controller.

    Attributes:
        part: ``table``, ``series``, ``scale`` or ``engine``.
        backend: The value of ``results-from``.
        bytes: Bytes of a TaskRun's results together.
        runs: Number of PipelineRuns, which run at once.
        round: Number of the round, from 0.
        side: The controller, "resultsfw" or "Tekton".
    """

    part: str
    backend: str
    bytes: int
    runs: int
    round: int
    side: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Cases that belong together: every combination of backend, size and number of runs, in each round."""

    name: str
    backends: Sequence[str]
    sizes: Sequence[int]
    runs: Sequence[int]
    rounds: int


def capabilities(backend: str, flags: Mapping[str, str]) -> Capabilities:
    """Return the capabilities of a backend.

    Raises:
        ResultsError: There is no such backend, or it cannot be loaded.
    """
    core = ResultsManager.from_flags({**flags, "results-from": backend})
    return core.backend(backend).capabilities


def can_carry(record: Capabilities, size: int, steps: int = STEPS) -> bool:
    """Return whether a backend can carry results of this size together, shared by this number of Steps."""
    if record.run_bytes is not None and size > record.run_bytes:
        return False
    most = MOST if record.result_bytes is None else record.result_bytes
    return max(shares(size, steps)) <= most


def max_result_size(size: int) -> int:
    """Return the flag's value for a size. Tekton counts the whole line of the log, not only the value."""
    return min(MOST, max(4096, max(shares(size, STEPS)) + 1024))


def plan(parts: Iterable[Part], sides: Sequence[str], records: Mapping[str, Capabilities]) -> list[Case]:
    """Return all cases. Controllers and backends take turns, so the machine affects all of them alike."""
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
    """Return the cases that are not done."""
    return [case for case in cases if case not in done]
