"""docs/reference/metrics.md has every metric with its type and labels, and no other."""

import re
from pathlib import Path

from exported import exported_metrics

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def test_every_metric_with_its_type_and_labels():
    rows = re.findall(r"^\| `(resultsfw_\w+)` \| (\w+) \|([^|]*)\|", PAGE.read_text(), flags=re.MULTILINE)
    written = {name: (kind, re.findall(r"`(\w+)`", labels)) for name, kind, labels in rows}
    assert len(rows) == len(written)
    assert written == exported_metrics()
