"""Count and time runs and their results."""

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from resultsfw.cluster import Object
from resultsfw.plugins import installed_plugins
from resultsfw.stamps import STAMP_ANNOTATION
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.conditions import succeeded
from resultsfw.tekton.api.times import parse_time
from resultsfw.types import CollectionOutcome, ProblemCode

__all__ = ["RunMetrics", "backend_of"]

_REFUSALS: Final = frozenset(
    {reasons.VALIDATION_FAILED, reasons.RESOLUTION_FAILED, reasons.POD_CREATION_FAILED}
)
"""Reasons of TaskRuns that fail before their pod is created."""

_REASON: Final = re.compile("[A-Za-z]{1,64}")
_MOST_REASONS: Final = 100
"""Different reasons in labels; Tekton and this controller have some sixty."""

_EXTRACTION_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_RUN_SECONDS: Final = (1, 10, 30, 60, 300, 900, 1800, 3600, 5400, 10800, 21600, 43200, 86400)
"""Tekton's buckets, and one below them for runs of less than ten seconds."""

_START_SECONDS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800)

_RESULT_BYTES: Final = (64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304)
"""Among them what a termination message holds, and what one object does."""


def backend_of(taskrun: Object) -> str:
    """Return the backend a TaskRun was stamped with; "none" for one without a pod, or without results."""
    annotations = taskrun["metadata"].get("annotations") or {}
    return str(annotations.get(STAMP_ANNOTATION, "")).rpartition("/")[0] or "none"


