"""Count and time what the controller does, in a Prometheus registry of its own."""

import platform
import re
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from resultsfw.cluster import Object
from resultsfw.plugins import installed_plugins
from resultsfw.stamps import STAMP_ANNOTATION
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.conditions import succeeded
from resultsfw.tekton.api.times import parse_time
from resultsfw.types import CollectionOutcome

__all__ = ["Metrics", "backend_of", "succeeded"]

_REFUSALS = frozenset({reasons.VALIDATION_FAILED, reasons.RESOLUTION_FAILED, reasons.POD_CREATION_FAILED})
"""Reasons of TaskRuns that fail before their pod is created."""

_REASON = re.compile("[A-Za-z]{1,64}")
_MOST_REASONS = 100
"""Different reasons in labels; Tekton and this controller have some sixty."""

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_RUN_SECONDS = (1, 10, 30, 60, 300, 900, 1800, 3600, 5400, 10800, 21600, 43200, 86400)
"""Tekton's buckets, and one below them for PipelineRuns of less than ten seconds."""


def backend_of(taskrun: Object) -> str:
    """Return the backend a TaskRun was stamped with; "none" for one without a pod, or without results."""
    annotations = taskrun["metadata"].get("annotations") or {}
    return str(annotations.get(STAMP_ANNOTATION, "")).rpartition("/")[0] or "none"


