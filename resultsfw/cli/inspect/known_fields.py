"""Leave out the fields of an object that a model does not know: the cluster it comes from may be newer."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from resultsfw.cluster import Object

__all__ = ["known_part"]

_ROUNDS: Final = 4
"""Validations at most: unknown fields may hide others."""


def known_part(model: type[BaseModel], obj: Object) -> Object:
    """Return the object without the fields that the model forbids; other faults stay as they are."""
    for _ in range(_ROUNDS):
        try:
            model.model_validate(obj)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            unknown = [problem["loc"] for problem in problems if problem["type"] == "extra_forbidden"]
            if not unknown:
                return obj
            obj = _without(obj, unknown)
        else:
            return obj
    return obj


def _without(value: Any, places: Sequence[tuple[int | str, ...]]) -> Any:
    """Return the value without what is at these places."""
    removed = {place[0] for place in places if len(place) == 1}
    inner: dict[int | str, list[tuple[int | str, ...]]] = {}
    for place in places:
        if len(place) > 1:
            inner.setdefault(place[0], []).append(place[1:])
    if isinstance(value, dict):
        return {
            key: _without(item, inner[key]) if key in inner else item
            for key, item in value.items()
            if key not in removed
        }
    if isinstance(value, list):
        return [_without(item, inner[index]) if index in inner else item for index, item in enumerate(value)]
    return value
