"""Find what a document asks for that is not supported, so that it is refused before there is a pod."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from resultsfw.tekton.api.fields import FIELDS, MAX_NESTED_PIPELINES, ROOTS

__all__ = ["unsupported_parts"]

_EMPTY: Final[tuple[Any, ...]] = (None, "", [], False)

_TOO_NESTED: Final = (
    f"Pipelines are nested deeper than the limit of {MAX_NESTED_PIPELINES} levels; refer to them by name, or "
    f"make the Pipeline flatter"
)


def unsupported_parts(document: Any) -> Iterator[tuple[str, str]]:
    """Yield the path of each part of a document that is refused, and why.

    Args:
        document: A TaskRun, Task, PipelineRun or Pipeline, whatever its shape; of another one nothing is
            found.
    """
    if not isinstance(document, Mapping):
        return
    root = ROOTS.get(str(document.get("kind")))
    if root is None:
        return
    yield from _fields(document.get("spec"), root, "spec")


def _fields(value: Any, of: str, path: str, nested: int = 0) -> Iterator[tuple[str, str]]:
    """Yield refused fields, by the table.

    The depth is limited by the nesting of the table's types and by `MAX_NESTED_PIPELINES`.
    """
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _fields(item, of, f"{path}[{index}]", nested)
        return
    if not isinstance(value, Mapping):
        return
    rules = FIELDS[of]
    for name, inner in value.items():
        rule = rules.get(name)
        if rule is None or inner in _EMPTY:
            continue  # what Tekton does not have, the models refuse
        if rule.refused:
            yield f"{path}.{name}", rule.refused
        elif rule.of:
            deeper = nested + (of == "PipelineTask" and rule.of == "PipelineSpec")
            if deeper > MAX_NESTED_PIPELINES:
                yield f"{path}.{name}", _TOO_NESTED
            else:
                yield from _fields(inner, rule.of, f"{path}.{name}", deeper)
