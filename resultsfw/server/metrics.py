"""What the server counts, as Prometheus reads it."""

import platform
from collections.abc import Callable
from importlib import metadata
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

__all__ = ["Metrics"]

_SECONDS: Final = (0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """The server's counters. Safe for threads.

    Args:
        held: Bytes of bodies in memory now.
    """

    def __init__(self, held: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "resultsfw_server_requests",
            "Requests for results that were answered, by verb (put, get, delete) and status.",
            ("verb", "status"),
            registry=self.registry,
        )
        self.refused = Counter(
            "resultsfw_server_refused",
            "Requests that were refused, by verb and code.",
            ("verb", "code"),
            registry=self.registry,
        )
        self.bytes = Counter(
            "resultsfw_server_bytes",
            "Bytes of bodies that were stored (in) and handed out (out).",
            ("way",),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "resultsfw_server_request_seconds",
            "Seconds from a request's head to its answer's end, by verb.",
            ("verb",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.swept = Counter(
            "resultsfw_server_swept",
            "Results that were removed for their age: nobody had purged them.",
            registry=self.registry,
        )
        self.certificates = Counter(
            "resultsfw_server_certificate_reloads",
            "Certificates that were read anew, by outcome (taken, refused).",
            ("outcome",),
            registry=self.registry,
        )
        waiting = Gauge(
            "resultsfw_server_body_bytes", "Bytes of bodies in memory now.", registry=self.registry
        )
        waiting.set_function(held)
        built = Gauge(
            "resultsfw_server_build_info", "Always 1.", ("version", "python"), registry=self.registry
        )
        built.labels(metadata.version("resultsfw"), platform.python_version()).set(1)
        ProcessCollector(registry=self.registry)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self.registry)
