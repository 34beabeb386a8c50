"""The dashboard and the alerts ask for what is exported, and Prometheus understands them."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import pytest
import yaml
from exported import exported_series
from make_dashboard import CONFIG_MAP, DASHBOARD, files
from prometheus_client import CollectorRegistry

from resultsfw import site
from resultsfw.controller.manifests import load
from resultsfw.controller.metrics import Metrics
from resultsfw.server.connections import Connections
from resultsfw.server.metrics import Metrics as ServerMetrics
from resultsfw.server.refusals import ALERTING
from resultsfw.server.usage import Usage

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "monitor.md"

TARGET_LABELS = {"job", "instance"}
"""What Prometheus adds to each series."""

GRAFANA = {"$__rate_interval": "5m", "$__range": "1h", "$job": ".*"}
"""Variables of Grafana, with a value of each."""

TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"')
SERIES = re.compile(r"\b(resultsfw_[a-z_]+|process_[a-z_]+|up)\b")
LABELS = re.compile(r"\bby \(([^)]*)\)|\{([^}]*)\}")
LEGEND = re.compile(r"\{\{(\w+)\}\}")


def panels():
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def targets():
    return [(panel["title"], target) for panel in panels() for target in panel["targets"]]


def alerts():
    (rule,) = [item for item in load("monitoring") if item["kind"] == "PrometheusRule"]
    return [alert for group in rule["spec"]["groups"] for alert in group["rules"]]


def series_of(expression):
    return set(SERIES.findall(TEXTS.sub('""', expression)))


def labels_of(expression):
    """The labels by which an expression sums or selects."""
    found = set()
    for summed, selected in LABELS.findall(TEXTS.sub('""', expression)):
        found |= {part.strip().split("=")[0].strip("!~ ") for part in (summed or selected).split(",")}
    return found - {""}


def assert_exported(expression, shown=()):
    """Each series of an expression exists, and one of them has each label."""
    known = exported_series()
    named = series_of(expression)
    assert named
    own = {name for name in named if name.startswith("resultsfw_")}
    assert own <= known.keys()
    labels = TARGET_LABELS.union(*(known[name] for name in own))
    assert labels_of(expression) <= labels
    assert set(shown) <= labels_of(expression) | (TARGET_LABELS if not own else set())


def test_the_dashboard_is_what_the_script_makes():
    for path, content in files().items():
        assert path.read_text() == content, "run tests/monitoring/make_dashboard.py"
    [configmap] = [item for item in load("monitoring") if item["kind"] == "ConfigMap"]
    assert configmap["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert configmap["data"] == {DASHBOARD.name: DASHBOARD.read_text()}
    assert CONFIG_MAP.stat().st_size < 262_144, "kubectl apply keeps a copy in an annotation"


def test_panels_have_ids_of_their_own_units_help_and_no_common_place():
    board = json.loads(DASHBOARD.read_text())
    every = board["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    for panel in panels():
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["description"].endswith(".")
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    for first, second in combinations([panel["gridPos"] for panel in every], 2):
        beside = first["x"] + first["w"] <= second["x"] or second["x"] + second["w"] <= first["x"]
        assert beside or first["y"] + first["h"] <= second["y"] or second["y"] + second["h"] <= first["y"]
        assert first["x"] + first["w"] <= 24
    variables = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]+)", json.dumps(every)))
    assert used == variables == {"datasource", "job"}


@pytest.mark.parametrize(("title", "target"), targets())
def test_a_panel_asks_for_series_and_labels_that_exist(title, target):
    assert title
    assert_exported(target["expr"], LEGEND.findall(target["legendFormat"]))


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_asks_for_series_that_exist_and_has_its_section(alert):
    shown = re.findall(r"\$labels\.(\w+)", alert["annotations"]["summary"])
    assert_exported(alert["expr"], shown)
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"]["runbook_url"] == site.page("how-to/monitor", alert["alert"].lower())
    section = PAGE.read_text().partition(f"\n### {alert['alert']}\n")[2].partition("\n#")[0]
    assert all(part in section for part in ("**Means:**", "**Look at:**", "**Do:**"))


def test_the_page_has_no_section_of_another_alert():
    written = re.findall(r"^### (Resultsfw\w+)$", PAGE.read_text(), flags=re.MULTILINE)
    assert written == [alert["alert"] for alert in alerts()]


def test_what_alerts_count_begins_at_zero():
    """A series that begins with 1 has no increase: the first bug would raise no alert."""
    metrics = Metrics([])
    metrics.work.queue("TaskRun")
    server = ServerMetrics(CollectorRegistry(), lambda: 0, Connections(1, 1), Usage())
    text = metrics.text().decode() + server.text().decode()
    for series in (
        'resultsfw_reconciles_total{kind="TaskRun",result="bug"}',
        'resultsfw_results_refused_total{reason="TransportCorrupt"}',
        'resultsfw_api_requests_total{code="403",verb="patch"}',
        'resultsfw_server_refused_total{reason="Busy",verb="put"}',
        'resultsfw_server_certificate_reloads_total{outcome="refused"}',
        'resultsfw_taskrun_duration_seconds_count{outcome="failed"}',
    ):
        assert f"{series} 0.0\n" in text
    [refuses] = [alert for alert in alerts() if alert["alert"] == "ResultsfwServerRefuses"]
    assert f'reason=~"{"|".join(ALERTING)}"' in refuses["expr"].replace(" ", "")


def test_every_metric_is_shown_or_alerts():
    asked = [target["expr"] for _, target in targets()] + [alert["expr"] for alert in alerts()]
    named = set().union(*map(series_of, asked))
    parts = ("_bucket", "_sum", "_count")
    unseen = {name for name in exported_series() if name not in named}
    assert {name for name in unseen if not name.endswith(parts)} == set()


def test_prometheus_accepts_every_expression_and_alerts_when_it_should(tmp_path):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("there is no promtool")
    [rule] = [item for item in load("monitoring") if item["kind"] == "PrometheusRule"]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
    shutil.copy(Path(__file__).parent / "alert_tests.yaml", tmp_path)
    expressions = []
    for _, target in targets():
        expression = target["expr"]
        for variable, value in GRAFANA.items():
            expression = expression.replace(variable, value)
        expressions.append({"record": f"panel:{len(expressions)}", "expr": expression})
    panel_rules = {"groups": [{"name": "panels", "rules": expressions}]}
    (tmp_path / "panels.yaml").write_text(yaml.safe_dump(panel_rules))
    for arguments in (("check", "rules", "rules.yaml", "panels.yaml"), ("test", "rules", "alert_tests.yaml")):
        done = subprocess.run(
            [promtool, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
