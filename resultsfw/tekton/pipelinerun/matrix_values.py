"""Replace variables in the params of a matrix; a reference to a whole array becomes its elements."""

from typing import Any

from resultsfw.cluster import Object
from resultsfw.references import read_reference_list
from resultsfw.tekton.spec.expansion import Expansion
from resultsfw.tekton.spec.params import is_reference, param_value
from resultsfw.tekton.spec.variables import protect

__all__ = ["substitute_matrix"]


def substitute_matrix(
    matrix: Object, field: str, known: Expansion, passing: Expansion | None = None
) -> Object:
    """Return a matrix with variables replaced in the values of its params, and nowhere else.

    Args:
        matrix: As it is.
        field: Its path in the Pipeline.
        known: What variables stand for.
        passing: What an element may be as a whole, before ``known`` is asked: a reference stays one.

    Raises:
        ResultUnread: The value of a result by reference is needed, and cannot be read.
        TooLargeError: The texts would be larger than one object can be.
    """
    changed = dict(matrix)
    if params := matrix.get("params"):
        changed["params"] = [
            {**param, "value": _array(param.get("value"), f"{field}.params[{param['name']}]", known, passing)}
            for param in params
        ]
    if includes := matrix.get("include"):
        changed["include"] = [
            _include(include, f"{field}.include[{index}]", known, passing)
            for index, include in enumerate(includes)
        ]
    return changed


def _include(include: Object, field: str, known: Expansion, passing: Expansion | None) -> Object:
    params = [
        {**param, "value": _element(param.get("value"), f"{field}.params[{param['name']}]", known, passing)}
        for param in include.get("params") or ()
    ]
    return {**include, "params": params}


def _array(value: Any, field: str, known: Expansion, passing: Expansion | None) -> Any:
    """Return the elements of a param to combine; what is no array stays what it is."""
    value = param_value(value)
    if isinstance(value, str):
        elements = _elements(_passed(value, passing))
        return known.value(value, field) if elements is None else elements
    if not isinstance(value, list):
        return value
    found: list[Any] = []
    for index, text in enumerate(value):
        whole = _passed(text, passing)
        elements = _elements(whole)
        if elements is not None:
            found += elements
        elif is_reference(whole):
            found.append(dict(whole))
        else:
            found += known.texts([text], f"{field}[{index}]")
    return found


def _elements(value: Any) -> list[Any] | None:
    """Return the elements of an array with references, its texts protected as all values are."""
    elements = read_reference_list(value)
    return elements and [protect(element) if isinstance(element, str) else element for element in elements]


def _element(value: Any, field: str, known: Expansion, passing: Expansion | None) -> Any:
    value = param_value(value)  # a mapping of texts, as a reference is one, stays
    if not isinstance(value, str):
        return value
    whole = _passed(value, passing)
    return dict(whole) if is_reference(whole) else known.value(value, field)


def _passed(text: str, passing: Expansion | None) -> Any:
    """Return what a text stands for if it is a reference, or a list of them, and stays one."""
    whole = passing.whole(text) if passing is not None else None
    return whole if is_reference(whole) else None
