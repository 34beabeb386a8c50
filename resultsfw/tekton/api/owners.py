"""Whose an object is: what a run makes refers to it, and nothing else is touched."""

from resultsfw.cluster import Kind, Object
from resultsfw.tekton.api.kinds import TASKRUNS

__all__ = ["owner_reference", "owns"]


def owner_reference(run: Object, kind: Kind = TASKRUNS, *, controller: bool = True) -> Object:
    """Return what makes an object a run's own: it goes with the run.

    Args:
        run: The owner.
        kind: Its kind.
        controller: Whether the run is named as the object's controller. Tekton's controller then
            reconciles the run, whoever manages it (docs/decisions/0006).
    """
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": run["metadata"]["name"],
        "uid": run["metadata"].get("uid", ""),
        "controller": controller,
        "blockOwnerDeletion": True,
    }


def owns(run: Object, obj: Object) -> bool:
    """Return whether an object is this very run's: one of the same name may be somebody else's."""
    uid = run["metadata"].get("uid")
    return any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences") or ())
