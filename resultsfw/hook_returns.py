"""Check what a backend's hooks return, as types and by meaning, before anything else uses it.

A fault here is a programming error of the plugin: repeating the call does not mend it.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from types import AsyncGeneratorType, GeneratorType
from typing import Any, Final

from resultsfw.errors import ClusterError
from resultsfw.references import digest_fault, encryption_fault, location_fault, media_type_fault
from resultsfw.types import (
    ARTIFACTS,
    Capabilities,
    ExtractedResult,
    Extraction,
    Problem,
    ProblemCode,
    Reference,
    Run,
    TransportUsage,
    Verification,
)

__all__ = ["Fault", "piece_fault", "return_fault"]

_SIZES: Final = 2**63
"""Sizes in bytes are below this: what a store or a file system can hold."""
_REFERENCE_SIZES: Final = 10**18
"""The size in a reference is below this: what `resultsfw.references` reads back from a status."""

Fault = tuple[str, str]
"""The field at fault (``results[0].value``; "" for the whole), and what is wrong with it."""

_Check = Callable[[Any], str]
"""Returns what is wrong with a value; empty if nothing."""


def return_fault(
    hook: str, returned: Any, *, backend: str, capabilities: Capabilities, arguments: Mapping[str, Any]
) -> Fault | None:
    """Return what is wrong with a hook's returned value; ``None`` if it may be used.

    Args:
        hook: The hook's name.
        returned: What it returned.
        backend: The backend's name.
        capabilities: What the backend declares.
        arguments: The hook's arguments by name.
    """
    if inspect.iscoroutine(returned) or isinstance(returned, AsyncGeneratorType):
        if inspect.iscoroutine(returned):
            returned.close()  # else Python warns later that it was never awaited, and does not say by whom
        return "", "it returned a coroutine: hooks are plain functions, not `async def`"
    match hook:
        case "prepare_pod":
            return _wire_fault(returned)
        case "pod_ready":
            return _whole(_bool(returned))
        case "extract":
            return _extraction_fault(returned, backend, capabilities, arguments["run"])
        case "dereference" | "decrypt":
            return _pieces_fault(returned)
        case "pod_created":
            return _whole(_verification_or_none(returned))
        case "attest_status":
            return _whole(_text_map(returned))
        case _:
            return _none_fault(hook, returned)


def piece_fault(piece: object) -> str:
    """Return what is wrong with a piece that ``dereference`` or ``decrypt`` yields; empty if it is bytes."""
    # A subclass could hide its length, by which the value is limited.
    return "" if type(piece) is bytes else f"it yielded {_kind(piece)}, and must yield bytes"


def _wire_fault(wire: object) -> Fault | None:
    if type(wire) is int and wire >= 0:
        return None
    return "", (
        f"it returned {_kind(wire)} and not the version of its format, an integer from 0; without it the pod "
        f"could not be read"
    )


def _pieces_fault(pieces: object) -> Fault | None:
    if isinstance(pieces, bytes | bytearray | str | dict) or not hasattr(pieces, "__iter__"):
        return "", f"it returned {_kind(pieces)}, and must yield the value's bytes in pieces"
    return None


def _none_fault(hook: str, returned: object) -> Fault | None:
    # pluggy returns a list of all values that are not None.
    if not returned:
        return None
    value = returned[0] if isinstance(returned, list) else returned
    if inspect.iscoroutine(value):
        value.close()
    if inspect.iscoroutine(value) or isinstance(value, GeneratorType | AsyncGeneratorType):
        return (
            "",
            "nothing of it was executed: hooks are plain functions, neither `async def` nor with `yield`",
        )
    what = "change `pod` itself" if hook == "place_files" else "return nothing"
    return "", f"it returned {_kind(value)}, which nothing uses: {what}"


def _extraction_fault(extraction: object, backend: str, capabilities: Capabilities, run: Run) -> Fault | None:
    if not isinstance(extraction, Extraction):
        return "", f"it returned {_kind(extraction)} and not an Extraction"
    for field, kind in (
        ("results", ExtractedResult),
        ("problems", Problem),
        ("transports", TransportUsage),
    ):
        items = getattr(extraction, field)
        if not isinstance(items, tuple):
            return field, f"it is {_kind(items)} and must be a tuple"
        for index, item in enumerate(items):
            if not isinstance(item, kind):
                return f"{field}[{index}]", f"it is {_kind(item)} and must be of type {kind.__name__}"
    return (
        _field_fault(extraction, _EXTRACTION)
        or _fault_of_any(extraction, "results", partial(_result_fault, backend, capabilities, run))
        or _fault_of_any(extraction, "problems", partial(_field_fault, checks=_PROBLEM))
        or _fault_of_any(extraction, "transports", partial(_field_fault, checks=_TRANSPORT))
    )


def _fault_of_any(
    extraction: Extraction, field: str, fault_of: Callable[[Any], Fault | None]
) -> Fault | None:
    """Return the first fault of the items of a field."""
    for index, item in enumerate(getattr(extraction, field)):
        if fault := fault_of(item):
            return f"{field}[{index}].{fault[0]}", fault[1]
    return None


def _result_fault(
    backend: str, capabilities: Capabilities, run: Run, result: ExtractedResult
) -> Fault | None:
    if fault := _field_fault(result, _RESULT):
        return fault
    if not isinstance(result.value, Reference):
        return ("value", f"{why}, or a Reference") if (why := _text(result.value)) else None
    if result.name == ARTIFACTS:
        return "value", "it is a Reference: provenance of artifacts is always a text"
    if capabilities.delivery != "reference":
        return "value", 'it is a Reference, and `capabilities` say delivery="value"'
    if fault := _reference_fault(backend, run, result.value):
        return f"value.{fault[0]}", fault[1]
    return None


def _reference_fault(backend: str, run: Run, reference: Reference) -> Fault | None:
    if fault := _field_fault(reference, _REFERENCE):
        return fault
    if reference.backend != backend:
        return "backend", f'it names backend "{reference.backend:.64}" and must be "{backend}"'
    if why := location_fault(reference.location):
        return "location", why
    if (reference.namespace, reference.uid) != (run.namespace, run.uid):
        return (
            "location",
            f"it must end in {run.namespace}/{run.uid}/NAME: namespace and uid of the run whose value it is",
        )
    return None


def _field_fault(item: object, checks: Mapping[str, _Check]) -> Fault | None:
    for name, check in checks.items():
        if why := check(getattr(item, name)):
            return name, why
    return None


# Checks of single fields. None quotes a value: it may be a result's.


def _whole(why: str) -> Fault | None:
    return ("", f"it returned what is no answer: {why}") if why else None


def _bool(value: object) -> str:
    return "" if isinstance(value, bool) else f"it is {_kind(value)} and must be True or False"


def _text(value: object) -> str:
    if not isinstance(value, str):
        return f"it is {_kind(value)} and must be a str"
    # Names are looked up in mappings.
    own = type(value).__eq__ is not str.__eq__ or type(value).__hash__ is not str.__hash__
    return f"it is {_kind(value)}, which compares otherwise than a str" if own else ""


def _text_or_none(value: object) -> str:
    return "" if value is None else _text(value)


def _filled(value: object) -> str:
    return _text(value) or ("" if value else "it is empty")


def _reference_size(value: object) -> str:
    return _size(value, _REFERENCE_SIZES)


def _size(value: object, below: int = _SIZES) -> str:
    if type(value) is not int:
        return f"it is {_kind(value)} and must be an int"
    return (
        ""
        if 0 <= value < below
        else f"it is {value if value < 0 else 'too large'}, which is no size in bytes"
    )


def _size_or_none(value: object) -> str:
    return "" if value is None else _size(value)


def _encryption(value: object) -> str:
    return _text(value) or (encryption_fault(value) if isinstance(value, str) and value else "")


def _code(value: object) -> str:
    return "" if isinstance(value, ProblemCode) else f"it is {_kind(value)} and must be a ProblemCode"


def _texts(value: object) -> str:
    if isinstance(value, tuple) and not any(map(_text, value)):
        return ""
    return f"it is {_kind(value)} and must be a tuple of str"


def _cluster_error_or_none(value: object) -> str:
    if value is None or isinstance(value, ClusterError):
        return ""
    return f"it is {_kind(value)} and must be a ClusterError"


def _verification_or_none(value: object) -> str:
    """Return what is wrong with a `Verification`; empty if nothing, or if there is none."""
    if value is None:
        return ""
    if not isinstance(value, Verification):
        return f"it is {_kind(value)} and must be a Verification"
    if value.status not in ("True", "False", "Unknown"):
        return 'its status must be "True", "False" or "Unknown"'
    return _filled(value.reason) or _text(value.message)


def _text_map(value: object) -> str:
    if isinstance(value, Mapping) and not any(map(_text, (*value.keys(), *value.values()))):
        return ""
    return f"it is {_kind(value)} and must be a mapping of str to str"


def _kind(value: object) -> str:
    return "nothing (None)" if value is None else f"a value of type {type(value).__name__}"


_EXTRACTION: Final[Mapping[str, _Check]] = {
    "too_early": _bool,
    "read_error": _cluster_error_or_none,
    "envelope": _text,
    "envelope_fault": _text,
    "tekton_signatures": _text_map,
    "verification": _verification_or_none,
}
_RESULT: Final[Mapping[str, _Check]] = {"name": _text, "step": _text_or_none, "source": _text}
_REFERENCE: Final[Mapping[str, _Check]] = {
    "backend": _text,
    "location": _text,
    "size": _reference_size,
    "digest": digest_fault,
    "media_type": media_type_fault,
    "encryption": _encryption,
}
_PROBLEM: Final[Mapping[str, _Check]] = {
    "code": _code,
    "message": _filled,
    "result": _text_or_none,
    "step": _text_or_none,
    "size": _size_or_none,
    "limit": _size_or_none,
    "hint": _text,
}
_TRANSPORT: Final[Mapping[str, _Check]] = {
    "container": _text,
    "transport": _text,
    "used": _size,
    "budget": _size_or_none,
    "results": _texts,
    "cut": _bool,
}
