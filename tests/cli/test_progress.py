"""The picture of running Steps: what each event changes, on a terminal and elsewhere."""

import io

import pytest
from rich.console import Console

from resultsfw.cli.run.progress import Progress


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


def test_each_change_prints_one_line(clock):
    progress, out = shower(clock)
    with progress:
        progress.on_event("ADDED", taskrun())
        progress.on_event("ADDED", pod(phase="Pending"))
        progress.on_event("MODIFIED", pod(RUNNING, RUNNING))
        clock.now += 1.5
        for _ in range(2):
            progress.on_event("MODIFIED", pod(ended(), RUNNING))
        clock.now += 2
        progress.on_event("MODIFIED", pod(ended(), ended(3, "Error")))
        for _ in range(2):
            progress.on_event("MODIFIED", taskrun("False", "StepFailed"))
        progress.on_event("DELETED", pod())
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
        (ended(1, "Error", said(Reason="TimeoutExceeded")), "timed out"),
        (ended(0, "Completed", said(ExitCode="7")), "exit code 7, continued"),
        (ended(137, "OOMKilled"), "killed: out of memory"),
        (ended(128, "StartError"), "cannot start"),
    ],
)
def test_the_end_of_a_step_has_its_word(clock, state, word):
    progress, out = shower(clock)
    progress.on_event("MODIFIED", pod(RUNNING))
    progress.on_event("MODIFIED", pod(state))
    assert f"r: Step one: {word} (0.0 s)\n" in out.getvalue()


def test_a_retry_starts_the_steps_again(clock):
    progress, out = shower(clock)
    progress.on_event("ADDED", pod(ended(1, "Error")))
    progress.on_event("ADDED", pod(name="r-pod-retry1"))
    progress.on_event("MODIFIED", pod(ended(), name="r-pod-retry1"))
    assert [line.split(" (")[0] for line in out.getvalue().splitlines()] == [
        "r: started, pod r-pod",
        "r: Step one: failed, exit code 1",
        "r: retried, pod r-pod-retry1",
        "r: Step one: ok",
    ]


def test_a_pod_without_a_taskrun_is_ignored(clock):
    progress, out = shower(clock)
    progress.on_event("ADDED", pod(owner="Job"))
    assert out.getvalue() == ""


def test_a_terminal_shows_a_table(clock):
    progress, out = shower(clock, terminal=True)
    with progress:
        progress.note("said \x1b[31m once")
        progress.on_event("MODIFIED", pod(RUNNING, RUNNING))
        clock.now += 1.5
        progress.on_event("MODIFIED", pod(ended(), RUNNING))
        clock.now += 2
        picture = Console(width=60, file=io.StringIO())
        picture.print(progress._table())
        progress.on_event("MODIFIED", taskrun("True"))
    lines = [line.split() for line in picture.file.getvalue().splitlines()]
    assert lines[0] == ["r", "running", "3.5", "s"]
    assert lines[1] == ["one", "ok", "1.5", "s"]
    assert lines[2][:4] == ["two", "running", "2.0", "s"]
    assert "said \\x1b[31m once" in out.getvalue()
    assert "started" not in out.getvalue()
    assert "succeeded" in out.getvalue()


def a_run(kind, name, status="Unknown", reason="Running", *, owner=None, skipped=()):
    owners = [{"kind": "PipelineRun", "name": owner}] if owner else []
    condition = {"type": "Succeeded", "status": status, "reason": reason}
    return {
        "kind": kind,
        "metadata": {"name": name, "namespace": "n", "ownerReferences": owners},
        "status": {"conditions": [condition], "skippedTasks": list(skipped)},
    }


def rows_of(progress, width=80):
    picture = Console(width=width, file=io.StringIO())
    picture.print(progress._table())
    return [line.rstrip() for line in picture.file.getvalue().splitlines()]


def test_a_pipelinerun_and_a_taskrun_of_one_name_have_a_row_each(clock):
    progress, out = shower(clock)
    progress.on_event("ADDED", a_run("PipelineRun", "r"))
    progress.on_event("ADDED", a_run("TaskRun", "r-a", owner="r"))
    progress.on_event("ADDED", pod(RUNNING))
    clock.now += 2
    progress.on_event("MODIFIED", a_run("TaskRun", "r", "True", "Succeeded"))
    names = [(len(line) - len(line.lstrip()), line.split()[:2]) for line in rows_of(progress)]
    assert names[:3] == [(0, ["r", "running"]), (2, ["a", "running"]), (0, ["r", "succeeded"])]
    progress.on_event("MODIFIED", a_run("PipelineRun", "r", "False", "Failed"))
    assert out.getvalue().splitlines()[-2:] == ["r: succeeded (2.0 s)", "PipelineRun r: failed (2.0 s)"]


def test_the_table_shows_skipped_tasks_and_attempts(clock):
    progress, out = shower(clock)
    left_out = {"name": "b", "reason": "Parent Tasks were skipped"}
    progress.on_event("ADDED", a_run("PipelineRun", "p", skipped=[left_out]))
    progress.on_event("MODIFIED", a_run("PipelineRun", "p", skipped=[left_out]))
    progress.on_event("ADDED", a_run("TaskRun", "r", owner="p"))
    progress.on_event("ADDED", pod(RUNNING))
    progress.on_event("ADDED", pod(RUNNING, name="r-pod-retry1"))
    lines = rows_of(progress)
    assert lines[1].endswith("attempt 2")
    assert lines[-1].split(maxsplit=2) == ["b", "skipped", "Parent Tasks were skipped"]
    said = "PipelineRun p: Task b: skipped, Parent Tasks were skipped"
    assert out.getvalue().splitlines().count(said) == 1


def test_a_narrow_terminal_cuts_words_and_keeps_times(clock):
    progress, _ = shower(clock)
    progress.on_event("ADDED", a_run("PipelineRun", "a-rather-long-name-of-a-run"))
    clock.now += 12
    progress.on_event(
        "MODIFIED", a_run("PipelineRun", "a-rather-long-name-of-a-run", "False", "CouldntGetTask")
    )
    (line,) = rows_of(progress, 30)
    assert "12.0 s" in line
    assert "…" in line
