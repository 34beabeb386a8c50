"""`examples/04-plain-script` as a process, against an API server whose pods this machine runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from resultsfw import PODS
from resultsfw.local.kubelet import Kubelet

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "examples" / "04-plain-script" / "collect.py"


@pytest.fixture
def run(api, tmp_path):
    """Runs the script; its output, errors and exit status."""
    kubelet = Kubelet(api.store, workdir=tmp_path / "work")
    env = {**os.environ, "KUBECONFIG": str(api.kubeconfig(tmp_path / "kubeconfig"))}

    def start(*options, script=SCRIPT):
        return subprocess.run(
            [sys.executable, str(script), *options],
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    yield start
    kubelet.stop(0.2)


@pytest.mark.parametrize("backend", ["sidecar-logs", "termination-message"])
def test_it_prints_what_its_pod_found_out(run, api, backend):
    done = run("--results-from", backend)
    assert (done.returncode, done.stderr) == (0, "")
    system, facts = done.stdout.splitlines()
    assert system == 'system = "Linux"'
    assert f'", "{os.getuid()}"]' in facts
    assert api.store.list(PODS) == []


def test_it_names_what_did_not_come(run, tmp_path):
    broken = tmp_path / "collect.py"
    broken.write_text(SCRIPT.read_text().replace("""printf %s "$(uname -s)" >""", "head -c 9999 /dev/zero >"))
    done = run(script=broken)
    assert done.returncode == 1
    assert 'ResultTooLarge: result "system" has 9999 bytes, over the limit of 4096 bytes' in done.stderr
    assert done.stdout.startswith("facts = ")