class Metrics:
    """The metrics of the process. Safe for threads.

    Args:
        backends: The values of the label ``backend``; any other backend is "other". Default: the installed.
    """

    def __init__(self, backends: Iterable[str] | None = None) -> None:
        self.registry = CollectorRegistry()
        self._reasons: set[str] = set()
        self._backends = {"none", *(backends or (backend.name for backend in installed_plugins()))}
        self.runs = Counter(
            "resultsfw_runs",
            "Total number of finished TaskRuns, by backend, outcome (succeeded, failed) and reason.",
            ("backend", "outcome", "reason"),
            registry=self.registry,
        )
        self.runs_refused = Counter(
            "resultsfw_runs_refused",
            "Total number of TaskRuns that failed before their pod was created, by condition reason.",
            ("reason",),
            registry=self.registry,
        )
        self.pipelineruns = Counter(
            "resultsfw_pipelinerun",
            "Total number of finished PipelineRuns, by outcome (succeeded, failed) and reason.",
            ("outcome", "reason"),
            registry=self.registry,
        )
        self.pipelinerun_seconds = Histogram(
            "resultsfw_pipelinerun_duration_seconds",
            "Duration of PipelineRuns in seconds, from startTime to completionTime, by outcome.",
            ("outcome",),
            buckets=_RUN_SECONDS,
            registry=self.registry,
        )
        self.running_pipelineruns = Gauge(
            "resultsfw_running_pipelineruns",
            "Current number of PipelineRuns that are not finished.",
            registry=self.registry,
        )
        self.pipelinerun_reconciles = Counter(
            "resultsfw_pipelinerun_reconciles",
            "Total number of PipelineRun reconciliations, by result (done, conflict, retry, failed, bug).",
            ("result",),
            registry=self.registry,
        )
        self.pipelinerun_depth = Gauge(
            "resultsfw_pipelinerun_queue_depth",
            "Current number of PipelineRuns in the work queue.",
            registry=self.registry,
        )
        self.result_bytes = Counter(
            "resultsfw_result_bytes",
            "Total bytes of result values that arrived complete, by backend.",
            ("backend",),
            registry=self.registry,
        )
        self.results_refused = Counter(
            "resultsfw_results_refused",
            "Total number of results, or transports of results, that did not arrive complete, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.extraction = Histogram(
            "resultsfw_extraction_seconds",
            "Time to extract the results of one pod in seconds, by backend.",
            ("backend",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.extraction_errors = Counter(
            "resultsfw_extraction_errors",
            "Total number of failed extractions that are retried, by backend and error code.",
            ("backend", "code"),
            registry=self.registry,
        )
        self.reconciles = Counter(
            "resultsfw_reconciles",
            "Total number of TaskRun reconciliations, by result (done, conflict, retry, failed, bug).",
            ("result",),
            registry=self.registry,
        )
        self.retries = Counter(
            "resultsfw_queue_retries",
            "Total number of requests requeued after an error.",
            registry=self.registry,
        )
        self.depth = Gauge(
            "resultsfw_queue_depth", "Current number of TaskRuns in the work queue.", registry=self.registry
        )
        self.watch_restarts = Counter(
            "resultsfw_watch_restarts",
            "Total number of restarted watches, by kind.",
            ("kind",),
            registry=self.registry,
        )
        self._unreadable = Gauge(
            "resultsfw_unreadable_objects",
            "Current number of objects that cannot be decoded or reconciled, by kind; the log names each.",
            ("kind",),
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

    def watch_depth(self, depth: Callable[[], float]) -> None:
        """Call this for the depth of the queue of TaskRuns whenever the metrics are read."""
        self.depth.set_function(depth)

    def watch_pipelineruns(self, depth: Callable[[], float], running: Callable[[], float]) -> None:
        """Call these for the depth of the queue of PipelineRuns, and for how many are not finished."""
        self.pipelinerun_depth.set_function(depth)
        self.running_pipelineruns.set_function(running)

    def watch_unreadable(self, kind: str, count: Callable[[], float]) -> None:
        """Call this for the number of unreadable objects of a kind whenever the metrics are read."""
        self._unreadable.labels(kind).set_function(count)

    def stalled_runs(self, seconds: Mapping[tuple[str, str, str], float]) -> None:
        """Export these runs as stalled, by kind, namespace and name, and no others."""
        self._stalled.clear()
        for labels, value in seconds.items():
            self._stalled.labels(*labels).set(value)

    def count_pipelinerun_reconcile(self, result: str) -> None:
        """Count a reconciliation of a PipelineRun."""
        self.pipelinerun_reconciles.labels(result).inc()
        if result in ("retry", "failed", "bug"):
            self.retries.inc()

    def on_pipelinerun_condition(self, old: Object, pipelinerun: Object) -> None:
        """Count a PipelineRun that finished: its Succeeded condition was ``old`` before."""
        new = succeeded(pipelinerun)
        if new.get("status") not in ("True", "False") or old.get("status") in ("True", "False"):
            return
        outcome = "succeeded" if new["status"] == "True" else "failed"
        self.pipelineruns.labels(outcome, self._reason(new)).inc()
        status = pipelinerun["status"]
        began, ended = parse_time(status.get("startTime")), parse_time(status.get("completionTime"))
        if began is not None and ended is not None:
            self.pipelinerun_seconds.labels(outcome).observe((ended - began).total_seconds())

    def on_extraction(self, backend: str, collected: CollectionOutcome, seconds: float) -> None:
        """Count an extraction that came to a verdict over a pod's results."""
        label = self.label(backend)
        self.extraction.labels(label).observe(seconds)
        step_results = (result for results in collected.step_results.values() for result in results)
        size = sum(result.size for result in (*collected.results, *step_results))
        self.result_bytes.labels(label).inc(size)
        for problem in collected.problems:
            self.results_refused.labels(str(problem.code)).inc()

    def on_taskrun_condition(self, old: Object, taskrun: Object) -> None:
        """Count a TaskRun that finished: its Succeeded condition was ``old`` before."""
        new = succeeded(taskrun)
        if new.get("status") not in ("True", "False") or old.get("status") in ("True", "False"):
            return
        reason = self._reason(new)
        outcome = "succeeded" if new["status"] == "True" else "failed"
        self.runs.labels(self.label(backend_of(taskrun)), outcome, reason).inc()
        if reason in _REFUSALS and not taskrun["status"].get("podName"):
            self.runs_refused.labels(reason).inc()

    def _reason(self, verdict: Object) -> str:
        """Return a condition's reason as a label; tenants can write some: series are limited."""
        reason = str(verdict.get("reason", ""))
        if reason not in self._reasons:
            if len(self._reasons) >= _MOST_REASONS or not _REASON.fullmatch(reason):
                return "other"
            self._reasons.add(reason)
        return reason

    def label(self, backend: str) -> str:
        """Return a backend as a label: anybody can write the annotation, and must not make new series."""
        return backend if backend in self._backends else "other"
