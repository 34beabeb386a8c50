"""Deliver the results of a run's Steps to its status: intact, or with a reason.

The names in ``__all__`` are public; ``docs/architecture.md`` describes the layers behind them.
"""

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
