"""Copies and merges of JSON values."""

from typing import Any

__all__ = ["copy", "merge_patch"]


def copy(value: Any) -> Any:
    """A deep copy; several times faster than `copy.deepcopy`, which must expect more than JSON."""
    if isinstance(value, dict):
        return {key: copy(one) for key, one in value.items()}
    if isinstance(value, list):
        return [copy(one) for one in value]
    return value


def merge_patch(target: Any, patch: Any) -> Any:
    """The target with a JSON merge patch applied (RFC 7386); neither argument is changed.

    The outcome shares what the patch does not touch with the target, and nothing with the patch.
    """
    if not isinstance(patch, dict):
        return copy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged
