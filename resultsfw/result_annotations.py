"""Annotations of a run's status by which a pod delivers results to the controller.

Their backend reads them when the pod has ended; the status that ends the run or the attempt has none of them.
They are in ``status.annotations``, which Tekton's API has from Knative and which only those who may write the
status can write.
"""

from typing import Final

from resultsfw.cluster import Object

__all__ = ["RESULT_ANNOTATIONS", "annotation_removal", "without_result_annotations"]

RESULT_ANNOTATIONS: Final = "results.resultsfw.dev/"
"""What the names of these annotations begin with; the attempt's number and a dot follow."""


def annotation_removal(obj: Object) -> Object:
    """Return the part of a status's merge patch that removes them; empty if there are none."""
    names = [name for name in _annotations(obj) if name.startswith(RESULT_ANNOTATIONS)]
    return {"annotations": dict.fromkeys(names)} if names else {}


def without_result_annotations(obj: Object) -> Object:
    """Return an object without them; the object itself if it has none."""
    if not annotation_removal(obj):
        return obj
    kept = {name: text for name, text in _annotations(obj).items() if not name.startswith(RESULT_ANNOTATIONS)}
    status = {key: value for key, value in obj["status"].items() if key != "annotations"}
    return {**obj, "status": {**status, "annotations": kept} if kept else status}


def _annotations(obj: Object) -> Object:
    """Return the annotations of an object's status."""
    annotations = (obj.get("status") or {}).get("annotations")
    return annotations if isinstance(annotations, dict) else {}
