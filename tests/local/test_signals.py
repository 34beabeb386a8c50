"""SIGTERM for the first process of a container, which has pid 1 in a real one."""

import queue
import signal
from pathlib import Path

import pytest

from resultsfw.local.container_runtime import ContainerRuntime
from resultsfw.local.process_spec import ProcessSpec

PATIENCE = 60

LATE_TRAP = """
while [ ! -e {folder}/go ]; do sleep 0.01; done
trap 'echo bye; exit 0' TERM
while :; do sleep 0.01; done
"""


@pytest.fixture
def shell(tmp_path):
    """Starts a script; returns its events and its log."""
    events = queue.Queue()
    runtime = ContainerRuntime([], events.put)

    def start(script: str, **fields: object) -> tuple[ContainerRuntime, "queue.Queue[dict]", Path]:
        log = tmp_path / "log"
        text = script.format(folder=tmp_path)
        env = {"PATH": "/usr/bin:/bin"}
        runtime.start("c", ProcessSpec("/bin/sh", ["sh", "-c", text], env, "/", **fields), log)
        assert "started" in events.get(timeout=PATIENCE)
        return runtime, events, log

    yield start
    runtime.close()


def test_a_shell_that_has_not_reached_its_trap_gets_the_signal_when_it_has(shell, tmp_path):
    runtime, events, log = shell(LATE_TRAP, settling=3600)
    runtime.signal("c", signal.SIGTERM)
    (tmp_path / "go").touch()
    assert events.get(timeout=PATIENCE) == {"ended": "c", "status": 0}
    assert log.read_text().endswith("bye\n")


def test_a_process_that_had_its_time_is_ended_without_a_handler(shell):
    runtime, events, _ = shell("while :; do sleep 0.01; done", settling=0.05)
    runtime.signal("c", signal.SIGTERM)
    assert events.get(timeout=PATIENCE) == {"ended": "c", "status": signal.SIGTERM}


def test_a_process_that_does_not_get_to_run_keeps_its_time(shell):
    script = "kill -STOP $$\ntrap 'echo bye; exit 0' TERM\nwhile :; do sleep 0.01; done"
    runtime, events, log = shell(f"echo $$\n{script}", settling=0.001)
    while not (pid := log.read_text().strip()) or Path(f"/proc/{pid}/stat").read_text().split()[2] != "T":
        pass
    runtime.signal("c", signal.SIGTERM)
    runtime.signal("c", signal.SIGCONT)
    assert events.get(timeout=PATIENCE) == {"ended": "c", "status": 0}
    assert log.read_text().endswith("bye\n")


def test_sigkill_does_not_wait(shell):
    runtime, events, _ = shell(LATE_TRAP, settling=3600)
    runtime.signal("c", signal.SIGTERM)
    runtime.signal("c", signal.SIGKILL)
    assert events.get(timeout=PATIENCE) == {"ended": "c", "status": signal.SIGKILL}
