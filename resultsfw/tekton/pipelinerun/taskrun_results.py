"""Read the results of a run's children, each child as a whole only when one of its results is named."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Protocol

from resultsfw.cluster import Kind, Object
from resultsfw.errors import ConflictError, NotFoundError
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import CUSTOMRUNS, TASKRUNS
from resultsfw.tekton.pipelinerun.children import Children
from resultsfw.tekton.pipelinerun.matrix_results import aggregate_results
from resultsfw.tekton.pipelinerun.readable import refuse_unreadable
from resultsfw.types import Value
from resultsfw.values import array_of

__all__ = ["ChildReader", "ReadWhole", "TaskRunResults", "WholeChildren", "results_of"]

ReadWhole = Callable[[Kind, Object], Object]
"""From a kind and a child of it, which the cache may have trimmed, to the child with its results."""


def results_of(child: Object, kind: Kind = TASKRUNS, *, as_texts: bool = False) -> dict[str, Value]:
    """Return a child's results by name.

    Args:
        child: A run that has ended.
        kind: Of the child. The results of a CustomRun are texts; a JSON list of texts, not empty, is an array
            (Tekton's ``paramValueFromCustomRunResult``).
        as_texts: Return such a list as the string that it is.
    """
    results = (child.get("status") or {}).get("results") or ()
    known = {result["name"]: result["value"] for result in results}
    if kind == CUSTOMRUNS and not as_texts:
        return {name: array_of(value) or value for name, value in known.items()}
    return known


class TaskRunResults(Mapping[str, Mapping[str, Value]]):
    """Results by Pipeline Task and name.

    Args:
        runs: Children of Pipeline Tasks, by Pipeline Task.
        kinds: Of the children, by Pipeline Task.
        read_whole: Returns one of them with its results, which the cache may have left out.
        has_ended: Says whether a Pipeline Task has ended; others have no results yet.
        matrixed: Pipeline Tasks with a matrix: their results are arrays of those of their children.
        as_texts: See `results_of`.
    """

    def __init__(
        self,
        runs: Mapping[str, Children],
        kinds: Mapping[str, Kind],
        read_whole: ReadWhole,
        has_ended: Callable[[str], bool],
        matrixed: Collection[str] = (),
        *,
        as_texts: bool = False,
    ) -> None:
        self._runs = runs
        self._kinds = kinds
        self._read_whole = read_whole
        self._has_ended = has_ended
        self._matrixed = matrixed
        self._as_texts = as_texts
        self._known: dict[str, dict[str, Value]] = {}

    def __getitem__(self, name: str) -> dict[str, Value]:
        if name not in self._known:
            if not self._has_ended(name):
                raise KeyError(name)
            kind, is_matrixed = self._kinds[name], name in self._matrixed
            as_texts = self._as_texts or is_matrixed  # an array holds no arrays
            results = {
                child["metadata"]["name"]: results_of(self._read_whole(kind, child), kind, as_texts=as_texts)
                for child in self._runs[name]
            }
            if is_matrixed:
                self._known[name] = aggregate_results(results)
            else:
                (self._known[name],) = results.values()
        return self._known[name]

    def as_texts(self) -> "TaskRunResults":
        """Return the same results with those of CustomRuns as the texts that they are."""
        return TaskRunResults(
            self._runs, self._kinds, self._read_whole, self._has_ended, self._matrixed, as_texts=True
        )

    def __iter__(self) -> Iterator[str]:
        return filter(self._has_ended, self._runs)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class ChildReader(Protocol):
    """Reads finished children whose results a cache leaves out to save memory."""

    def is_complete(self, kind: Kind, child: Object) -> bool:
        """Return whether a child from the cache has all results that it has on the API server."""
        ...

    def read(self, kind: Kind, child: Object) -> Object:
        """Return the child from the API server. Raises ClusterError."""
        ...


class WholeChildren:
    """Reads children that have ended as a whole; one reconcile asks for each of them once.

    Args:
        reader: Reads what the cache leaves out; ``None`` where it leaves out nothing.
    """

    def __init__(self, reader: ChildReader | None) -> None:
        self._reader = reader
        self._known: dict[tuple[Kind, str], Object] = {}

    def with_results(self, kind: Kind, child: Object) -> Object:
        """Return a child with all its results.

        Raises:
            ClusterError: As `get`.
        """
        if self._reader is None or self._reader.is_complete(kind, child):
            return child
        return self.get(kind, child)

    def get(self, kind: Kind, child: Object) -> Object:
        """Return a child with all that the API server has of it.

        Raises:
            RefusedRun: It cannot be read.
            ConflictError: It was deleted or created again meanwhile: reconcile again, from what is there now.
            ClusterError: It could not be read.
        """
        if self._reader is None:
            return child
        name, found = child["metadata"]["name"], None
        if (kind, name) in self._known:
            return self._known[kind, name]
        with contextlib.suppress(NotFoundError):
            found = self._reader.read(kind, child)
            refuse_unreadable(kind, found)
        if (
            found is None
            or found["metadata"].get("uid") != child["metadata"].get("uid")
            or not is_done(found)
        ):
            raise ConflictError("it went, or was made anew, meanwhile", subject=name)
        self._known[kind, name] = found
        return found
