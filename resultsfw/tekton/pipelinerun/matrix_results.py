"""Aggregate the results of a matrix's children to arrays, and name their lengths."""

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

from resultsfw.references import format_reference_list, read_reference_list
from resultsfw.tekton.spec.params import is_reference
from resultsfw.types import Value

__all__ = ["MatrixLength", "aggregate_results", "length_of", "parse_length"]

_WORDS: Final = (4, 5)
"""Words of ``tasks.TASK.matrix.length`` and of ``tasks.TASK.matrix.RESULT.length``."""


class MatrixLength(NamedTuple):
    """A variable for the length of a matrix.

    Attributes:
        task: The Pipeline Task.
        result: Whose values are counted; empty: the combinations are.
    """

    task: str
    result: str


def parse_length(variable: str) -> MatrixLength | None:
    """Return what ``tasks.TASK.matrix.length`` or ``tasks.TASK.matrix.RESULT.length`` asks for.

    ``None`` for any other variable.
    """
    words = variable.split(".")
    if len(words) not in _WORDS or words[0] != "tasks" or words[2] != "matrix" or words[-1] != "length":
        return None
    return MatrixLength(words[1], words[3] if len(words) == max(_WORDS) else "")


def aggregate_results(results: Mapping[str, Mapping[str, Value]]) -> dict[str, Value]:
    """Return the results of a matrix by name: arrays of what its children wrote.

    As in Tekton a child that did not write a result adds no element, and the elements are in the order of the
    children's names, so that that of ``RUN-TASK-10`` comes before that of ``RUN-TASK-2``.

    Args:
        results: Of the children, by their names.

    Returns:
        An array of texts; where one of them is a reference, the array with references
        (`resultsfw.references.format_reference_list`).
    """
    written: dict[str, list[Value]] = {}
    for _, values in sorted(results.items()):
        for result, value in values.items():
            written.setdefault(result, []).append(value)
    return {result: _array(values) for result, values in written.items()}


def length_of(value: Value | None) -> int:
    """Return how many children wrote a result, from what `aggregate_results` made of it."""
    elements = value if isinstance(value, list) else read_reference_list(value)
    return len(elements or ())


def _array(values: list[Value]) -> Value:
    # No value but a text is declared in a matrix (`validate_matrix`); should one come, it arrives as JSON.
    elements = [
        value if isinstance(value, str) or is_reference(value) else json.dumps(value, ensure_ascii=False)
        for value in values
    ]
    texts = [element for element in elements if isinstance(element, str)]
    return texts if len(texts) == len(elements) else format_reference_list(elements)
