"""Expand the matrix of a Pipeline Task to its combinations, in Tekton's order.

Pure functions; the rules are those of Tekton's ``pkg/apis/pipeline/v1/matrix_types.go``. An element is a
text, or a reference to one (`resultsfw.references`), which no rule looks into.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.errors import ResultsError
from resultsfw.tekton.spec.params import is_reference, param_value, value_type

__all__ = [
    "Combination",
    "MatrixError",
    "combinations_of",
    "has_empty_array",
    "is_matrixed",
    "matrix_params",
    "mistyped_param",
    "most_combinations",
    "refuse_combinations",
]

_MOST_STEPS: Final = 500_000
"""Combinations times params of a matrix: what it takes to build them."""

Element = str | dict[str, str]
"""The value of a param in a combination: a text, or a reference to one."""

Combination = dict[str, Element]
"""The params that one child gets of a matrix, sorted by name."""


class MatrixError(ResultsError):
    """A matrix has more combinations than its limit; raised before they are built."""

    code = "MatrixTooLarge"


def is_matrixed(task: Object) -> bool:
    """Return whether a Pipeline Task has a matrix with something in it."""
    matrix = task.get("matrix") or {}
    return bool(matrix.get("params") or matrix.get("include"))


def matrix_params(matrix: Object | None) -> Iterator[Object]:
    """Yield all params of a matrix: those that are combined, then those of each ``include``."""
    matrix = matrix or {}
    yield from matrix.get("params") or ()
    for include in matrix.get("include") or ():
        yield from include.get("params") or ()


def has_empty_array(matrix: Object) -> bool:
    """Return whether one of the arrays to combine is empty: then the Pipeline Task is skipped."""
    return any(param.get("value") == [] for param in matrix.get("params") or ())


def mistyped_param(matrix: Object, task: str) -> str:
    """Return Tekton's message about the first param with a value of the wrong type; empty without one.

    Args:
        matrix: With all results in it.
        task: The name of the Pipeline Task.
    """
    for include in matrix.get("include") or ():
        for param in include.get("params") or ():
            if not _is_element(param.get("value")):
                return _mistyped("string", param, task)
    for param in matrix.get("params") or ():
        value = param.get("value")
        if not isinstance(value, list) or not all(map(_is_element, value)):
            return _mistyped("array", param, task)
    return ""


def refuse_combinations(matrix: Object, limit: int) -> None:
    """Refuse a matrix that has too many combinations for any values of its params.

    Raises:
        MatrixError: There are too many.
    """
    includes = matrix.get("include") or ()
    _refuse_more(_combined(matrix) if matrix.get("params") else len(includes), limit)


def most_combinations(matrix: Object) -> int:
    """Return how many combinations a matrix has at most; one param without a value yet counts as one."""
    return (_combined(matrix) if matrix.get("params") else 0) + len(matrix.get("include") or ())


def _combined(matrix: Object) -> int:
    values = [param.get("value") for param in matrix.get("params") or ()]
    return _product([len(value) for value in values if isinstance(value, list)])


def combinations_of(matrix: Object, limit: int) -> tuple[Combination, ...]:
    """Return the combinations of a matrix, in the order of the children.

    The arrays are combined, the last param varying slowest. An ``include`` adds its params to each
    combination that agrees with it; if none of its values is in any, it becomes one of its own.

    Args:
        matrix: With values of the right types (`mistyped_param`).
        limit: The most combinations.

    Raises:
        MatrixError: There are more, or building them takes too long. None was built.
    """
    params = matrix.get("params") or ()
    includes = [_combination_of(include) for include in matrix.get("include") or ()]
    count = _product([len(param["value"]) for param in params])
    if not params:
        _refuse_more(len(includes), limit)
        return tuple(includes)
    _refuse_more(count, limit)
    width = len(params) + sum(len(include) + 1 for include in includes)
    if (steps := count * width) > _MOST_STEPS:
        raise MatrixError(
            f"{count} combinations of {width} params and includes are {steps} steps, over the limit of "
            f"{_MOST_STEPS}; use fewer params or includes"
        )
    combined: list[Combination] = [{}]
    for param in params:
        combined = [{**before, param["name"]: element} for element in param["value"] for before in combined]
    known = {(param["name"], _key(element)) for param in params for element in param["value"]}
    for include in includes:
        agreeing = [combination for combination in combined if _agrees(combination, include)]
        for combination in agreeing:
            combination.update(include)
        if agreeing:
            known |= _pairs(include)
    for include in includes:
        if include and known.isdisjoint(_pairs(include)):
            combined.append(include)
            known |= _pairs(include)
    _refuse_more(len(combined), limit)
    return tuple(dict(sorted(combination.items())) for combination in combined)


def _product(lengths: Sequence[int]) -> int:
    """Return how many combinations arrays of these lengths have, at most the largest integer of Go."""
    count = 0 if 0 in lengths else 1
    for length in lengths:
        count = min(count * length, sys.maxsize)
    return count


def _refuse_more(count: int, limit: int) -> None:
    if count > limit:
        raise MatrixError(f"expected 0 <= {count} <= {limit}")


def _combination_of(include: Object) -> Combination:
    params = {param["name"]: param["value"] for param in include.get("params") or ()}
    return dict(sorted(params.items()))


def _agrees(combination: Mapping[str, Element], include: Mapping[str, Element]) -> bool:
    """Return whether all params that both have are equal."""
    return all(combination.get(name, element) == element for name, element in include.items())


def _pairs(combination: Mapping[str, Element]) -> set[tuple[str, Any]]:
    return {(name, _key(element)) for name, element in combination.items()}


def _key(element: Element) -> Any:
    """Return an element as a key of a set."""
    return element if isinstance(element, str) else tuple(sorted(element.items()))


def _is_element(value: Any) -> bool:
    return isinstance(value, str) or is_reference(value)


def _mistyped(wanted: str, param: Object, task: str) -> str:
    kind = value_type(param_value(param.get("value")))
    return (
        f'parameters of type {wanted} only are allowed, but param "{param["name"]}" has type "{kind}" in '
        f'pipelineTask "{task}"'
    )
