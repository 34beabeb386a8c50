"""The ``Succeeded`` condition of a run, of a TaskRun or a PipelineRun."""

from resultsfw.cluster import Object

__all__ = ["is_done", "succeeded"]


def succeeded(run: Object) -> Object:
    """The condition; empty before the run has one."""
    conditions = (run.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == "Succeeded"), {})


def is_done(run: Object) -> bool:
    """Whether a run has its verdict."""
    return succeeded(run).get("status") in ("True", "False")
