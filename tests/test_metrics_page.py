"""docs/reference/metrics.md has every metric with its type and labels, and no other."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry

from resultsfw.controller.metrics import Metrics
from resultsfw.server.connections import Connections
from resultsfw.server.metrics import Metrics as ServerMetrics
from resultsfw.server.usage import Usage

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "metrics.md"


def exported(registry):
    """The metrics of a registry by name, with their type and labels."""
    found = {}
    for collector in registry._collector_to_names:
        families = collector.describe() if hasattr(collector, "describe") else collector.collect()
        for family in families:
            name = family.name + ("_total" if family.type == "counter" else "")
            labels = getattr(collector, "_labelnames", None) or getattr(family, "_labelnames", ())
            if name.startswith("resultsfw_"):
                found[name] = (family.type, list(labels))
    return found


def everything():
    """The metrics of both processes."""
    server = ServerMetrics(CollectorRegistry(), lambda: 0, Connections(1, 1), Usage())
    return exported(Metrics(["sidecar-logs"]).registry) | exported(server.registry)


def test_every_metric_with_its_type_and_labels():
    rows = re.findall(r"^\| `(resultsfw_\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(), flags=re.MULTILINE)
    written = {name: (kind, re.findall(r"`(\w+)`", labels)) for name, kind, labels in rows}
    assert len(rows) == len(written)
    assert written == everything()
