"""Carries the results of a run's Steps into its status, whole or with a reason.

What is named here is public; see ``docs/architecture.md`` for the layers behind it.
"""

from resultsfw.cluster import CONFIG_MAPS, EVENTS, PODS, Cluster, Kind, Object
from resultsfw.core import ResultsManager, stamp_of
from resultsfw.flags import Flags, parse_flags
from resultsfw.hookspecs import API_VERSION, HookDeprecationWarning, hookimpl
from resultsfw.limits import too_large
from resultsfw.references import reference_of
from resultsfw.types import (
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
    StepResult,
    TransportUsage,
)
from resultsfw.values import label as result_label
from resultsfw.values import name_list

__all__ = [
    "API_VERSION",
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
    "StepResult",
    "TransportUsage",
    "hookimpl",
    "name_list",
    "parse_flags",
    "reference_of",
    "result_label",
    "stamp_of",
    "too_large",
]
