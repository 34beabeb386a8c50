"""`examples/06-signed-results` as a process: what it prints is what its README says."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "examples" / "06-signed-results"


def test_a_forged_result_is_accepted_unsigned_and_found_signed():
    command = [sys.executable, "-W", "error", str(FOLDER / "signed.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    # On a busy machine the Workload API's first answer takes longer than five seconds: it is tried again.
    complaints = [line for line in done.stderr.splitlines() if "it has not answered yet" not in line]
    assert (done.returncode, complaints) == (0, [])
    words = [line.partition(": ") for line in done.stdout.splitlines()]
    assert [(what, rest) for what, _, rest in words if "igned," in what] == [
        ("unsigned, forged", "{'digest': 'sha256:6666'}"),
        ("signed, genuine", "{'digest': 'sha256:9f86'}"),
        ("signed, forged", "{}"),
    ]
    conditions = [what.strip() for what, _, _ in words if "igned," not in what]
    assert conditions == [
        *("Succeeded True", "SignedResultsVerified True"),
        *("Succeeded False", "SignedResultsVerified False"),
    ]
    shown = (FOLDER / "README.md").read_text()
    for what, _, _ in words:
        assert f"{what}: " in shown