class RunMetrics:
    """The metrics of runs and results. Safe for threads.

    Args:
        registry: Where the metrics are registered.
        backends: The values of the label ``backend``; any other backend is "other". Default: the installed.
    """

    def __init__(self, registry: CollectorRegistry, backends: Iterable[str] | None = None) -> None:
        self._reasons: set[str] = set()
        self._backends = {"none", *(backends or (backend.name for backend in installed_plugins()))}
        self.taskruns = Counter(
            "resultsfw_taskrun",
            "Total number of finished TaskRuns, by backend, outcome (succeeded, failed) and reason.",
            ("backend", "outcome", "reason"),
            registry=registry,
        )
        self.taskruns_refused = Counter(
            "resultsfw_taskruns_refused",
            "Total number of TaskRuns that failed before their pod was created, by condition reason.",
            ("reason",),
            registry=registry,
        )
        self.taskrun_seconds = Histogram(
            "resultsfw_taskrun_duration_seconds",
            "Duration of TaskRuns in seconds, from startTime to completionTime, by outcome.",
            ("outcome",),
            buckets=_RUN_SECONDS,
            registry=registry,
        )
        self.start_seconds = Histogram(
            "resultsfw_taskrun_start_latency_seconds",
            "Time from a TaskRun's startTime until the first container of a Step started, in seconds.",
            buckets=_START_SECONDS,
            registry=registry,
        )
        self.running_taskruns = Gauge(
            "resultsfw_running_taskruns",
            "Current number of TaskRuns that are not finished.",
            registry=registry,
        )
        self.pipelineruns = Counter(
            "resultsfw_pipelinerun",
            "Total number of finished PipelineRuns, by outcome (succeeded, failed) and reason.",
            ("outcome", "reason"),
            registry=registry,
        )
        self.pipelinerun_seconds = Histogram(
            "resultsfw_pipelinerun_duration_seconds",
            "Duration of PipelineRuns in seconds, from startTime to completionTime, by outcome.",
            ("outcome",),
            buckets=_RUN_SECONDS,
            registry=registry,
        )
        self.running_pipelineruns = Gauge(
            "resultsfw_running_pipelineruns",
            "Current number of PipelineRuns that are not finished.",
            registry=registry,
        )
        self.result_size = Histogram(
            "resultsfw_result_size_bytes",
            "Size of result values that arrived complete, in bytes, by backend.",
            ("backend",),
            buckets=_RESULT_BYTES,
            registry=registry,
        )
        self.results_refused = Counter(
            "resultsfw_results_refused",
            "Total number of results, or transports of results, that did not arrive complete, by reason.",
            ("reason",),
            registry=registry,
        )
        self.extraction = Histogram(
            "resultsfw_extraction_seconds",
            "Time to extract the results of one pod in seconds, by backend.",
            ("backend",),
            buckets=_EXTRACTION_SECONDS,
            registry=registry,
        )
        self.extraction_errors = Counter(
            "resultsfw_extraction_errors",
            "Total number of failed extractions that are retried, by backend and error code.",
            ("backend", "code"),
            registry=registry,
        )
        # At zero from the start: Prometheus sees no increase in a series that begins with 1.
        for outcome in ("succeeded", "failed"):
            self.taskrun_seconds.labels(outcome)
            self.pipelinerun_seconds.labels(outcome)
        for code in ProblemCode:
            self.results_refused.labels(str(code))

    def watch_running(self, taskruns: Callable[[], float], pipelineruns: Callable[[], float]) -> None:
        """Call these for how many runs of each kind are not finished, whenever the metrics are read."""
        self.running_taskruns.set_function(taskruns)
        self.running_pipelineruns.set_function(pipelineruns)

    def on_taskrun_condition(self, old: Object, taskrun: Object) -> None:
        """Count and time a TaskRun that finished: its Succeeded condition was ``old`` before."""
        if (outcome := _outcome(old, taskrun)) is None:
            return
        reason = self._reason(succeeded(taskrun))
        status = taskrun["status"]
        self.taskruns.labels(self.label(backend_of(taskrun)), outcome, reason).inc()
        if reason in _REFUSALS and not status.get("podName"):
            self.taskruns_refused.labels(reason).inc()
        began = parse_time(status.get("startTime"))
        _observe(self.taskrun_seconds.labels(outcome), began, parse_time(status.get("completionTime")))
        _observe(self.start_seconds, began, _first_start(status))

    def on_pipelinerun_condition(self, old: Object, pipelinerun: Object) -> None:
        """Count and time a PipelineRun that finished: its Succeeded condition was ``old`` before."""
        if (outcome := _outcome(old, pipelinerun)) is None:
            return
        self.pipelineruns.labels(outcome, self._reason(succeeded(pipelinerun))).inc()
        status = pipelinerun["status"]
        began, ended = parse_time(status.get("startTime")), parse_time(status.get("completionTime"))
        _observe(self.pipelinerun_seconds.labels(outcome), began, ended)

    def on_extraction(self, backend: str, collected: CollectionOutcome, seconds: float) -> None:
        """Count an extraction that came to a verdict over a pod's results."""
        label = self.label(backend)
        self.extraction.labels(label).observe(seconds)
        sizes = self.result_size.labels(label)
        for results in (collected.results, *collected.step_results.values()):
            for result in results:
                sizes.observe(result.size)
        for problem in collected.problems:
            self.results_refused.labels(str(problem.code)).inc()

    def on_extraction_error(self, backend: str, code: str) -> None:
        """Count an extraction that failed and is retried."""
        self.extraction_errors.labels(self.label(backend), code).inc()

    def label(self, backend: str) -> str:
        """Return a backend as a label: anybody can write the annotation, and must not make new series."""
        return backend if backend in self._backends else "other"

    def _reason(self, condition: Object) -> str:
        """Return a condition's reason as a label; tenants can write some: series are limited."""
        reason = str(condition.get("reason", ""))
        if reason not in self._reasons:
            if len(self._reasons) >= _MOST_REASONS or not _REASON.fullmatch(reason):
                return "other"
            self._reasons.add(reason)
        return reason


def _outcome(old: Object, run: Object) -> str | None:
    """Return the outcome of a run that has just finished; ``None`` for any other."""
    new = succeeded(run).get("status")
    if new not in ("True", "False") or old.get("status") in ("True", "False"):
        return None
    return "succeeded" if new == "True" else "failed"


def _first_start(status: Object) -> datetime | None:
    """Return when the first container of a Step started."""
    ends = (step.get("terminated") or {} for step in status.get("steps") or ())
    starts = (parse_time(end.get("startedAt")) for end in ends)
    return min((start for start in starts if start is not None), default=None)


def _observe(histogram: Histogram, began: datetime | None, ended: datetime | None) -> None:
    """Record the seconds between two times, if both are known."""
    if began is not None and ended is not None:
        histogram.observe(max(0.0, (ended - began).total_seconds()))
