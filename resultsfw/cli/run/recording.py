"""A `ResultsManager` that keeps its verdicts, so that `resultsfw run` can say more than a condition does."""

from collections.abc import Mapping
from typing import Any

from resultsfw.cluster import Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.flags import Flags
from resultsfw.tekton.api.attempts import attempt_number
from resultsfw.types import CollectionOutcome, Run, Stamp

__all__ = ["RecordingManager"]


class RecordingManager(ResultsManager):
    """A `ResultsManager` that remembers what it found out about the results of each run and attempt."""

    def __init__(self, flags: Flags) -> None:
        super().__init__(flags)
        self._verdicts: dict[tuple[str, str, int], CollectionOutcome] = {}

    def collect(
        self, run: Run, pod: Object, cluster: Cluster, *, stamp: Stamp | None = None, final: bool = False
    ) -> CollectionOutcome:
        """Read a pod's results as `ResultsManager.collect` does, and remember the verdict."""
        collected = super().collect(run, pod, cluster, stamp=stamp, final=final)
        self._verdicts[run.namespace, run.name, run.attempt] = collected
        return collected

    def verdict_on(self, taskrun: Mapping[str, Any]) -> CollectionOutcome | None:
        """Return the verdict over the results of a TaskRun's last attempt; ``None`` if none were read."""
        metadata = taskrun["metadata"]
        attempt = attempt_number(taskrun)
        return self._verdicts.get((metadata["namespace"], metadata["name"], attempt))
