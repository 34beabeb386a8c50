"""Count and time requests to the API server, with the meaning of client-go's ``rest_client_*`` metrics."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

__all__ = ["ApiMetrics"]

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The client gives up after 30 s without an answer."""

_CODES: Final = range(100, 600)
"""HTTP has no others, but a proxy may send any three digits."""


class ApiMetrics:
    """The `RequestMetrics` of a connection (`resultsfw.kube.connection`). Safe for threads.

    Args:
        registry: Where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "resultsfw_api_requests",
            "Total number of requests to the API server, by verb and HTTP status; code 0 without an answer.",
            ("verb", "code"),
            registry=registry,
        )
        self._seconds = Histogram(
            "resultsfw_api_request_duration_seconds",
            "Time until the API server answered a request in seconds, by verb.",
            ("verb",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._waits = Histogram(
            "resultsfw_api_rate_limiter_duration_seconds",
            "Time that requests waited for the client's own rate limit (--qps, --burst) in seconds.",
            buckets=_SECONDS,
            registry=registry,
        )
        # At zero from the start: Prometheus sees no increase in a series that begins with 1.
        for verb in ("get", "list", "watch", "create", "update", "patch", "delete"):
            for refused in ("401", "403"):
                self._requests.labels(verb, refused)
        # Looking up a child by its labels takes longer than counting.
        self._counters: dict[tuple[str, int], Counter] = {}
        self._histograms: dict[str, Histogram] = {}

    def on_request(self, verb: str, code: int, seconds: float, /) -> None:
        """Record an answer; code 0 for none."""
        if (counter := self._counters.get((verb, code))) is None:
            counter = self._requests.labels(verb, str(code) if code in _CODES else "0")
            self._counters[verb, code] = counter
        counter.inc()
        if (histogram := self._histograms.get(verb)) is None:
            histogram = self._histograms[verb] = self._seconds.labels(verb)
        histogram.observe(seconds)

    def on_wait(self, seconds: float, /) -> None:
        """Record for how many seconds a request waited for the rate limit."""
        self._waits.observe(seconds)
