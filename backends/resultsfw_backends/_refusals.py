"""Turn a sidecar's record of a refused result into the problem of that result."""

from typing import Any, Final

from resultsfw import Problem, ProblemCode, result_label, result_too_large
from resultsfw_sidecar import wire as wires

__all__ = ["Origin", "refusal_problem", "size_of", "text_of"]

Origin = tuple[str | None, str]
"""Identifies a result in the core: its Step (``None``: the Task) and its name."""

_CODES: Final = {
    wires.NOT_UTF8: ProblemCode.NOT_UTF8,
    wires.NOT_REGULAR_FILE: ProblemCode.NOT_REGULAR_FILE,
    wires.OUTSIDE_FOLDER: ProblemCode.OUTSIDE_FOLDER,
    wires.UNREADABLE: ProblemCode.FILE_UNREADABLE,
    wires.UNDELIVERED: ProblemCode.TRANSPORT_UNREADABLE,
    wires.TRANSPORT_FULL: ProblemCode.RUN_TOO_LARGE,
}


_SIZES: Final = 2**63


def refusal_problem(record: dict[str, Any], origin: Origin) -> Problem:
    """Return the problem of a refused result.

    Args:
        record: The record; its parts may be any JSON.
        origin: The result.
    """
    step, name = origin
    size, limit = size_of(record.get("bytes")), size_of(record.get("limit"))
    reason = text_of(record.get("reason"))
    if size is None or limit is None:
        size = limit = None
    elif reason == wires.TOO_LARGE:
        return result_too_large(name, size, limit, step=step)
    code = _CODES.get(reason, ProblemCode.FILE_UNREADABLE)
    if reason == wires.RUN_TOO_LARGE and size is not None:
        code = ProblemCode.RUN_TOO_LARGE
        message = (
            f"{result_label(name, step)} would bring the results of this run to {size} bytes, "
            f"over the limit of {limit} bytes for one run"
        )
    else:
        message = (
            f"{result_label(name, step)} was refused by the results sidecar: "
            f"{text_of(record.get('message'))[:400]}"
        )
    if code is not ProblemCode.RUN_TOO_LARGE:
        size = limit = None
    return Problem(code=code, message=message, result=name, step=step, size=size, limit=limit)


def text_of(value: object) -> str:
    """Return a text of a record, or what stands in its place, for a message."""
    return value if isinstance(value, str) else repr(value)[:80]


def size_of(value: object) -> int | None:
    """Return the bytes that a part of a record gives; ``None`` if no file can have so many."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _SIZES:
        return None
    return value
