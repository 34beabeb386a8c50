"""What the processes export: every metric by its name, with its type and labels."""

from prometheus_client import CollectorRegistry

from resultsfw.controller.metrics import Metrics
from resultsfw.server.connections import Connections
from resultsfw.server.metrics import Metrics as ServerMetrics
from resultsfw.server.usage import Usage


def exported_metrics():
    """The metrics of both processes, with the suffix of counters."""
    server = ServerMetrics(CollectorRegistry(), lambda: 0, Connections(1, 1), Usage())
    return _exported(Metrics(["sidecar-logs"]).registry) | _exported(server.registry)


def _exported(registry):
    found = {}
    for collector in registry._collector_to_names:
        families = collector.describe() if hasattr(collector, "describe") else collector.collect()
        for family in families:
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = getattr(collector, "_labelnames", None) or getattr(family, "_labelnames", ())
            if name.startswith("resultsfw_"):
                found[name] = (family.type, list(labels))
    return found


def exported_series():
    """The series that a query may name, with their labels: of histograms, those of their parts."""
    series = {}
    for name, (kind, labels) in exported_metrics().items():
        if kind == "histogram":
            series[f"{name}_bucket"] = {*labels, "le"}
            series[f"{name}_sum"] = series[f"{name}_count"] = set(labels)
        else:
            series[name] = set(labels)
    return series
