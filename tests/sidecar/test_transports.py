"""A transport that the environment names takes the place of the log."""

import json
import subprocess
import sys
from pathlib import Path

import resultsfw_sidecar
from resultsfw_sidecar import wire

TRANSPORT = '''
import os
from resultsfw_sidecar import wire
from resultsfw_sidecar.files import RefusedError
from resultsfw_sidecar.output import Kept, OutputError
from resultsfw_sidecar.transports import LogTransport

class Transport(LogTransport):
    """Puts all records into a file, and values under keys."""
    ceiling = 10

    def __init__(self):
        super().__init__()
        self.output = Kept()

    def open(self, environment, stop):
        self._environment = environment
        self._target = environment.variables[b"TARGET"]

    def record(self, result, value):
        return [wire.kept_line(result.name, value, result.of, "k")]

    def deliver(self):
        try:
            with open(self._target, "xb") as file:
                file.write(self.output.data)
        except OSError as error:
            raise OutputError(f"no room: {error.strerror}") from None
        return "all is there"
'''


def run(tmp_path, target, *, transport="a_transport"):
    root = tmp_path / "tekton"
    for folder in ("run/0", "results"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "run/0/out").touch()
    (root / "results/a").write_text("value")
    (root / "results/b").write_text("x" * 11)
    (tmp_path / "a_transport.py").write_text(TRANSPORT)
    (tmp_path / "message").touch()
    env = {
        "PYTHONPATH": f"{Path(resultsfw_sidecar.__file__).parent.parent}:{tmp_path}",
        "TARGET": str(target),
        wire.ENV_TRANSPORT: transport,
        wire.ENV_WIRE: "1",
        wire.ENV_TEKTON_ROOT: str(root),
        wire.ENV_TERMINATION_LOG: str(tmp_path / "message"),
    }
    arguments = ["-results-dir", str(root / "results"), "-result-names", "a,b"]
    ran = subprocess.run(
        [sys.executable, "-S", "-m", "resultsfw_sidecar", *arguments],
        env=env,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return ran, (tmp_path / "message").read_text()


def test_a_named_transport_gets_all_records_and_leaves_its_message(tmp_path):
    ran, message = run(tmp_path, tmp_path / "target")
    assert (ran.returncode, ran.stdout, message) == (0, b"", "all is there")
    records = [json.loads(line) for line in (tmp_path / "target").read_bytes().splitlines()]
    assert [one["type"] for one in records] == ["start", "task", "refused", "end"]
    assert (records[1]["key"], records[1]["bytes"]) == ("k", 5)
    assert (records[2]["bytes"], records[2]["limit"]) == (11, 10)  # the transport's own ceiling


def test_what_cannot_be_delivered_is_said_in_the_termination_message(tmp_path):
    ran, message = run(tmp_path, tmp_path / "no folder/target")
    assert ran.returncode == 1
    assert message == "Undelivered: no room: No such file or directory"


def test_a_transport_that_is_none_is_said_in_log_and_message(tmp_path):
    for transport in ("not_there", "json"):
        ran, message = run(tmp_path, tmp_path / "target", transport=transport)
        assert ran.returncode == 1
        [record] = [json.loads(line) for line in ran.stdout.splitlines()]
        assert (record["type"], record["reason"]) == ("error", wire.BAD_ENVIRONMENT)
        assert transport in message
