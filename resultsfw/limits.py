"""Define the size limits of values, runs and API objects, and count sizes."""

import json
from collections.abc import Sequence
from typing import Any, Final

from resultsfw.types import Capabilities, Limits, Problem, ProblemCode
from resultsfw.values import format_names, label

__all__ = [
    "DEFAULT_RESULT_BYTES",
    "OBJECT_BYTES",
    "OBJECT_CAPACITY",
    "OBJECT_HEADROOM",
    "effective_limits",
    "object_size",
    "result_too_large",
    "run_too_large",
]

DEFAULT_RESULT_BYTES: Final = 4096
"""Default of ``max-result-size`` (TEP-0127, Size Limit)."""

OBJECT_BYTES: Final = 1_572_864
"""Bytes of one API object: etcd's ``--max-request-bytes`` of 1.5 MiB, the TEP's "CRD limit"."""

OBJECT_HEADROOM: Final = 16_384
"""Bytes kept free in an object for what the API server adds: ``managedFields`` (a few hundred bytes for each
field manager) and etcd's request around the value."""

OBJECT_CAPACITY: Final = OBJECT_BYTES - OBJECT_HEADROOM
"""Bytes that an object we write may have."""

_HTML_ESCAPED = (b"<", b">", b"&")
_LINE_SEPARATORS = (b"\xe2\x80\xa8", b"\xe2\x80\xa9")


def object_size(obj: Any) -> int:
    r"""Return the size of an object in bytes, as JSON that the API server stores.

    Go's ``encoding/json`` writes ``<``, ``>`` and ``&`` as ``\u003c`` and the line separators
    U+2028 and U+2029 as ``\u2028``: six bytes each, which Python's encoder does not.
    """
    text = json.dumps(obj, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return (
        len(text)
        + 5 * sum(text.count(char) for char in _HTML_ESCAPED)
        + 3 * sum(text.count(char) for char in _LINE_SEPARATORS)
    )


def effective_limits(max_result_size: int, capabilities: Capabilities) -> Limits:
    """Return the lower limits of the flag and of the backend, in bytes.

    For delivery by reference, neither ``max-result-size`` nor the size of an API object limits a value.
    """
    if capabilities.delivery == "reference":
        top = 2**63 - 1
        return Limits(result_bytes=capabilities.result_bytes or top, run_bytes=capabilities.run_bytes or top)
    run = min(capabilities.run_bytes or OBJECT_BYTES, OBJECT_BYTES)
    result = min(max_result_size, capabilities.result_bytes or max_result_size, run)
    return Limits(result_bytes=result, run_bytes=run)


def result_too_large(name: str, size: int, limit: int, *, step: str | None = None) -> Problem:
    """Return the problem of one value that is larger than its limit (both in bytes)."""
    message = f"{label(name, step)} has {size} bytes, over the limit of {limit} bytes"
    return Problem(
        code=ProblemCode.RESULT_TOO_LARGE,
        message=message,
        result=name,
        step=step,
        size=size,
        limit=limit,
        hint=f'the feature flag "max-result-size" sets that limit, up to {OBJECT_BYTES}',
    )


def run_too_large(names: Sequence[str], total: int, limit: int) -> Problem:
    """Return the problem of values that together exceed the limit of a run; ``names`` are left out."""
    return Problem(
        code=ProblemCode.RUN_TOO_LARGE,
        message=f"results have {total} bytes together, over the limit of {limit} bytes for one run; "
        f"left out: {format_names(names)}",
        result=names[0],
        size=total,
        limit=limit,
    )
