"""The core, with its readings of results counted."""

import time
from collections.abc import Iterable, Mapping

from resultsfw.cluster import Cluster, Object
from resultsfw.controller.metrics import Metrics
from resultsfw.core import ResultsManager, stamp_of
from resultsfw.errors import BackendError, ResultsError
from resultsfw.flags import Flags
from resultsfw.operations.logs import about
from resultsfw.types import CollectionOutcome, Run, Stamp

__all__ = ["InstrumentedCore"]


class InstrumentedCore(ResultsManager):
    """A core that tells `Metrics` of every verdict over a pod's results."""

    def __init__(
        self,
        flags: Flags,
        *,
        metrics: Metrics,
        register: Mapping[str, object] | None = None,
        extensions: Iterable[str] = (),
    ) -> None:
        super().__init__(flags, register=register, extensions=extensions)
        self._metrics = metrics

    def collect(
        self, run: Run, pod: Object, cluster: Cluster, *, stamp: Stamp | None = None, final: bool = False
    ) -> CollectionOutcome:
        """As `ResultsManager.collect`; a run without results is not counted, for nothing is read."""
        if not run.declares:
            return super().collect(run, pod, cluster, stamp=stamp, final=final)
        name = _backend(pod, stamp)
        began = time.perf_counter()
        try:
            with about(backend=name):
                collected = super().collect(run, pod, cluster, stamp=stamp, final=final)
        except ResultsError as error:
            self._metrics.extraction_errors.labels(self._metrics.label(name), error.code).inc()
            raise
        self._metrics.collected(name, collected, time.perf_counter() - began)
        return collected


def _backend(pod: Object, stamp: Stamp | None) -> str:
    try:
        found = stamp_of(pod) or stamp
    except BackendError:
        found = None
    return found.backend if found else "none"
