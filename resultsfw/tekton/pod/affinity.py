"""Place the pod of a TaskRun beside the affinity assistant that an annotation names."""

from typing import Final

from resultsfw import jsons
from resultsfw.cluster import Object
from resultsfw.tekton.api.kinds import ASSISTANT_ANNOTATION

__all__ = ["affinity_events", "with_affinity_assistant"]

_REQUIRED: Final = "requiredDuringSchedulingIgnoredDuringExecution"


def with_affinity_assistant(taskrun: Object, affinity: Object | None) -> Object | None:
    """Return a pod's affinity with a term for the run's assistant, if it has one, behind its own.

    Source: pkg/internal/affinityassistant/transformer.go.

    Args:
        taskrun: With its annotations.
        affinity: Of the run's pod template.
    """
    name = (taskrun["metadata"].get("annotations") or {}).get(ASSISTANT_ANNOTATION)
    if not name:
        return affinity
    labels = {"app.kubernetes.io/instance": name, "app.kubernetes.io/component": "affinity-assistant"}
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    given: Object = jsons.copy(affinity or {})
    beside: Object = given.get("podAffinity") or {}
    return {**given, "podAffinity": {**beside, _REQUIRED: [*(beside.get(_REQUIRED) or ()), term]}}


def affinity_events(taskrun: Object, pod: Object) -> tuple[tuple[str, str], ...]:
    """Return the Event (reason, message) of a pod whose template has an affinity beside its assistant's."""
    template = (taskrun.get("spec") or {}).get("podTemplate") or {}
    annotations = taskrun["metadata"].get("annotations") or {}
    if not (annotations.get(ASSISTANT_ANNOTATION) and template.get("affinity")):
        return ()
    name = pod["metadata"]["name"]
    return (
        (
            "PodAffinityOverwrite",
            f'Pod template affinity is overwritten by affinity assistant for pod "{name}"',
        ),
    )
