"""Count and time the server's requests, in a Prometheus registry of its own."""

import platform
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from resultsfw.server.connections import Connections
from resultsfw.server.refusals import ALERTING
from resultsfw.server.store import StoredBytes

__all__ = ["Metrics"]

_SECONDS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_BYTES: Final = (1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216)

_NAMESPACES: Final = 100
"""Namespaces whose stored bytes are exported: those with the most."""


class _State(Collector):
    """Collects stored bytes by namespace, and connections, whenever the metrics are read."""

    def __init__(self, usage: StoredBytes, connections: Connections) -> None:
        self._usage = usage
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        stored = GaugeMetricFamily(
            "resultsfw_server_stored_bytes",
            f"Current number of stored bytes, of the {_NAMESPACES} namespaces with the most.",
            labels=("namespace",),
        )
        for namespace, size in self._usage.largest(_NAMESPACES):
            stored.add_metric((namespace,), size)
        yield stored
        yield GaugeMetricFamily(
            "resultsfw_server_stored_bytes_all",
            "Current number of stored bytes of all namespaces.",
            value=self._usage.total,
        )
        yield GaugeMetricFamily(
            "resultsfw_server_quota_bytes",
            "Quota of stored bytes per namespace; 0 for no quota.",
            value=self._usage.quota,
        )
        yield GaugeMetricFamily(
            "resultsfw_server_connections",
            "Current number of open connections.",
            value=self._connections.total,
        )
        shed = CounterMetricFamily(
            "resultsfw_server_connections_shed",
            "Total number of connections closed or refused, by the limit they exceeded (address, total).",
            labels=("limit",),
        )
        for limit, number in self._connections.shed.items():
            shed.add_metric((limit,), number)
        yield shed


class Metrics:
    """The metrics of the server. Safe for threads.

    Args:
        registry: Where the metrics are registered.
        body_bytes: Returns the bytes of bodies in memory now.
        connections: Of the port for results.
        usage: The stored bytes.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        body_bytes: Callable[[], float],
        connections: Connections,
        usage: StoredBytes,
    ) -> None:
        self.registry = registry
        self.requests = Counter(
            "resultsfw_server_requests",
            "Total number of requests for results, by verb (put, get, delete, other) and HTTP status.",
            ("verb", "code"),
            registry=self.registry,
        )
        self.refused = Counter(
            "resultsfw_server_refused",
            "Total number of refused requests, by verb and reason.",
            ("verb", "reason"),
            registry=self.registry,
        )
        self.delivered = Histogram(
            "resultsfw_server_request_size_bytes",
            "Size of request bodies that were stored, in bytes.",
            buckets=_BYTES,
            registry=self.registry,
        )
        self.sent = Histogram(
            "resultsfw_server_response_size_bytes",
            "Size of stored results that were sent, in bytes.",
            buckets=_BYTES,
            registry=self.registry,
        )
        self.seconds = Histogram(
            "resultsfw_server_request_duration_seconds",
            "Duration of requests in seconds, from request header to end of response, by verb.",
            ("verb",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.swept = Counter(
            "resultsfw_server_swept",
            "Total number of results removed because they exceeded the retention time.",
            registry=self.registry,
        )
        self.orphans = Counter(
            "resultsfw_server_orphans_removed",
            "Total number of results removed because their TaskRun no longer exists.",
            registry=self.registry,
        )
        self.certificates = Counter(
            "resultsfw_server_certificate_reloads",
            "Total number of certificate reloads, by outcome (taken, refused).",
            ("outcome",),
            registry=self.registry,
        )
        # At zero from the start: Prometheus sees no increase in a series that begins with 1.
        for outcome in ("taken", "refused"):
            self.certificates.labels(outcome)
        for reason in ALERTING:
            for verb in ("put", "get", "delete"):
                self.refused.labels(verb, reason)
        waiting = Gauge(
            "resultsfw_server_body_bytes", "Current bytes of bodies in memory.", registry=self.registry
        )
        waiting.set_function(body_bytes)
        self.registry.register(_State(usage, connections))
        built = Gauge(
            "resultsfw_server_build_info",
            "Version of resultsfw and Python; always 1.",
            ("version", "python"),
            registry=self.registry,
        )
        built.labels(metadata.version("resultsfw"), platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """Return all metrics in the Prometheus text format."""
        return generate_latest(self.registry)
