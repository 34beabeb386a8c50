"""The picture of running Steps: what each event changes, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from resultsfw.cli.progress import Progress


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def shower(clock, *, terminal=False):
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=terminal, color_system=None)
    return Progress(console, clock=clock), out


def pod(*states, phase="Running", name="r-pod", owner="TaskRun"):
    names = ("step-one", "step-two", "sidecar-x")
    statuses = [
        {"name": container, "state": state} for container, state in zip(names, states, strict=False) if state
    ]
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "n", "ownerReferences": [{"kind": owner, "name": "r"}]},
        "spec": {"containers": [{"name": one} for one in names]},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


def ended(code=0, reason="Completed", message=""):
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


def said(**internal):
    entries = ",".join(f'{{"key":"{key}","value":"{value}","type":3}}' for key, value in internal.items())
    return f"[{entries}]"


def taskrun(status="Unknown", reason=""):
    condition = {"type": "Succeeded", "status": status, "reason": reason}
    return {
        "kind": "TaskRun",
        "metadata": {"name": "r", "namespace": "n"},
        "status": {"conditions": [condition]},
    }


RUNNING = {"running": {}}


def test_lines_one_for_each_change(clock):
    progress, out = shower(clock)
    with progress:
        progress.changed("ADDED", taskrun())
        progress.changed("ADDED", pod(phase="Pending"))
        progress.changed("MODIFIED", pod(RUNNING, RUNNING))
        clock.now += 1.5
        for _ in range(2):
            progress.changed("MODIFIED", pod(ended(), RUNNING))
        clock.now += 2
        progress.changed("MODIFIED", pod(ended(), ended(3, "Error")))
        for _ in range(2):
            progress.changed("MODIFIED", taskrun("False", "StepFailed"))
        progress.changed("DELETED", pod())
    assert out.getvalue().splitlines() == [
        "r: started, pod r-pod",
        "r: Step one: ok (1.5 s)",
        "r: Step two: failed, exit code 3 (2.0 s)",
        "r: failed, StepFailed (3.5 s)",
    ]


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (ended(1, "Error", said(Reason="Skipped")), "skipped"),
        (ended(1, "Error", said(Reason="TimeoutExceeded")), "out of time"),
        (ended(0, "Completed", said(ExitCode="7")), "exit code 7, continued"),
        (ended(137, "OOMKilled"), "killed: out of memory"),
        (ended(128, "StartError"), "cannot be started"),
    ],
)
def test_how_a_step_can_end(clock, state, word):
    progress, out = shower(clock)
    progress.changed("MODIFIED", pod(RUNNING))
    progress.changed("MODIFIED", pod(state))
    assert f"r: Step one: {word} (0.0 s)\n" in out.getvalue()


def test_another_attempt_begins_anew(clock):
    progress, out = shower(clock)
    progress.changed("ADDED", pod(ended(1, "Error")))
    progress.changed("ADDED", pod(name="r-pod-retry1"))
    progress.changed("MODIFIED", pod(ended(), name="r-pod-retry1"))
    assert [line.split(" (")[0] for line in out.getvalue().splitlines()] == [
        "r: started, pod r-pod",
        "r: Step one: failed, exit code 1",
        "r: tried again, pod r-pod-retry1",
        "r: Step one: ok",
    ]


def test_a_pod_of_somebody_else_is_left_alone(clock):
    progress, out = shower(clock)
    progress.changed("ADDED", pod(owner="Job"))
    assert out.getvalue() == ""


def test_the_picture_on_a_terminal(clock):
    progress, out = shower(clock, terminal=True)
    with progress:
        progress.note("said \x1b[31m once")
        progress.changed("MODIFIED", pod(RUNNING, RUNNING))
        clock.now += 1.5
        progress.changed("MODIFIED", pod(ended(), RUNNING))
        clock.now += 2
        picture = Console(width=60, file=io.StringIO())
        picture.print(progress._picture())
        progress.changed("MODIFIED", taskrun("True"))
    lines = [line.split() for line in picture.file.getvalue().splitlines()]
    assert lines[0] == ["r", "running", "3.5", "s"]
    assert lines[1] == ["one", "ok", "1.5", "s"]
    assert lines[2][:4] == ["two", "running", "2.0", "s"]
    assert "said \\x1b[31m once" in out.getvalue()
    assert "started" not in out.getvalue()
    assert "succeeded" in out.getvalue()
