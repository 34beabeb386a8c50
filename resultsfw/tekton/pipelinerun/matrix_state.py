"""Compute the combinations of a run's matrices, their lengths, and whether one is empty."""

from collections.abc import Callable, Mapping
from typing import Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.refusals import USER_ERROR, RefusedRun
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.children import Children
from resultsfw.tekton.pipelinerun.matrix import (
    Combination,
    MatrixError,
    combinations_of,
    has_empty_array,
    is_matrixed,
    matrix_params,
    mistyped_param,
    most_combinations,
)
from resultsfw.tekton.pipelinerun.matrix_results import length_of, parse_length
from resultsfw.tekton.pipelinerun.result_refs import Results, ResultUnread
from resultsfw.tekton.spec.expansion import TooLargeError
from resultsfw.tekton.spec.variables import contains_variable

__all__ = ["Matrices"]

_ALONE: Final[tuple[Combination, ...]] = ({},)
"""Without a matrix a Pipeline Task has one child, with no params but its own."""


class Matrices:
    """The matrices of one run at one time.

    Args:
        tasks: Every Pipeline Task by name.
        matrix_of: Returns a Task's matrix with the results in it that are there; raises `ResultUnread` or
            `TooLargeError`.
        limit: The most combinations of one matrix.
        pipeline: ``NAMESPACE/NAME`` of the Pipeline.
    """

    def __init__(
        self, tasks: Mapping[str, Object], matrix_of: Callable[[str], Object], *, limit: int, pipeline: str
    ) -> None:
        self._tasks = tasks
        self._matrix_of = matrix_of
        self._limit = limit
        self._pipeline = pipeline
        self._known: dict[str, tuple[Combination, ...]] = {}
        self.names = frozenset(name for name, task in tasks.items() if is_matrixed(task))
        """The Pipeline Tasks with a matrix."""

    def combinations(self, name: str) -> tuple[Combination, ...]:
        """Return the combinations of a Task whose results are all there: one for each of its children.

        Raises:
            RefusedRun: The matrix has values of the wrong type, or too many combinations.
            ResultUnread: The value of a result by reference is needed, and cannot be read.
            TooLargeError: The texts would be larger than one object can be.
        """
        if name not in self.names:
            return _ALONE
        if name not in self._known:
            matrix = self._matrix_of(name)
            if why := mistyped_param(matrix, name):
                raise RefusedRun(
                    reasons.INVALID_MATRIX,
                    f'{USER_ERROR}Failed to validate matrix "{name}" with error {why}',
                )
            try:
                self._known[name] = combinations_of(matrix, self._limit)
            except MatrixError as error:
                raise RefusedRun(
                    reasons.INVALID,
                    f"{USER_ERROR}Pipeline {self._pipeline} can't be Run; it has an invalid spec: "
                    f'{error.message}: the matrix of task "{name}"',
                ) from error
        return self._known[name]

    def most_children(self, name: str) -> int:
        """Return how many children a Task may have at most, without building its combinations."""
        if name not in self.names:
            return 1
        try:
            return max(1, most_combinations(self._matrix_of(name)))
        except (ResultUnread, TooLargeError):
            return 1

    def is_empty(self, name: str) -> bool:
        """Return whether an array of a Task's matrix is empty; what cannot be read is no empty array."""
        if name not in self.names:
            return False
        try:
            return has_empty_array(self._matrix_of(name))
        except (ResultUnread, TooLargeError):
            return False

    def lacks_children(self, name: str, children: Children) -> bool:
        """Return whether a Task was begun and has fewer children than combinations.

        A matrix whose values cannot be read any more has all it will ever have.
        """
        if not children or name not in self.names:
            return False
        try:
            return len(children) < len(self.combinations(name))
        except (RefusedRun, ResultUnread, TooLargeError):
            return False

    def length(self, variable: str, runs: Mapping[str, Children], results: Results) -> str | None:
        """Return what ``tasks.TASK.matrix.length`` or ``tasks.TASK.matrix.RESULT.length`` stands for.

        Args:
            variable: Its name.
            runs: The children by Pipeline Task.
            results: Of the Tasks that have ended.
        """
        asked = parse_length(variable)
        if asked is None or asked.task not in self.names:
            return None
        if asked.result:
            return str(length_of(results.get(asked.task, {}).get(asked.result)))
        if asked.task in runs:
            return str(len(runs[asked.task]))
        return str(self._planned(asked.task))

    def _planned(self, name: str) -> int:
        """Return how many combinations a Task would have that has not begun, as far as its own text says."""
        matrix = self._tasks[name]["matrix"]
        if any(contains_variable(param.get("value")) for param in matrix_params(matrix)):
            return 0
        return len(self.combinations(name))
