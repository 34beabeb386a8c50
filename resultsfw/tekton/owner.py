"""Whose an object is: what a TaskRun makes refers to it, and nothing else is touched."""

from resultsfw.cluster import Object

__all__ = ["owner_reference", "owns"]


def owner_reference(taskrun: Object) -> Object:
    """What makes an object a TaskRun's own: it goes with the run."""
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "name": taskrun["metadata"]["name"],
        "uid": taskrun["metadata"].get("uid", ""),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def owns(taskrun: Object, obj: Object) -> bool:
    """Whether an object is this very TaskRun's: one of the same name may be somebody else's."""
    uid = taskrun["metadata"].get("uid")
    return any(one.get("uid") == uid for one in obj["metadata"].get("ownerReferences") or ())
