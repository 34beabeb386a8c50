"""`examples/01-images` does what its README says, on any Unix shell."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import terminal_picture
from resultsfw.cli.files.inputs import read_files
from resultsfw.cli.run import run_files as run_module

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "examples" / "01-images"
TASK, FLAGS = FOLDER / "task.yaml", FOLDER / "flags-sidecar-logs.yaml"


def cpu():
    """Seconds of CPU of all processes that have ended; clocks on the wall say more of the neighbours."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_demo_shows_a_failure_by_name_and_then_success_within_5_s():
    """One screen, under 5 s, exit status 0: the first run fails by name, the second succeeds."""
    before = cpu()
    demo = terminal_picture.record([sys.executable, "-W", "error", FOLDER / "demo.py"], folder=ROOT)
    text = demo.screen.text
    assert demo.status == 0, text
    assert cpu() - before < 5
    lines = text.splitlines()
    assert 22 <= len(lines) <= 40
    assert max(map(len, lines)) <= 110  # lines of logs and commands are not wrapped
    for outcome in ("release failed", "release succeeded"):
        assert sum(" ".join(line.split()).startswith(outcome) for line in lines) == 1
    words = " ".join(text.split())
    assert 'result "images" has 4572 bytes and does not fit into the termination message' in words
    assert "which has 3072 bytes in this pod" in words
    assert "what to do: set results-from: sidecar-logs" in words
    patch = (
        """kubectl patch cm feature-flags -n tekton-pipelines -p '{"data":{"results-from":"sidecar-logs"}}'"""
    )
    assert patch in words
    assert "images array 4572" in words
    shown = terminal_picture.text_of(ROOT / "docs" / "pictures" / "demo.svg")
    same = terminal_picture.comparable(shown) == terminal_picture.comparable(text)
    assert same, "docs/pictures/demo.svg shows another text than the demo prints today: run `make pictures`"


def test_the_demo_fails_if_a_run_ends_otherwise(tmp_path):
    """A list that fits into a message refutes what the demo tells."""
    for name in ("demo.py", "flags-sidecar-logs.yaml"):
        shutil.copy(FOLDER / name, tmp_path)
    (tmp_path / "task.yaml").write_text(
        TASK.read_text().replace("asia.gcr.io; do", "asia.gcr.io; do continue")
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "demo.py")], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "This is not the expected outcome: exit status 0, then 0; expected 1, then 0." in done.stdout


def test_the_page_in_the_documentation_is_what_explain_writes_today(cli, tmp_path):
    runs = tmp_path / "runs.yaml"
    runs.write_text(cli("run", TASK, "--keep", "--workdir", tmp_path / "pods", "-o", "yaml").out)
    page = cli("explain", "-f", runs, "-o", "html").out
    same = (ROOT / "docs" / "pictures" / "explain.html").read_text() == page
    assert same, "docs/pictures/explain.html is another page than explain writes today: run `make pictures`"


def test_the_default_limit_refuses_the_list(cli):
    ran = cli("run", TASK, "--results-from", "sidecar-logs")
    assert ran.status == 1
    assert 'result "images" has 4572 bytes, over the limit of 4096 bytes' in ran.out


def test_all_results_arrive_through_sidecar_logs(cli):
    ran = cli("run", TASK, "--feature-flags", FLAGS, "-o", "json")
    assert ran.status == 0
    version, provenance, images = (result["value"] for result in ran.items[0]["status"]["results"])
    assert version == "v1.15.0"
    assert provenance.keys() == {"uri", "digest"}
    assert len(set(images)) == len(images) == 36
    assert len(json.dumps(images, separators=(",", ":"))) == 4572
    assert {image.partition("/")[0] for image in images} == {
        "gcr.io",
        "us.gcr.io",
        "eu.gcr.io",
        "asia.gcr.io",
    }
    assert len({image.rpartition("@sha256:")[2] for image in images}) == 9


@pytest.mark.parametrize("shell", [["sh"], ["bash", "--posix"], ["dash"], ["busybox", "sh"]])
def test_each_shell_writes_the_same_bytes(shell, tmp_path):
    """Without the engine, so that nothing helps the script; in under a second."""
    if shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]}")
    task = next(one.obj for one in read_files([str(TASK)]) if one.kind == "Task")
    env = {**os.environ, "VERSION": "v1.15.0"}
    for step in task["spec"]["steps"]:
        script = step["script"]
        for name in ("version", "provenance", "images"):
            script = script.replace(f"$(results.{name}.path)", f"{tmp_path}/{name}")
        before = cpu()
        subprocess.run([*shell, "-c", script], env=env, stdout=subprocess.DEVNULL, check=True)
        assert cpu() - before < 1
    assert (tmp_path / "images").stat().st_size == 4572
    assert hashlib.sha256((tmp_path / "images").read_bytes()).hexdigest().startswith("62b1ee15334789c5")
    assert json.loads((tmp_path / "provenance").read_text()).keys() == {"uri", "digest"}


def test_a_notice_says_that_images_are_not_pulled():
    assert "not pulled" in (FOLDER / "README.md").read_text()
    assert "not pulled" in run_module._NO_IMAGES
