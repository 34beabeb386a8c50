"""Read the results of a run's children, each child as a whole only when one of its results is named."""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Protocol

from resultsfw.cluster import Object
from resultsfw.errors import ConflictError, NotFoundError
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.pipelinerun.children import Children
from resultsfw.tekton.pipelinerun.matrix_results import aggregate_results
from resultsfw.types import Value

__all__ = ["TaskRunReader", "TaskRunResults", "WholeTaskRuns", "results_of"]


def results_of(child: Object) -> dict[str, Value]:
    """Return a child's results by name."""
    results = child.get("status", {}).get("results") or ()
    return {result["name"]: result["value"] for result in results}


class TaskRunResults(Mapping[str, Mapping[str, Value]]):
    """Results by Pipeline Task and name.

    Args:
        runs: Children of Pipeline Tasks, by Pipeline Task.
        read_whole: Returns one of them with its results, which the cache may have left out.
        has_ended: Says whether a Pipeline Task has ended; others have no results yet.
        matrixed: Pipeline Tasks with a matrix: their results are arrays of those of their children.
    """

    def __init__(
        self,
        runs: Mapping[str, Children],
        read_whole: Callable[[Object], Object],
        has_ended: Callable[[str], bool],
        matrixed: Collection[str] = (),
    ) -> None:
        self._runs = runs
        self._read_whole = read_whole
        self._has_ended = has_ended
        self._matrixed = matrixed
        self._known: dict[str, dict[str, Value]] = {}

    def __getitem__(self, name: str) -> dict[str, Value]:
        if name not in self._known:
            if not self._has_ended(name):
                raise KeyError(name)
            children = self._runs[name]
            results = {child["metadata"]["name"]: results_of(self._read_whole(child)) for child in children}
            if name in self._matrixed:
                self._known[name] = aggregate_results(results)
            else:
                (self._known[name],) = results.values()
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return filter(self._has_ended, self._runs)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class TaskRunReader(Protocol):
    """Reads finished TaskRuns whose results a cache leaves out to save memory."""

    def is_complete(self, taskrun: Object) -> bool:
        """Return whether a TaskRun from the cache has all results that it has on the API server."""
        ...

    def read(self, taskrun: Object) -> Object:
        """Return the TaskRun from the API server. Raises ClusterError."""
        ...


class WholeTaskRuns:
    """Reads TaskRuns that have ended as a whole; one reconcile asks for each of them once.

    Args:
        reader: Reads what the cache leaves out; ``None`` where it leaves out nothing.
    """

    def __init__(self, reader: TaskRunReader | None) -> None:
        self._reader = reader
        self._known: dict[str, Object] = {}

    def with_results(self, taskrun: Object) -> Object:
        """Return a TaskRun with all its results.

        Raises:
            ClusterError: As `get`.
        """
        if self._reader is None or self._reader.is_complete(taskrun):
            return taskrun
        return self.get(taskrun)

    def get(self, taskrun: Object) -> Object:
        """Return a TaskRun with all that the API server has of it.

        Raises:
            ConflictError: It was deleted or created again meanwhile: reconcile again, from what is there now.
            ClusterError: It could not be read.
        """
        if self._reader is None:
            return taskrun
        name, found = taskrun["metadata"]["name"], None
        if name in self._known:
            return self._known[name]
        with contextlib.suppress(NotFoundError):
            found = self._reader.read(taskrun)
        if (
            found is None
            or found["metadata"].get("uid") != taskrun["metadata"].get("uid")
            or not is_done(found)
        ):
            raise ConflictError("it went, or was made anew, meanwhile", subject=name)
        self._known[name] = found
        return found
