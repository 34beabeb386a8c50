"""Labels and annotations that a PipelineRun gets from its Pipeline, as Tekton gives them."""

from typing import Any, Final

from resultsfw.cluster import Object

__all__ = ["PIPELINE_LABEL", "marks_of"]

PIPELINE_LABEL: Final = "tekton.dev/pipeline"
"""By this ``tkn pipeline`` and others find a Pipeline's runs."""

_NOT_PASSED: Final = frozenset({"kubectl.kubernetes.io/last-applied-configuration"})


def marks_of(pipelinerun: Object, pipeline: str, described: Object) -> dict[str, Any]:
    """The ``metadata`` to be added to a run that begins; empty if it has all of it.

    Args:
        pipelinerun: The run; what it says itself stays.
        pipeline: The Pipeline's name, or the run's own where the Pipeline is embedded.
        described: The Pipeline's ``metadata``; empty where it is embedded.
    """
    metadata = pipelinerun["metadata"]
    own = metadata.get("labels") or {}
    labels = {**(described.get("labels") or {}), PIPELINE_LABEL: own.get(PIPELINE_LABEL) or pipeline}
    annotations = described.get("annotations") or {}
    marks = {
        "labels": {key: value for key, value in labels.items() if key not in own},
        "annotations": {
            key: value
            for key, value in annotations.items()
            if key not in _NOT_PASSED and key not in (metadata.get("annotations") or {})
        },
    }
    return {key: value for key, value in marks.items() if value}
