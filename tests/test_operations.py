"""docs/operations.md says all there is: every metric, option, flag, alert and reason."""

import re
from pathlib import Path

import click

from resultsfw import flags
from resultsfw.cli.commands import resultsfw
from resultsfw.controller import permissions
from resultsfw.controller.manifests import load
from resultsfw.controller.metrics import Metrics
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.configmaps import KEYS as TEKTON_KEYS
from resultsfw.tekton.pod.options import POD_FLAGS

TEXT = (Path(__file__).parents[1] / "docs" / "operations.md").read_text()

RUN_FLAGS = (
    "coschedule",
    "disable-inline-spec",
    "enable-artifacts",
    "enable-cel-in-whenexpression",
    "enable-termination-message-compression",
)
"""Tekton's flags that allow or change what a run does, beside those of pods."""


def rows(heading):
    """The rows of the first table below a heading, as cells."""
    below = re.split(rf"^##+ {re.escape(heading)}$", TEXT, flags=re.MULTILINE)[1]
    table = re.search(r"^(?:\|.*\n)+", below, flags=re.MULTILINE)
    assert table, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_every_metric_with_its_labels():
    said = {quoted(name)[0]: quoted(labels) for name, labels, _ in rows("Metrics and alerts")}
    metrics = Metrics(["sidecar-logs"])
    there = {}
    for attribute in vars(metrics).values():
        for family in attribute.describe() if hasattr(attribute, "describe") else ():
            name = family.name + ("_total" if family.type == "counter" else "")
            there[name] = list(attribute._labelnames)
    there["resultsfw_build_info"] = ["version", "python"]
    families = {one.name for one in metrics.registry.collect() if one.name.startswith("resultsfw_")}
    assert {name.removesuffix("_total") for name in there} == families
    assert said == there


def test_every_alert():
    (rule,) = [one for one in load("monitoring") if one["kind"] == "PrometheusRule"]
    alerts = [one["alert"] for group in rule["spec"]["groups"] for one in group["rules"]]
    below = TEXT.split("has alerts to begin with:")[1].split("##")[0]
    assert re.findall(r"^\| `(\w+)` \|", below, flags=re.MULTILINE) == alerts


def test_every_option_of_the_controller_with_its_default():
    said = {option: row[1] for row in rows("Options of the controller") for option in quoted(row[0])}
    options = [one for one in resultsfw.commands["controller"].params if isinstance(one, click.Option)]
    assert set(said) == {one.opts[0] for one in options}
    for one in options:
        if isinstance(one.default, (str, int, float)) and one.default and not one.is_flag:
            default = str(one.default).removesuffix(".0")
            assert f"`{default}`" in said[one.opts[0]], one.opts


def test_every_flag():
    said = [quoted(row[0])[0] for row in rows("Switch")]
    assert set(said) == {*flags.KEYS, *POD_FLAGS, *RUN_FLAGS, "config.NAME"}
    assert set(RUN_FLAGS) <= set(TEKTON_KEYS["feature-flags"])


def test_every_reason():
    said = {reason for row in rows("Reasons of the condition") for reason in quoted(row[0])}
    there = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    there |= set(reasons._REASONS.values())
    there |= {f"{kind}{end}" for kind in ("Step", "Sidecar", "InitContainer") for end in ("OOM", "Failed")}
    assert there <= said


def test_every_right():
    said = " ".join(cell for row in rows("Rights, and what they expose") for cell in row[:2])
    for need in permissions.controller_permissions("tekton-pipelines", "resultsfw"):
        assert need.kind.plural in said
        assert need.verb in said
        assert not need.namespace or f"`{need.namespace}`" in said
