"""What makes a release: workflows that call what is here, and a script that refuses what is not ready."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def release(folder, version, into):
    command = [folder / ".ci" / "release", version, into]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def commit(tmp_path):
    """A repository whose changelog has a date for this version."""
    folder = tmp_path / "repository"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "release", folder / ".ci")
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "CHANGELOG.md").write_text(f"# Changelog\n\n## {VERSION} - 2026-01-01\n")
    git = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    return folder


@pytest.mark.parametrize(
    ("version", "break_it", "message"),
    [
        ("9.9.9", lambda _: None, "has version"),
        (
            VERSION,
            lambda folder: (folder / "CHANGELOG.md").write_text(f"## {VERSION} - unreleased\n"),
            "has no section",
        ),
        (VERSION, lambda folder: (folder / "left").touch(), "not committed"),
        (VERSION, lambda folder: (folder.parent / "made").mkdir(), "exists"),
    ],
    ids=["another version", "no date", "uncommitted", "made before"],
)
def test_a_release_that_is_not_ready_is_refused_before_anything_is_made(commit, version, break_it, message):
    into = commit.parent / "made"
    break_it(commit)
    done = release(commit, version, into)
    assert done.returncode == 2
    assert message in done.stderr
    assert not into.exists() or not list(into.iterdir())


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_call_what_is_here_with_few_rights(workflow):
    loaded = yaml.safe_load(workflow.read_text())
    assert loaded["permissions"] == {"contents": "read"}
    makefile = (ROOT / "Makefile").read_text()
    for job in loaded["jobs"].values():
        for step in job["steps"]:
            for script in re.findall(r"\.ci/[\w-]+", step.get("run", "")):
                assert (ROOT / script).exists()
            for target in re.findall(r"^make (\S+)", step.get("run", "")):
                assert f"\n{target}:" in makefile
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_pre_commit_runs_tools_of_the_virtual_environment():
    loaded = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    for hook in loaded["repos"][0]["hooks"]:
        assert hook["entry"].startswith(".venv/bin/")
        for file in re.findall(r"tests/\S+\.py", hook["entry"]):
            assert (ROOT / file).exists()


def test_every_package_of_the_wheel_is_typed():
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    for package in wheel["packages"]:
        assert (ROOT / package / "py.typed").exists(), package
