"""Check what one object holds: a PipelineRun with its Pipeline in it, a TaskRun with its params."""

from resultsfw.cluster import Object
from resultsfw.limits import OBJECT_CAPACITY, object_size
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.pipelinerun import reasons

__all__ = ["child_over_capacity", "over_capacity", "refuse_too_large"]


def refuse_too_large(begun: Object) -> None:
    """Refuse a run that cannot hold its Pipeline once more in its status, before anything is made.

    Raises:
        RefusedRun: It cannot.
    """
    size, spec = object_size(begun), object_size(begun["status"]["pipelineSpec"])
    if size > OBJECT_CAPACITY:
        raise RefusedRun(
            reasons.TOO_LARGE,
            f"the PipelineRun {over_capacity(size)}: its Pipeline's spec has {spec} bytes and stands in its "
            f"status, too; put large scripts into Tasks of their own (taskRef), and large params into "
            f"results or workspaces",
        )


def over_capacity(size: int) -> str:
    """Return what to say of an object that would have so many bytes."""
    return f"would have {size} bytes, over the limit of {OBJECT_CAPACITY} bytes one object may have"


def child_over_capacity(child: Object, name: str) -> str:
    """Return why a child cannot be stored; empty if it can.

    Args:
        child: To be created.
        name: The name of its Pipeline Task.
    """
    # A TaskRun's status holds the Task's spec once more, with the parameters put in.
    size = object_size(child)
    if size <= OBJECT_CAPACITY:
        return ""
    params = child["spec"].get("params") or ()
    largest = max(params, key=lambda param: object_size(param.get("value")), default=None)
    which = (
        ""
        if largest is None
        else f'; its param "{largest["name"]}" has {object_size(largest["value"])} bytes'
    )
    instead = ": pass a reference (results-from: object-store), or less"
    if child["kind"] != TASKRUNS.kind:
        instead = ": pass less"  # its controller reads values only
    return (
        f'the {child["kind"]} of task "{name}" would have {size} bytes, over the limit of {OBJECT_CAPACITY} '
        f"bytes one object may have{which}{instead}"
    )
