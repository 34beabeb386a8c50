"""The examples with Pipelines, on the local engine: what they print is what their README shows."""

import re
from pathlib import Path

import pytest

from resultsfw.cli import main

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"


def shown(folder):
    """The lines that a README shows as printed on standard output."""
    blocks = re.findall(
        r"^```\n\$ resultsfw run .*?\n(.*?)^```$",
        (folder / "README.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    return [line for block in blocks for line in block.splitlines() if line.strip() != "..."]


@pytest.mark.parametrize(
    ("name", "runs"),
    [
        ("07-build-with-sbom", [("", 0), ("pipeline.yaml", 1)]),
        ("08-matrix", [("", 0)]),
    ],
)
def test_a_pipeline_prints_what_its_readme_shows(name, runs, capsys, monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    printed = ""
    for file, status in runs:
        assert main(["run", "-q", f"examples/{name}/{file}"]) == status
        printed += capsys.readouterr().out
    lines = printed.splitlines()
    assert [line for line in shown(EXAMPLES / name) if line not in lines] == []
