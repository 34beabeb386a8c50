"""Labels and annotations that a PipelineRun gets from its Pipeline, as Tekton gives them."""

from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.tekton.api.inherited import inherited_metadata

__all__ = ["PIPELINE_LABEL", "marks_of"]

PIPELINE_LABEL: Final = "tekton.dev/pipeline"
"""By this ``tkn pipeline`` and others find a Pipeline's runs."""


def marks_of(pipelinerun: Object, pipeline: str, described: Object) -> dict[str, Any]:
    """The ``metadata`` to be added to a run that begins; empty if it has all of it.

    Args:
        pipelinerun: The run; what it says itself stays.
        pipeline: The Pipeline's name, or the run's own where the Pipeline is embedded.
        described: The Pipeline's ``metadata``; empty where it is embedded.
    """
    return inherited_metadata(pipelinerun, described, label=PIPELINE_LABEL, name=pipeline)
