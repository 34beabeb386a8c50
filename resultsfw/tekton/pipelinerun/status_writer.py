"""Write a PipelineRun's status: conditionally, and as much of it as one object holds."""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import ObjectTooLargeError
from resultsfw.flags import EmbeddedStatus
from resultsfw.jsons import merge_patch
from resultsfw.limits import OBJECT_CAPACITY, object_size
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.kinds import PIPELINERUNS
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.pipelinerun import child_statuses, reasons
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.object_limits import over_capacity
from resultsfw.tekton.pipelinerun.status import pipeline_results

__all__ = ["StatusWriter", "Warn"]

log = logging.getLogger(__name__)

Warn = Callable[[Object, str, str], None]
"""Warns people of something about a run: the run, a reason and a sentence."""


class StatusWriter:
    """Writes the status of PipelineRuns.

    Args:
        cluster: Where they live.
        warn: Warns people of what a run's status cannot hold; besides the log.
    """

    def __init__(self, cluster: Cluster, warn: Warn) -> None:
        self._cluster = cluster
        self._warn = warn

    def write_facts(
        self, pipelinerun: Object, facts: Facts, status: Object, mode: EmbeddedStatus, now: datetime
    ) -> Object:
        """Write the state of a run, or how it ended, as far as one object holds it.

        Copies of TaskRuns are left out before results of its own; whatever is, the run fails naming it.

        Args:
            pipelinerun: As last read.
            facts: Of the run.
            status: Its condition, its Pipeline's spec, and what else is known but of its TaskRuns.
            mode: The flag ``embedded-status``.
            now: The time.

        Returns:
            The run as it is then.

        Raises:
            ClusterError: It could not be written.
        """
        status = {**status, **child_statuses.child_fields(facts, pipelinerun.get("status", {}), mode)}
        over = status["conditions"][0]["status"] != "Unknown"
        if over:
            status |= _final_fields(pipelinerun, facts, status, now)
        status, size, left = child_statuses.fit_into_object(pipelinerun, status)
        if over and left:
            status["conditions"] = [_too_full(status, mode, over_capacity(size), left, now)]
        try:
            written = self.write(pipelinerun, status)
        except ObjectTooLargeError as error:
            if not (copied := child_statuses.copied_names(status)):
                raise
            status = child_statuses.without_copies(status, copied)
            if over:
                why = f"is larger than the server stores ({error.message})"
                names = [f'"{name}"' for name in copied]
                status["conditions"] = [_too_full(status, mode, why, names, now)]
            written = self.write(pipelinerun, status)
        if child_statuses.is_pruned(status, written):
            instead = child_statuses.references_only(facts, mode)
            (message,) = instead["annotations"].values()
            metadata = pipelinerun["metadata"]
            log.warning("PipelineRun %s/%s: %s", metadata.get("namespace", ""), metadata["name"], message)
            self._warn(pipelinerun, reasons.STATUS_PRUNED, message)
            written = self.write(written, instead)
        return written

    def write(self, pipelinerun: Object, status: Object) -> Object:
        """Write a status conditionally, unless only a time would change; return the run as it is then."""
        known = pipelinerun.get("status", {})
        same = {key for key, value in status.items() if _is_still(key, known.get(key), value)}
        if same == status.keys():
            return pipelinerun
        if "conditions" in same:  # its time is that of its last change
            status = {key: value for key, value in status.items() if key != "conditions"}
        metadata = pipelinerun["metadata"]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
        written = self._cluster.patch(
            PIPELINERUNS, metadata.get("namespace", ""), metadata["name"], patch, subresource="status"
        )
        return {**pipelinerun, "metadata": written["metadata"], "status": written.get("status", {})}


def _final_fields(pipelinerun: Object, facts: Facts, status: Object, now: datetime) -> dict[str, Any]:
    """Return what a verdict adds: the time, and the run's own results as far as they fit into one object."""
    ended: dict[str, Any] = {"completionTime": format_time(now)}
    known = status["conditions"][0]
    if facts.requested == "Cancelled":
        return ended
    written, invalid = pipeline_results(status["pipelineSpec"], facts)
    if invalid:
        message = (
            f"Failed to get PipelineResult from TaskRun Results for PipelineRun "
            f"{pipelinerun['metadata']['name']}: invalid pipelineresults [{' '.join(invalid)}], the "
            f"referenced results don't exist"
        )
        reason = reasons.COULDNT_GET_RESULT
        if facts.invalid:  # why Tasks did not run comes first
            reason, message = known["reason"], f"{known['message']}; {message}"
        ended["conditions"] = [condition("False", reason, message, now)]
    bare = {**status, **ended, "taskRuns": None, "results": written}
    size = object_size(merge_patch(pipelinerun, {"status": bare}))
    left: dict[str, int] = {}
    excess = size - OBJECT_CAPACITY
    for result in sorted(written, key=object_size, reverse=True):
        if excess <= 0:
            break
        excess -= object_size(result)
        left[result["name"]] = object_size(result["value"])
    if left:
        written = [result for result in written if result["name"] not in left]
        names = ", ".join(f'"{name}" ({count} bytes)' for name, count in left.items())
        message = (
            f"{known['message']}; with its results the PipelineRun {over_capacity(size)}; left out: "
            f"{names}: take them from the TaskRuns that wrote them"
        )
        ended["conditions"] = [condition("False", reasons.TOO_LARGE, message, now)]
    return {**ended, "results": written or None}


def _too_full(status: Object, mode: str, why: str, left: list[str], now: datetime) -> Object:
    """Return the condition of a run that is over and cannot hold copies of all its TaskRuns."""
    message = (
        f"{status['conditions'][0]['message']}; with embedded-status {mode} the PipelineRun {why}; left out "
        f"of status.taskRuns: {', '.join(left)}: see the TaskRuns themselves, or set embedded-status: minimal"
    )
    return condition("False", reasons.TOO_LARGE, message, now)


def _is_still(key: str, old: Any, new: Any) -> bool:
    """Return whether a patch of a field would change nothing but the time of its conditions."""
    if key == "conditions":
        return bool(_untimed(old) == _untimed(new))
    if old == new:
        return True
    return isinstance(new, dict) and bool(merge_patch(old, new) == old)


def _untimed(conditions: Any) -> Any:
    return [
        {field: entry[field] for field in entry if field != "lastTransitionTime"}
        for entry in conditions or ()
    ]
