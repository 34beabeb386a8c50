"""`examples/05-third-party-plugin`: built, installed beside resultsfw, and run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "examples" / "05-third-party-plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder it was installed into, by pip, as a user would."""
    site = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(site), str(FOLDER)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return site


@pytest.fixture
def resultsfw(installed):
    """Runs a command of resultsfw with the plugin beside it."""

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "resultsfw.cli", *map(str, arguments)],
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_a_run_through_it(resultsfw):
    done = resultsfw("run", FOLDER / "task.yaml", "--results-from", "step-log", "-o", "json")
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["items"]
    values = {one["name"]: one["value"] for one in run["status"]["results"]}
    assert values == {"digest": "sha256:0123", "files": ["a.txt", "b.txt"]}


def test_it_is_described_as_any_other(resultsfw):
    described = resultsfw("backends", "step-log").stdout
    assert "resultsfw-step-log" in described
    assert "pods/log" in described


def test_what_is_over_the_limit_is_the_cores_to_judge(resultsfw, tmp_path):
    task = tmp_path / "task.yaml"
    large = 'echo "##result digest=$(head -c 5000 /dev/zero | tr "\\0" x)"'
    task.write_text((FOLDER / "task.yaml").read_text().replace('echo "##result digest=sha256:0123"', large))
    done = resultsfw("run", task, "--results-from", "step-log")
    assert done.returncode == 1
    assert 'result "digest" has 5000 bytes, over the limit of 4096 bytes' in " ".join(done.stdout.split())
