"""Count and time what the controller does, in a Prometheus registry of its own."""

import platform
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import metadata

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest

from resultsfw.controller.controller import Controller
from resultsfw.controller.run_metrics import RunMetrics
from resultsfw.controller.work_metrics import WorkMetrics
from resultsfw.kube import Reflector
from resultsfw.operations.api_metrics import ApiMetrics

__all__ = ["Metrics"]


class Metrics:
    """The metrics of the process. Safe for threads.

    Args:
        backends: See `RunMetrics`.

    Attributes:
        runs: Runs and their results.
        work: Queues and workers.
        api: Requests to the API server.
    """

    def __init__(self, backends: Iterable[str] | None = None) -> None:
        self.registry = CollectorRegistry()
        self.runs = RunMetrics(self.registry, backends)
        self.work = WorkMetrics(self.registry)
        self.api = ApiMetrics(self.registry)
        self.watch_restarts = Counter(
            "resultsfw_watch_restarts",
            "Total number of restarted watches, by resource.",
            ("resource",),
            registry=self.registry,
        )
        self._cached = Gauge(
            "resultsfw_cached_objects",
            "Current number of objects in the cache, by resource.",
            ("resource",),
            registry=self.registry,
        )
        self._unreadable = Gauge(
            "resultsfw_unreadable_objects",
            "Current number of objects that cannot be decoded or reconciled, by resource; the log has each.",
            ("resource",),
            registry=self.registry,
        )
        self.unwatched_namespaces = Gauge(
            "resultsfw_unwatched_namespaces",
            "Current number of namespaces of --watch-namespaces whose runs have not been listed yet.",
            registry=self.registry,
        )
        self._stalled = Gauge(
            "resultsfw_stalled_run_seconds",
            "Seconds that a worker has spent in one stalled reconciliation, by run.",
            ("kind", "namespace", "name"),
            registry=self.registry,
        )
        self.events_dropped = Counter(
            "resultsfw_events_dropped",
            "Total number of Kubernetes Events not written: refused by the API server, or too many at once.",
            registry=self.registry,
        )
        self.flags_failures = Counter(
            "resultsfw_flags_reload_failures",
            "Total number of rejected edits of the feature-flags ConfigMap.",
            registry=self.registry,
        )
        self.flags_rejected = Gauge(
            "resultsfw_flags_rejected",
            "1 if the feature-flags ConfigMap holds a rejected edit, else 0.",
            registry=self.registry,
        )
        self.flags_doubtful = Gauge(
            "resultsfw_flags_doubtful",
            "Current number of warnings about the ConfigMaps in effect (Events FlagsDoubtful).",
            registry=self.registry,
        )
        self.leader = Gauge(
            "resultsfw_is_leader", "1 if this replica is the leader, else 0.", registry=self.registry
        )
        built = Gauge(
            "resultsfw_build_info",
            "Version of resultsfw and Python; always 1.",
            ("version", "python"),
            registry=self.registry,
        )
        built.labels(metadata.version("resultsfw"), platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)
        self.leader.set(0)

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)

    def watch(
        self,
        controllers: Mapping[str, Controller],
        reflectors: Iterable[Reflector],
        *,
        taskruns: Callable[[], float],
        pipelineruns: Callable[[], float],
    ) -> None:
        """Ask these whenever the metrics are read.

        Args:
            controllers: By the kind of their runs.
            reflectors: The caches.
            taskruns: Returns how many TaskRuns are not finished.
            pipelineruns: Returns how many PipelineRuns are not finished.
        """
        self.work.watch(controllers)
        self.runs.watch_running(taskruns, pipelineruns)
        self._watch_caches(reflectors)

    def _watch_caches(self, reflectors: Iterable[Reflector]) -> None:
        by_resource: dict[str, list[Reflector]] = {}
        for reflector in reflectors:
            by_resource.setdefault(reflector.kind.plural, []).append(reflector)
        for resource, same in by_resource.items():
            self._cached.labels(resource).set_function(partial(_count_objects, same))
            self._unreadable.labels(resource).set_function(partial(_count_unreadable, same))

    def stalled_runs(self, seconds: Mapping[tuple[str, str, str], float]) -> None:
        """Export these runs as stalled, by kind, namespace and name, and no others."""
        self._stalled.clear()
        for labels, value in seconds.items():
            self._stalled.labels(*labels).set(value)


def _count_objects(reflectors: list[Reflector]) -> int:
    return sum(map(len, reflectors))


def _count_unreadable(reflectors: list[Reflector]) -> int:
    return sum(len(reflector.unreadable) for reflector in reflectors)
