"""A reader of the progress that goes away does not stop a run, nor hang it."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

TASKRUN = {
    "apiVersion": "tekton.dev/v1",
    "kind": "TaskRun",
    "metadata": {"name": "run"},
    "spec": {
        "taskSpec": {
            "results": [{"name": "digest"}],
            "steps": [{"name": "one", "image": "i", "script": "printf d > $(results.digest.path)"}],
        }
    },
}


@pytest.mark.parametrize("is_unbuffered", [True, False])
def test_a_run_succeeds_if_the_reader_of_stderr_is_gone(tmp_path, is_unbuffered):
    """Python writes what a buffer still holds once more at its end, and exits with 120 if that fails."""
    file = tmp_path / "run.json"
    file.write_text(json.dumps(TASKRUN))
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "resultsfw.cli", "run", str(file), "-o", "json"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    if is_unbuffered:
        environment["PYTHONUNBUFFERED"] = "1"
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=write, timeout=60, check=False, env=environment
    )
    os.close(write)
    (final,) = json.loads(done.stdout)["items"]
    assert final["status"]["results"][0]["value"] == "d"
    assert done.returncode == 0
