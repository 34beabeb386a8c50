"""What one object holds: of a PipelineRun with its Pipeline in it, of a TaskRun with its params."""

from resultsfw.cluster import Object
from resultsfw.limits import object_size
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.child_statuses import ROOM

__all__ = ["beyond_room", "refuse_large", "too_large"]


def refuse_large(begun: Object) -> None:
    """Refuse a run that cannot hold its Pipeline once more in its status, before anything is made.

    Raises:
        RefusedRun: It cannot.
    """
    size, spec = object_size(begun), object_size(begun["status"]["pipelineSpec"])
    if size > ROOM:
        raise RefusedRun(
            reasons.TOO_LARGE,
            f"the PipelineRun {beyond_room(size)}: its Pipeline's spec has {spec} bytes and stands in its "
            f"status, too; put large scripts into Tasks of their own (taskRef), and large params into "
            f"results or workspaces",
        )


def beyond_room(size: int) -> str:
    """What to say of an object of so many bytes that is none."""
    return f"would have {size} bytes, over the limit of {ROOM} bytes one object may have"


def too_large(taskrun: Object, name: str) -> str:
    """Why a TaskRun cannot be stored; nothing if it can."""
    # Its status holds the Task's spec once more, with the parameters put in.
    size = object_size(taskrun)
    if size <= ROOM:
        return ""
    params = taskrun["spec"].get("params") or ()
    largest = max(params, key=lambda one: object_size(one.get("value")), default=None)
    which = (
        ""
        if largest is None
        else f'; its param "{largest["name"]}" has {object_size(largest["value"])} bytes'
    )
    return (
        f'the TaskRun of task "{name}" would have {size} bytes, over the limit of {ROOM} bytes one object '
        f"may have{which}: pass a reference (results-from: object-store), or less"
    )
