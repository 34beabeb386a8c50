"""Mark runs as failed that cannot be reconciled."""

import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from enum import Enum
from typing import Final

from resultsfw.cluster import PODS, Cluster, Kind, Object
from resultsfw.errors import ClusterError, NotFoundError, ObjectTooLargeError
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.attempts import attempt_number
from resultsfw.tekton.api.conditions import condition, is_done
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.api.names import pod_name
from resultsfw.tekton.api.owners import owns
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.pipelinerun import reasons as pipeline_reasons
from resultsfw.tekton.pipelinerun.children import cancel_patch, kind_of_reference
from resultsfw.tekton.pipelinerun.readable import unreadable_part

__all__ = ["STALLED_ANNOTATION", "Failure", "RunFailer", "stalls_of"]

log = logging.getLogger(__name__)

STALLED_ANNOTATION: Final = "resultsfw.dev/stalled"
"""On a run: how many processes it stalled. It is written before the liveness probe restarts such a process,
so that the run cannot stall one process after the other."""

_MOST_STALLS: Final = 1
"""Processes that a run may stall unpunished: one may have been slow for another reason."""

_MOST_CHILDREN: Final = 1000
_LONGEST: Final = 1000
"""Characters of a message."""

_CHILD_ENDED: Final = "TaskRun cancelled as the PipelineRun it belongs to cannot be reconciled."


class Failure(Enum):
    """Why a run cannot be reconciled: the condition reasons for a TaskRun and for a PipelineRun."""

    UNREADABLE = (reasons.VALIDATION_FAILED, pipeline_reasons.INVALID)
    FAULT = ("TaskRunReconcileFailed", "PipelineRunReconcileFailed")

    def reason(self, kind: Kind) -> str:
        """Return the condition reason for a run of that kind."""
        return self.value[0] if kind == TASKRUNS else self.value[1]


def stalls_of(run: Object) -> int:
    """Return how many processes a run has stalled, by its annotation."""
    text = (run["metadata"].get("annotations") or {}).get(STALLED_ANNOTATION, "")
    return int(text) if isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10 else 0  # noqa: PLR2004


class RunFailer:
    """Marks runs of one kind as failed, without reading their spec.

    Args:
        cluster: Where runs, pods and TaskRuns are written.
        kind: Of the runs: TaskRuns or PipelineRuns.
        cached: Returns a run from the cache: what the API server returns may not be decodable.
        clock: Returns the time; UTC.
    """

    def __init__(
        self,
        cluster: Cluster,
        kind: Kind,
        *,
        cached: Callable[[str, str], Object | None],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cluster = cluster
        self._kind = kind
        self._cached = cached
        self._clock = clock

    def mark_failed(self, request: tuple[str, str], failure: Failure, message: str) -> bool:
        """Write a run's final status, and stop its pod or TaskRuns.

        Returns:
            Whether the status was written: not for a run that is finished, being deleted, or unknown.

        Raises:
            ClusterError: The status could not be written.
        """
        run = self._cached(*request)
        if run is None or is_done(run) or run["metadata"].get("deletionTimestamp"):
            return False
        with contextlib.suppress(ClusterError):  # what keeps running ends with its own timeout
            self._stop(run)
        now, status = self._clock(), run.get("status") or {}
        final: Object = {
            "startTime": status.get("startTime") or format_time(now),
            "completionTime": format_time(now),
            "conditions": [condition("False", failure.reason(self._kind), message[:_LONGEST], now)],
        }
        if self._kind == TASKRUNS:  # the CRD requires one
            final["podName"] = status.get("podName") or ""
        version = run["metadata"].get("resourceVersion")
        patch: Object = {"metadata": {"resourceVersion": version}, "status": final}
        try:
            self._cluster.patch(self._kind, *request, patch, subresource="status")
        except ObjectTooLargeError:
            patch["status"] |= {"taskSpec" if self._kind == TASKRUNS else "pipelineSpec": None}
            self._cluster.patch(self._kind, *request, patch, subresource="status")
        return True

    def record_stall(self, request: tuple[str, str], message: str) -> None:
        """Note on a run that it stalled this process; mark it as failed if it stalled another before.

        Raises:
            ClusterError: It could not be written.
        """
        run = self._cached(*request)
        if run is None or is_done(run):
            return
        stalls = stalls_of(run)
        if stalls >= _MOST_STALLS and self.mark_failed(request, Failure.FAULT, message):
            return
        patch = {"metadata": {"annotations": {STALLED_ANNOTATION: str(stalls + 1)}}}
        with contextlib.suppress(NotFoundError):
            self._cluster.patch(self._kind, *request, patch)

    def _stop(self, run: Object) -> None:
        namespace, name = run["metadata"].get("namespace", ""), run["metadata"]["name"]
        status = run.get("status") or {}
        if self._kind == TASKRUNS:
            pod = pod_name(name, attempt_number(run))
            with contextlib.suppress(NotFoundError):
                if owns(run, self._cluster.get(PODS, namespace, pod)):
                    self._cluster.delete(PODS, namespace, pod)
            return
        for reference in (status.get("childReferences") or ())[:_MOST_CHILDREN]:
            kind = kind_of_reference(reference)
            with contextlib.suppress(NotFoundError):
                child = self._cluster.get(kind, namespace, reference.get("name", ""))
                if owns(run, child) and (unreadable_part(kind, child) or not is_done(child)):
                    self._cluster.patch(kind, namespace, reference["name"], cancel_patch(kind, _CHILD_ENDED))
