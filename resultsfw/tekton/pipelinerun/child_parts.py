"""Build what children of all kinds have: labels, annotations, timeout and workspaces."""

from dataclasses import dataclass
from typing import Final

from resultsfw.cluster import Object
from resultsfw.durations import format_duration
from resultsfw.tekton.api.kinds import PIPELINE_LABEL, PIPELINERUNS
from resultsfw.tekton.api.owners import owner_reference
from resultsfw.tekton.pipelinerun.children import STATUS_MESSAGE_ANNOTATION
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.task_workspaces import assistant_annotation, task_workspaces
from resultsfw.tekton.spec.coscheduling import Mode
from resultsfw.tekton.spec.params import LITERAL_ANNOTATION
from resultsfw.tekton.spec.variables import unprotect, unprotect_names

__all__ = [
    "NewChild",
    "as_given",
    "child_metadata",
    "child_placement",
    "child_reference",
    "child_timeout",
    "child_workspaces",
]

_NOT_PASSED: Final = frozenset(
    {"kubectl.kubernetes.io/last-applied-configuration", LITERAL_ANNOTATION, STATUS_MESSAGE_ANNOTATION}
)
_NANO: Final = 1_000_000_000
_NOT_READ: Final = ("params", "inputs.", "tasks.", "finally.", "outputs.")
"""Beginnings of variables that a run leaves alone in the values it is given."""


@dataclass(frozen=True, slots=True)
class NewChild:
    """The inputs from which a child is built.

    Attributes:
        pipelinerun: Its parent.
        facts: The state of its parent.
        task: The name of its Pipeline Task, which is due.
        name: Its own.
        own: What ``taskRunSpecs`` and ``taskRunTemplate`` give to the Pipeline Task.
        spec: Of its Pipeline Task, with results and the params of its combination in it.
        default_timeout: Nanoseconds that a child without a timeout has.
        mode: How pods are placed.
    """

    pipelinerun: Object
    facts: Facts
    task: str
    name: str
    own: Object
    spec: Object
    default_timeout: int
    mode: Mode


def child_metadata(child: NewChild) -> Object:
    """Return the metadata that a child of every kind has."""
    metadata = child.pipelinerun["metadata"]
    labels = {
        PIPELINE_LABEL: child.facts.plan.name,
        **(metadata.get("labels") or {}),
        "tekton.dev/pipelineRun": metadata["name"],
        "tekton.dev/pipelineRunUID": metadata.get("uid", ""),
        "tekton.dev/pipelineTask": child.task,
        "tekton.dev/memberOf": child.facts.tasks[child.task][0],
    }
    annotations = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _NOT_PASSED
    }
    return {
        "name": child.name,
        "namespace": metadata.get("namespace", ""),
        "labels": labels,
        **({"annotations": annotations} if annotations else {}),
        "ownerReferences": [owner_reference(child.pipelinerun, PIPELINERUNS, controller=False)],
    }


def as_given(params: list[Object] | None) -> list[Object] | None:
    """Return params without protection where none is needed: a run treats its own values as data."""
    return params and [{**param, "value": unprotect_names(param.get("value"), _NOT_READ)} for param in params]


def child_reference(reference: Object | None) -> Object | None:
    """Return a reference for a child, which replaces variables in the params of a resolver."""
    if reference is None or reference.get("resolver"):
        return reference
    replaced: Object = unprotect(reference)
    return replaced


def child_timeout(child: NewChild) -> str | None:
    """Return a child's timeout: its own, or that of its part of the run where it is over the default."""
    if given := child.own.get("timeout") or child.spec.get("timeout"):
        return str(given)
    times = child.facts.times
    part = times.finally_ if child.facts.is_final(child.task) else times.tasks
    if part is None or 0 < part * _NANO <= child.default_timeout:
        return None
    return format_duration(int(part * _NANO))


def child_workspaces(child: NewChild) -> list[Object]:
    """Return what the run binds to a child's workspaces; a template's claim is one for the whole run.

    Raises:
        ResultUnread: The value of a result by reference is needed in a binding, and cannot be read.
        TooLargeError: A binding would be larger than one object can be.
    """
    bound = child.facts.inputs.workspaces(child.task)
    return task_workspaces(child.pipelinerun, bound, child.spec, child.mode)


def child_placement(child: NewChild) -> dict[str, str]:
    """Return the annotation that places a child's pods beside an affinity assistant; empty for none."""
    return assistant_annotation(child.pipelinerun, child.facts.plan.workspaces, child.spec, child.mode)
