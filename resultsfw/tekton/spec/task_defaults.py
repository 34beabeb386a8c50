"""Add to a Task's spec the types that Tekton infers, and drop the empty fields that it does not store."""

from collections.abc import Sequence
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.spec.params import param_value

__all__ = ["typed_results", "with_defaults", "without_empty"]

_EMPTY: Final[tuple[Any, ...]] = (None, "", [], False)


def with_defaults(task_spec: Object) -> Object:
    """Return a copy with the types Tekton infers and the fields it always writes."""
    spec = without_empty(task_spec)
    if params := spec.get("params"):
        spec["params"] = [_param_defaults(param) for param in params]
    if results := spec.get("results"):
        spec["results"] = typed_results(results)
    if workspaces := spec.get("workspaces"):
        spec["workspaces"] = [without_empty(workspace) for workspace in workspaces]
    return spec


def typed_results(results: Sequence[Object]) -> list[Object]:
    """Return declared results with their types, and without empty fields."""
    return [_typed(without_empty(result)) for result in results]


def _param_defaults(param: Object) -> Object:
    default = param.get("default")
    trimmed = without_empty(param)
    if default is not None:
        trimmed["default"] = param_value(default)
    if (
        "type" not in trimmed
        and "properties" not in trimmed
        and isinstance(trimmed.get("default"), list | dict)
    ):
        trimmed["type"] = "array" if isinstance(trimmed["default"], list) else "object"
    return _typed(trimmed)


def _typed(declared: Object) -> Object:
    """Return a declared parameter or result with its type, and the types of its properties."""
    properties = declared.get("properties")
    declared.setdefault("type", "string" if properties is None else "object")
    if properties:
        declared["properties"] = {
            key: {"type": "string", **without_empty(value or {})} for key, value in properties.items()
        }
    return declared


def without_empty(part: Object) -> Object:
    """Return a copy without the empty fields that Go leaves out; a name is one that it writes."""
    return {
        key: value for key, value in part.items() if value not in _EMPTY or (key == "name" and value == "")
    }
