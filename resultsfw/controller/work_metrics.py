"""Count and time the work of the controllers, with the meaning of controller-runtime's metrics."""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from resultsfw.controller.controller import Controller

__all__ = ["QueueMetrics", "WorkMetrics"]

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

_RESULTS: Final = ("done", "conflict", "retry", "failed", "bug")
"""Results of a reconciliation."""

_RETRIED: Final = frozenset({"retry", "failed", "bug"})
"""Those after which the run is requeued as failing."""


class QueueMetrics:
    """The metrics of one kind's queue (see `resultsfw.workqueue.QueueMetrics`)."""

    def __init__(self, queued: Histogram, worked: Histogram) -> None:
        self._queued = queued
        self._worked = worked

    def on_get(self, seconds: float, /) -> None:
        """Record for how many seconds a run waited."""
        self._queued.observe(seconds)

    def on_done(self, seconds: float, /) -> None:
        """Record how many seconds a reconciliation took."""
        self._worked.observe(seconds)


class WorkMetrics:
    """The metrics of queues and workers, by the kind of their runs. Safe for threads.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reconciles = Counter(
            "resultsfw_reconciles",
            "Total number of reconciliations, by kind and result (done, conflict, retry, failed, bug).",
            ("kind", "result"),
            registry=registry,
        )
        self._workers = Gauge(
            "resultsfw_active_workers",
            "Current number of workers that reconcile a run, by kind.",
            ("kind",),
            registry=registry,
        )
        self._most_workers = Gauge(
            "resultsfw_max_concurrent_reconciles", "Number of workers, by kind.", ("kind",), registry=registry
        )
        self._depth = Gauge(
            "resultsfw_workqueue_depth",
            "Current number of runs that wait for a worker, by kind.",
            ("kind",),
            registry=registry,
        )
        self._queued = Histogram(
            "resultsfw_workqueue_queue_duration_seconds",
            "Time that runs waited for a worker in seconds, by kind.",
            ("kind",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._worked = Histogram(
            "resultsfw_workqueue_work_duration_seconds",
            "Time that one reconciliation took in seconds, by kind.",
            ("kind",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._retries = Counter(
            "resultsfw_workqueue_retries",
            "Total number of runs requeued after an error, by kind.",
            ("kind",),
            registry=registry,
        )
        self._longest = Gauge(
            "resultsfw_workqueue_longest_running_processor_seconds",
            "Seconds that the longest reconciliation in progress has taken, by kind.",
            ("kind",),
            registry=registry,
        )

    def queue(self, kind: str) -> QueueMetrics:
        """Return the metrics of the queue of a kind."""
        # At zero from the start: Prometheus sees no increase in a series that begins with 1.
        self._retries.labels(kind)
        for result in _RESULTS:
            self._reconciles.labels(kind, result)
        return QueueMetrics(self._queued.labels(kind), self._worked.labels(kind))

    def watch(self, controllers: Mapping[str, Controller]) -> None:
        """Ask these controllers, by the kind of their runs, whenever the metrics are read."""
        for kind, controller in controllers.items():
            self._watch(kind, controller)

    def _watch(self, kind: str, controller: Controller) -> None:
        self._depth.labels(kind).set_function(lambda: len(controller.queue))
        self._workers.labels(kind).set_function(lambda: len(controller.running_seconds()))
        self._longest.labels(kind).set_function(lambda: max(controller.running_seconds(), default=0.0))
        self._most_workers.labels(kind).set(controller.workers)

    def count_reconcile(self, kind: str, result: str) -> None:
        """Count a reconciliation."""
        self._reconciles.labels(kind, result).inc()
        if result in _RETRIED:
            self._retries.labels(kind).inc()
