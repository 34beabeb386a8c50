"""Count and time the extractions of results."""

import time
from collections.abc import Mapping

from resultsfw.cluster import Cluster, Object
from resultsfw.controller.run_metrics import RunMetrics
from resultsfw.core import ResultsManager
from resultsfw.errors import BackendError, ResultsError
from resultsfw.flags import Flags
from resultsfw.operations.logs import about
from resultsfw.stamps import read_stamp
from resultsfw.types import CollectionOutcome, Run, Stamp

__all__ = ["InstrumentedResultsManager"]


class InstrumentedResultsManager(ResultsManager):
    """A `ResultsManager` that reports each extraction to `RunMetrics`."""

    def __init__(
        self, flags: Flags, *, metrics: RunMetrics, register: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(flags, register=register)
        self._metrics = metrics

    def collect(
        self, run: Run, pod: Object, cluster: Cluster, *, stamp: Stamp | None = None, final: bool = False
    ) -> CollectionOutcome:
        """Collect results. See `ResultsManager.collect`; a run without declared results is not counted."""
        if not run.declares_results:
            return super().collect(run, pod, cluster, stamp=stamp, final=final)
        name = _backend(pod, stamp)
        began = time.perf_counter()
        try:
            with about(backend=name):
                collected = super().collect(run, pod, cluster, stamp=stamp, final=final)
        except ResultsError as error:
            self._metrics.on_extraction_error(name, error.code)
            raise
        self._metrics.on_extraction(name, collected, time.perf_counter() - began)
        return collected


def _backend(pod: Object, stamp: Stamp | None) -> str:
    try:
        used = read_stamp(pod) or stamp
    except BackendError:
        used = None
    return used.backend if used else "none"
