"""Describe one pod of the backend under test, and what came of reading it."""

from dataclasses import dataclass, field
from typing import Any

from resultsfw.cluster import Kind, Object
from resultsfw.testing.tasks import Write
from resultsfw.types import CollectionOutcome, Problem, Run

__all__ = ["ObjectKey", "Outcome", "SamplePod"]

ObjectKey = tuple[Kind, str, str]
"""An object's kind, namespace and name."""


@dataclass(slots=True)
class SamplePod:
    """One pod of the backend under test, from before it is prepared until its results are collected.

    Attributes:
        taskrun: The TaskRun, as it is in the store.
        run: The run as the backend gets it.
        writes: What its Steps write.
        original: The pod before the backend prepared it.
        prepared: The pod as the backend and the core prepared it.
        pod: The pod as last seen.
        before: The objects that existed before the backend prepared it.
        created: The objects that the backend created to prepare it.
        kept: Names of the external data before.
        added: Names of the external data that was new when its pod had ended.
    """

    taskrun: Object
    run: Run
    writes: tuple[Write, ...]
    original: Object
    prepared: Object
    pod: Object
    before: frozenset[ObjectKey]
    created: dict[ObjectKey, Object]
    kept: frozenset[str]
    added: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """Return the pod's name."""
        return str(self.prepared["metadata"]["name"])

    @property
    def expected(self) -> dict[tuple[str | None, str], Any]:
        """Return the values that the status must contain, by Step and name."""
        return {write.origin: write.expected for write in self.writes if write.expected is not None}


@dataclass(slots=True)
class Outcome:
    """The outcome of a call, and all its messages.

    Attributes:
        collected: The outcome of the collection, if there is one.
        error: The exception raised instead.
        output: Log records, messages of errors and problems, tracebacks, sources, and what was printed.
    """

    collected: CollectionOutcome | None = None
    error: Exception | None = None
    output: list[str] = field(default_factory=list)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Return the problems of the collection, if there is one."""
        return self.collected.problems if self.collected is not None else ()

    @property
    def ok(self) -> bool:
        """Return whether the run may succeed."""
        return self.collected is not None and self.collected.ok
