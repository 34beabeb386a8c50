"""The labels and annotations that a run gets from the Task or Pipeline it refers to, as Tekton gives them."""

from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.flags import ANNOTATION

__all__ = ["inherited_metadata"]

_NOT_PASSED: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})
_OWN: Final = "resultsfw.dev/"
"""Of this project's annotations only the choice of a backend passes on: the others are the controller's
own notes."""


def inherited_metadata(run: Object, described: Object, *, label: str, name: str) -> dict[str, Any]:
    """Return the ``metadata`` to be added to a run; empty if it has all of it.

    Args:
        run: The run; what it says itself stays.
        described: The ``metadata`` of what it refers to; empty where that is embedded.
        label: By which the runs of one Task or Pipeline are found.
        name: Its value, where the run has none.
    """
    metadata = run["metadata"]
    own, noted = metadata.get("labels") or {}, metadata.get("annotations") or {}
    labels = {**(described.get("labels") or {}), label: own.get(label) or name}
    annotations = described.get("annotations") or {}
    added = {
        "labels": {key: value for key, value in labels.items() if key not in own},
        "annotations": {
            key: value for key, value in annotations.items() if _is_passed(key) and key not in noted
        },
    }
    return {key: value for key, value in added.items() if value}


def _is_passed(annotation: str) -> bool:
    return annotation not in _NOT_PASSED and (annotation == ANNOTATION or not annotation.startswith(_OWN))
