"""Deliver the results of a run's Steps to its status: intact, or with a reason.

The names in ``__all__`` are public; ``docs/explanation/architecture.md`` describes the layers behind
them. Each is imported when it is first used: a command line that only prints its help needs neither pydantic
nor stevedore.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from resultsfw.cluster import CONFIG_MAPS, EVENTS, PODS, Cluster, Kind, Object
    from resultsfw.core import ResultsManager
    from resultsfw.flags import Flags, parse_flags
    from resultsfw.hookspecs import API_VERSION, HookDeprecationWarning, hookimpl
    from resultsfw.limits import result_too_large
    from resultsfw.references import read_reference
    from resultsfw.stamps import read_stamp
    from resultsfw.types import (
        ARTIFACTS,
        Capabilities,
        CollectionOutcome,
        ExtractedResult,
        Extraction,
        Limits,
        Permission,
        Problem,
        ProblemCode,
        Reference,
        Result,
        ResultSpec,
        Run,
        Stamp,
        Step,
        StepResultRef,
        TransportUsage,
        Verification,
    )
    from resultsfw.values import format_names
    from resultsfw.values import label as result_label

__all__ = [
    "API_VERSION",
    "ARTIFACTS",
    "CONFIG_MAPS",
    "EVENTS",
    "PODS",
    "Capabilities",
    "Cluster",
    "CollectionOutcome",
    "ExtractedResult",
    "Extraction",
    "Flags",
    "HookDeprecationWarning",
    "Kind",
    "Limits",
    "Object",
    "Permission",
    "Problem",
    "ProblemCode",
    "Reference",
    "Result",
    "ResultSpec",
    "ResultsManager",
    "Run",
    "Stamp",
    "Step",
    "StepResultRef",
    "TransportUsage",
    "Verification",
    "format_names",
    "hookimpl",
    "parse_flags",
    "read_reference",
    "read_stamp",
    "result_label",
    "result_too_large",
]

_HOME: Final = {
    name: module
    for module, names in {
        "resultsfw.cluster": ("CONFIG_MAPS", "EVENTS", "PODS", "Cluster", "Kind", "Object"),
        "resultsfw.core": ("ResultsManager",),
        "resultsfw.flags": ("Flags", "parse_flags"),
        "resultsfw.hookspecs": ("API_VERSION", "HookDeprecationWarning", "hookimpl"),
        "resultsfw.limits": ("result_too_large",),
        "resultsfw.references": ("read_reference",),
        "resultsfw.stamps": ("read_stamp",),
        "resultsfw.types": (
            *("ARTIFACTS", "Capabilities", "CollectionOutcome", "ExtractedResult", "Extraction", "Limits"),
            *("Permission", "Problem", "ProblemCode", "Reference", "Result", "ResultSpec", "Run", "Stamp"),
            *("Step", "StepResultRef", "TransportUsage", "Verification"),
        ),
        "resultsfw.values": ("format_names", "result_label"),
    }.items()
    for name in names
}
"""The module of each public name: what the imports above say to type checkers (a test compares both)."""

_NAMES_THERE: Final = {"result_label": "label"}
"""Names that are called otherwise in their module."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), _NAMES_THERE.get(name, name))
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
