"""The reference pages say all there is: every option, flag, reason, right and annotation."""

import re
import runpy
from pathlib import Path

import click

from resultsfw import ResultsManager, flags
from resultsfw.cli.commands import resultsfw
from resultsfw.controller import permissions
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.configmaps import KEYS as TEKTON_KEYS
from resultsfw.tekton.pod.options import POD_FLAGS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"

RUN_FLAGS = (
    "coschedule",
    "disable-inline-spec",
    "enable-artifacts",
    "enable-cel-in-whenexpression",
    "enable-termination-message-compression",
)
"""Tekton's flags that allow or change what a run does, beside those of pods."""


def rows(page, heading):
    """The rows of the first table below a heading of a page, as cells."""
    below = re.split(rf"^#+ {re.escape(heading)}$", (DOCS / page).read_text(), flags=re.MULTILINE)[1]
    table = re.search(r"^(?:\|.*\n)+", below, flags=re.MULTILINE)
    assert table, heading
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:]]


def quoted(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_every_command_with_its_options():
    """The page is generated from the commands when the site is built."""
    text = runpy.run_path(str(DOCS / "assets" / "command_line.py"))["pages"]()
    for name, command in resultsfw.commands.items():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        named = set(re.findall(r"`(--?[\w-]+)", section))
        options = [param for param in command.params if isinstance(param, click.Option)]
        assert {param.opts[-1] for param in options} - {"--color", "--quiet"} <= named
    assert "\\b" not in text
    assert "][" not in text  # to Markdown, a link


def test_every_flag_with_its_default():
    said = {key: row[1] for row in rows("reference/flags.md", "Flags") for key in quoted(row[0])}
    assert set(said) == {*flags.KEYS, *POD_FLAGS, *RUN_FLAGS, "config.NAME"}
    assert set(RUN_FLAGS) <= set(TEKTON_KEYS["feature-flags"])
    defaults = ResultsManager.from_flags({}).flags
    for key in flags.KEYS:
        default = getattr(defaults, key.replace("-", "_"), None)
        assert not isinstance(default, str | int) or said[key] == f"`{default}`"


def test_every_reason():
    said = {
        reason
        for row in rows("reference/conditions-and-reasons.md", "Reasons of the condition")
        for reason in quoted(row[0])
    }
    there = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    there |= set(reasons._REASONS.values())
    there |= {f"{kind}{end}" for kind in ("Step", "Sidecar", "InitContainer") for end in ("OOM", "Failed")}
    assert there <= said


def test_every_right():
    said = " ".join(
        cell for row in rows("reference/rights.md", "Rights, and what they expose") for cell in row[:2]
    )
    for need in permissions.controller_permissions("tekton-pipelines", "resultsfw"):
        assert need.kind.plural in said
        assert need.verb in said
        assert not need.namespace or f"`{need.namespace}`" in said


ANNOTATION = re.compile(r'"((?:[a-z]+\.)?resultsfw\.dev/[a-z-]*)"')
"""A name of ours in the code, as a text of its own."""


def test_every_annotation_and_label():
    page = (DOCS / "reference" / "annotations.md").read_text()
    files = [
        file
        for folder in ("resultsfw", "backends", "extensions", "sidecar")
        for file in (ROOT / folder).rglob("*.py")
    ]
    names = {name for file in files for name in ANNOTATION.findall(file.read_text())}
    # A value of spec.managedBy, a manager of fields in tests, and a key in the cache.
    elsewhere = {"resultsfw.dev/controller", "resultsfw.dev/testing", "resultsfw.dev/unreadable"}
    assert [name for name in sorted(names - elsewhere) if f"`{name}" not in page] == []
