"""Validate the matrices of a Pipeline, and how their results are named, in Tekton's words."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.pipelinerun.matrix import is_matrixed, matrix_params
from resultsfw.tekton.pipelinerun.result_refs import result_refs
from resultsfw.tekton.spec.variables import VARIABLE, texts_in

__all__ = ["matrix_errors", "untexted_results"]

_NOT_NAMING: Final = ("name", "displayName", "runAfter", "retries", "timeout", "onError", "description")


def matrix_errors(spec: Object) -> Iterator[str]:
    """Yield what is wrong with the matrices of a Pipeline as it is written."""
    sections = {section: spec.get(section) or () for section in ("tasks", "finally")}
    for section, listed in sections.items():
        for index, task in enumerate(listed):
            if is_matrixed(task):
                yield from _own_errors(task, f"{section}[{index}]")
    matrixed = {task["name"] for listed in sections.values() for task in listed if is_matrixed(task)}
    if not matrixed:
        return
    for section, listed in sections.items():
        for index, task in enumerate(listed):
            parts = [value for key, value in task.items() if key not in _NOT_NAMING]
            yield from _naming_errors(parts, f"{section}[{index}]", matrixed)
            for condition in task.get("when") or ():
                if any(ref.task in matrixed for ref in result_refs(condition.get("input"))):
                    yield f"invalid value: an array has its place in values: {section}[{index}].when.input"
    for index, result in enumerate(spec.get("results") or ()):
        yield from _naming_errors([result.get("value")], f"results[{index}].value", matrixed)


def untexted_results(task: Object, spec: Object) -> dict[str, str]:
    """Return the results of a matrix's Task whose type is not string, with their types.

    No Task can use them: a param cannot hold an array of arrays.

    Args:
        task: The Pipeline Task.
        spec: Of its Task.
    """
    if not is_matrixed(task):
        return {}
    typed = {result["name"]: _type_of(result) for result in spec.get("results") or ()}
    return {name: kind for name, kind in typed.items() if kind != "string"}


def _own_errors(task: Object, path: str) -> Iterator[str]:
    """Yield params of a matrix that are given twice."""
    matrix = task["matrix"]
    yield from _repeated(matrix.get("params") or (), f"{path}.matrix.params")
    for index, include in enumerate(matrix.get("include") or ()):
        yield from _repeated(include.get("params") or (), f"{path}.matrix.include[{index}].params")
    combined = {param["name"] for param in matrix_params(matrix)}
    for param in task.get("params") or ():
        if (name := param["name"]) in combined:
            yield f"expected exactly one, got both: {path}.matrix[{name}], {path}.params[{name}]"


def _repeated(params: Sequence[Object], path: str) -> Iterator[str]:
    seen: set[str] = set()
    for index, param in enumerate(params):
        if (name := param["name"]) in seen:
            yield (
                f'parameter names must be unique, the parameter "{name}" is also defined at: '
                f"{path}[{index}].name"
            )
        seen.add(name)


def _naming_errors(parts: list[Any], path: str, matrixed: set[str]) -> Iterator[str]:
    """Yield results of a matrix that are named singly, or in a text, where an array has no place."""
    for text in texts_in(parts):
        for ref in result_refs(text):
            if ref.task not in matrixed:
                continue
            name = f"{ref.section}.{ref.task}.results.{ref.result}"
            if not ref.whole:
                yield (
                    f"A matrixed pipelineTask can only be consumed in aggregate using [*] notation, but is "
                    f"currently set to {name}: {path}"
                )
            elif VARIABLE.fullmatch(text) is None:
                yield f"invalid value: {name}[*] is an array, and must be the whole text: {path}"


def _type_of(result: Object) -> str:
    return str(result.get("type") or ("object" if result.get("properties") else "string"))
