"""Runs that are cancelled, stopped, held back, or out of time."""

import pytest
from pipelinerun_harness import PipelineRunHarness, pipeline_task


def test_a_cancelled_run_ends_at_once_and_its_taskrun_is_cancelled():
    harness = PipelineRunHarness(
        pipeline_task("a"), pipeline_task("b", runAfter=["a"]), last=(pipeline_task("f"),)
    )
    harness.reconcile()
    harness.request_status("Cancelled")
    harness.reconcile()
    assert harness.condition == ("False", "Cancelled", 'PipelineRun "p" was cancelled')
    assert harness.taskrun("a")["spec"]["status"] == "TaskRunCancelled"
    assert harness.taskruns_made == ["a"]


@pytest.mark.parametrize("ask", ["CancelledRunFinally", "StoppedRunFinally"])
def test_a_gracefully_ended_run_runs_finally_and_ends_cancelled(ask):
    harness = PipelineRunHarness(
        pipeline_task("a"), pipeline_task("b", runAfter=["a"]), last=(pipeline_task("f"),)
    )
    harness.reconcile()
    harness.request_status(ask)
    harness.reconcile()
    cancels = ask == "CancelledRunFinally"
    assert (harness.taskrun("a")["spec"].get("status") == "TaskRunCancelled") is cancels
    assert harness.condition[1] == ask.replace("Run", "Running")
    assert harness.skipped_tasks["b"] == f"PipelineRun was gracefully {'cancelled' if cancels else 'stopped'}"
    assert harness.taskruns_made == ["a"]
    harness.finish_task("a", "TaskRunCancelled" if cancels else "Succeeded")
    harness.reconcile()
    assert harness.taskruns_made == ["a", "f"]
    harness.finish_task("f")
    harness.reconcile()
    assert harness.condition == ("False", "Cancelled", 'PipelineRun "p" was cancelled')
    # Tekton's too: a cancelled Task counts as one that failed, and so the run as stopping.
    assert harness.skipped_tasks["b"] == (
        "PipelineRun was stopping" if cancels else "PipelineRun was gracefully stopped"
    )


def test_a_pending_run_waits_until_it_is_released():
    harness = PipelineRunHarness(pipeline_task("a"), run_status="PipelineRunPending")
    assert harness.reconcile() is None
    assert harness.condition == ("Unknown", "PipelineRunPending", 'PipelineRun "p" is pending')
    assert harness.taskruns_made == []
    harness.request_status("")
    harness.reconcile()
    assert harness.taskruns_made == ["a"]


def test_a_run_past_its_timeout_ends_and_its_taskrun_is_cancelled():
    harness = PipelineRunHarness(pipeline_task("a"), run_timeouts={"pipeline": "10s"})
    assert harness.reconcile() == 11  # a second more: the start is stored without its fraction
    harness.reconcile(11)
    assert harness.condition == (
        "False",
        "PipelineRunTimeout",
        'PipelineRun "p" failed to finish within "10s"',
    )
    spec = harness.taskrun("a")["spec"]
    assert spec["statusMessage"] == "TaskRun cancelled as the PipelineRun it belongs to has timed out."
    assert harness.status["completionTime"]


def test_finally_runs_after_the_timeout_of_tasks_and_the_run_fails():
    timeouts = {"pipeline": "30s", "tasks": "10s"}
    harness = PipelineRunHarness(
        pipeline_task("a"),
        pipeline_task("b", runAfter=["a"]),
        last=(pipeline_task("f"),),
        run_timeouts=timeouts,
    )
    harness.reconcile()
    harness.reconcile(11)
    assert harness.taskrun("a")["spec"]["status"] == "TaskRunCancelled"
    harness.finish_task("a", "TaskRunCancelled")
    harness.reconcile()
    assert harness.taskruns_made == ["a", "f"]
    assert harness.condition[1] == "PipelineRunTimeoutRunningFinally"
    harness.finish_task("f")
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineRunTimeout")
    assert 'tasks failed to finish within "10s"' in harness.condition[2]


def test_a_run_without_timeout_is_not_requeued():
    harness = PipelineRunHarness(pipeline_task("a"), run_timeouts={"pipeline": "0"})
    assert harness.reconcile() is None
