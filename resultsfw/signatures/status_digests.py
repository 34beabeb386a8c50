"""Compute the digests of a status that a verdict is about: of the whole, of each result, of conditions.

A status is stored in another form than it was written in: the API server and Tekton's webhook leave out what
is empty and add the zero values of Go's structs, which mean the same. `status_digest` is equal for all of
these.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.jsons import MAX_DEPTH, canonical, is_deeper_than
from resultsfw_signing.statement import result_subject

__all__ = ["SUCCEEDED", "condition_facts", "result_digests", "status_digest", "status_results"]

SUCCEEDED: Final = "Succeeded"

_OTHERS: Final = frozenset({"annotations", "conditions"})
"""Fields of a status that others may write later, too. Our conditions are in the predicate."""
_EXACT: Final = frozenset({"taskSpec", "value"})
"""Fields that count as they are: there, an empty value may differ in meaning from an absent one."""


def status_digest(status: Mapping[str, Any]) -> str:
    """Return SHA-256, in hexadecimal, of a status without annotations and conditions.

    Fields that are empty, zero or false are left out, except in the Task's spec and in the values of results.
    """
    if is_deeper_than(status, MAX_DEPTH):
        raise InputError("the status is too deeply nested", subject="status")
    kept = {key: value for key, value in status.items() if key not in _OTHERS}
    return hashlib.sha256(canonical(_without_zeros(kept))).hexdigest()


def result_digests(status: Mapping[str, Any]) -> dict[str, str]:
    """Return SHA-256, in hexadecimal, of the canonical JSON of each result's value, by subject.

    Raises:
        InputError: It is not the status of a TaskRun, or has a result twice.
    """
    digests: dict[str, str] = {}
    for subject, value in status_results(status):
        if subject in digests:
            raise _malformed("has a result twice")
        digests[subject] = hashlib.sha256(canonical(value)).hexdigest()
    return digests


def status_results(status: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the subject and the value of each result in a status, those of Steps last.

    Raises:
        InputError: It is not the status of a TaskRun.
    """
    for result in _objects(status, "results"):
        yield result_subject(_text(result, "name")), result.get("value")
    for step in _objects(status, "steps"):
        for result in _objects(step, "results"):
            yield result_subject(_text(result, "name"), _text(step, "name")), result.get("value")


def condition_facts(status: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Return status and reason of a condition, and a digest of its message; empty without such a condition.

    Raises:
        InputError: It is not the status of a TaskRun.
    """
    found = [entry for entry in _objects(status, "conditions") if entry.get("type") == kind]
    if len(found) > 1:
        raise _malformed("has a condition twice")
    if not found:
        return {}
    message = hashlib.sha256(canonical(found[0].get("message") or "")).hexdigest()
    return {
        "status": _text(found[0], "status"),
        "reason": _text(found[0], "reason"),
        "messageDigest": message,
    }


def _without_zeros(value: Any) -> Any:
    """Return a value without the fields whose value is that of no field in Go."""
    if isinstance(value, dict):
        inner = {key: item if key in _EXACT else _without_zeros(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if key in _EXACT or not _is_zero(item)}
    if isinstance(value, list):
        return [_without_zeros(item) for item in value]
    return value


def _is_zero(value: Any) -> bool:
    return not value and (value is None or isinstance(value, str | int | float | dict | list))


def _objects(parent: Mapping[str, Any], key: str) -> list[Object]:
    """Return a field that is a list of objects; empty if it is absent."""
    items = parent.get(key) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _malformed(f'has a field "{key}" that is not a list of objects')
    return items


def _text(parent: Mapping[str, Any], key: str) -> str:
    text = parent.get(key) or ""
    if not isinstance(text, str):
        raise _malformed(f'has a field "{key}" that is not a text')
    return text


def _malformed(why: str) -> InputError:
    return InputError(f"the status {why}: it is not what a controller writes", subject="status")
