"""`resultsfw new-extension`: what it writes, and that it passes its own tests as it is."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from resultsfw import cli


@pytest.fixture
def made(tmp_path, capsys):
    """Runs the command; its exit status and what it printed."""

    def make(*arguments):
        status = cli.main(["new-extension", "--into", str(tmp_path), *arguments])
        return status, capsys.readouterr()

    return make


def files_in(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_it_writes_a_distribution(made, tmp_path):
    status, printed = made("line-ends")
    folder = tmp_path / "resultsfw-line-ends"
    assert status == 0
    assert "resultsfw run example.yaml --feature-flags feature-flags.yaml\n" in printed.out
    assert files_in(folder) == [
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "example.yaml",
        "feature-flags.yaml",
        "pyproject.toml",
        "resultsfw_line_ends.py",
        "tests/test_extension.py",
    ]
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"] == {"resultsfw.extensions": {"line-ends": "resultsfw_line_ends:LineEnds"}}
    for file in files_in(folder):
        assert not re.search("my.?extension|0[.]0[.]0", (folder / file).read_text(), re.IGNORECASE)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Line_Ends", 'is not a valid extension name: .*; try "line-ends"'),
        ("redact", '"redact" is already an extension of resultsfw'),
        ("sidecar-logs", '"sidecar-logs" is already a backend of resultsfw'),
    ],
)
def test_names_that_are_refused(made, tmp_path, name, why):
    status, printed = made(name)
    assert status == 2
    assert re.search(why, printed.err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_it_passes_its_tests_and_does_its_work_as_it_is_written(made, site, tmp_path):
    """Installed as pip would, beside the project: its module, its entry point."""
    made("line-ends")
    folder = tmp_path / "resultsfw-line-ends"
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    ((group, points),) = project["entry-points"].items()
    text = "\n".join([f"[{group}]", *(f"{name} = {target}" for name, target in points.items())])
    module = "resultsfw_line_ends"
    site.install(project["name"], project["version"], text, {module: (folder / f"{module}.py").read_text()})

    def call(*command):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=site.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert re.search(r"^\d+ passed", call("pytest", "-q", "-p", "no:cacheprovider").splitlines()[-1])
    flags = ("--feature-flags", "feature-flags.yaml")
    assert "trim    boolean  true     Whether to" in call("resultsfw.cli", "backends", "line-ends", *flags)
    run = call("resultsfw.cli", "run", "example.yaml", *flags, "-o", "json")
    assert '"value": "1.2.3"' in run


def test_both_templates_share_what_is_the_same():
    root = Path(cli.__file__).parent
    texts = {}
    for folder in ("template", "template_extension"):
        for file in (root / folder).rglob("*"):
            if file.is_file() and file.suffix != ".pyc":
                assert file.read_bytes() not in texts, (file, texts[file.read_bytes()])
                texts[file.read_bytes()] = file
