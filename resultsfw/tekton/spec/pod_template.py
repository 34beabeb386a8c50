"""Merging of pod templates: that of one TaskRun over that of all TaskRuns of a PipelineRun."""

from collections.abc import Sequence
from typing import Any, Final

from resultsfw.cluster import Object

__all__ = ["merge_pod_templates"]

_BY_NAME: Final = frozenset({"env", "volumes"})
_ZERO_IS_ABSENT: Final = frozenset({"hostNetwork", "schedulerName"})
"""Fields that are no pointers in Tekton's type: ``false`` and ``""`` are as if they were not given."""


def merge_pod_templates(template: Object | None, default: Object | None) -> Object | None:
    """Return a pod template with what it leaves out taken from a default, as Tekton merges them.

    ``env`` and ``volumes`` merge by name; of every other field, the template's replaces the default's as a
    whole, be it empty (MergePodTemplateWithDefault, pkg/apis/pipeline/pod/template.go).

    Args:
        template: What has precedence.
        default: What is used where it says nothing.
    """
    if template is None or default is None:
        return default if template is None else template
    merged = {key: value for key, value in template.items() if value is not None}
    for key, value in default.items():
        if value is None:
            continue
        if key in _BY_NAME:
            merged[key] = _merge_by_name(merged.get(key) or (), value)
        elif merged.get(key) is None or (key in _ZERO_IS_ABSENT and not merged[key]):
            merged[key] = value
    return merged


def _merge_by_name(items: Sequence[Object], defaults: Sequence[Object]) -> list[Any]:
    """Return the items, and behind them the defaults of other names."""
    names = {item.get("name") for item in items}
    return [*items, *(item for item in defaults if item.get("name") not in names)]
