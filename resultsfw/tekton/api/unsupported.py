"""Find what a document asks for that is not supported, so that it is refused before there is a pod."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from resultsfw.tekton.api.fields import FIELDS, MAX_NESTED_PIPELINES, ROOTS

__all__ = ["artifact_variable", "unsupported_parts"]

_EMPTY: Final[tuple[Any, ...]] = (None, "", [], False)

# No repetition in it can match what the next part begins with: linear on any text.
_ARTIFACT: Final = re.compile(
    r"\$\((?:(?:steps|tasks|finally)\.[^.()$]+\.(?:inputs|outputs)(?:\.[^()$]*)?|(?:step\.)?artifacts\.path)\)"
    r"|/tekton/(?:steps/[-a-z0-9]+/)?artifacts(?:/provenance\.json)?(?![-\w])"
)
_NO_ARTIFACTS: Final = (
    "artifacts are not supported here, and would be lost: declare a result and write it to its path"
)
_TOO_NESTED: Final = (
    f"Pipelines are in Pipelines over the limit of {MAX_NESTED_PIPELINES} levels; refer to them by name, or "
    f"make the Pipeline flatter"
)
_DATA: Final = frozenset({"description", "displayName", "default", "enum"})
"""Fields whose text is for people, or is a value: variables are not looked for in them."""


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
    spec = document.get("spec")
    yield from _fields(spec, root, "spec")
    if isinstance(spec, Mapping):
        yield from _artifacts({key: value for key, value in spec.items() if key != "params"}, "spec")


def artifact_variable(text: str) -> str:
    """Return the first variable or path of Tekton's artifacts in a text, or an empty text."""
    if "puts" not in text and "artifacts" not in text:
        return ""
    match = _ARTIFACT.search(text)
    return match[0] if match else ""


def _fields(value: Any, of: str, path: str, nested: int = 0) -> Iterator[tuple[str, str]]:
    """Yield refused fields, by the table.

    It goes no deeper than the table's types nest, with so many Pipelines in Pipelines as may be.
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


def _artifacts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """Yield texts with variables of artifacts."""
    waiting = [(value, path)]
    while waiting:
        inner, where = waiting.pop()
        if isinstance(inner, str):
            if variable := artifact_variable(inner):
                yield where, f"{variable[:80]}: {_NO_ARTIFACTS}"
        elif isinstance(inner, list):
            waiting += [(item, f"{where}[{index}]") for index, item in reversed(list(enumerate(inner)))]
        elif isinstance(inner, Mapping):
            items = [(item, f"{where}.{key}") for key, item in inner.items() if key not in _DATA]
            waiting += reversed(items)
