"""A PipelineRun has its first status, and with it its clock, before anything else can fail."""

import contextlib
from datetime import timedelta
from typing import Any

import pytest
from pipelinerun_harness import PipelineRunHarness, pipeline_task
from requests_harness import fail_requests

from resultsfw.errors import ClusterError, ForbiddenError, UnavailableError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS, PIPELINES, TASKS
from resultsfw.tekton.pipelinerun import observer

QUOTA = "exceeded quota: small"
CLAIM = {"name": "w", "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}

CALLS = [
    pytest.param("get", "Pipeline", "CouldntGetPipeline", id="the Pipeline is read"),
    pytest.param("patch", "PipelineRun", "PipelineValidationFailed", id="the run is labelled"),
    pytest.param("get", "Task", "CouldntGetTask", id="a Task is read"),
    pytest.param("create", "PersistentVolumeClaim", "CouldntCreateWorkspacePVC", id="a claim is made"),
    pytest.param("create", "TaskRun", "CreateRunFailed", id="a TaskRun is made"),
]
"""Every request of a run that begins, and the reason where the server will never accept it."""


def _harness(**run: Any) -> PipelineRunHarness:
    harness = PipelineRunHarness(
        pipeline_task("a"), run_workspaces=[CLAIM], run_timeouts={"pipeline": "90s"}, **run
    )
    spec = {
        "tasks": [pipeline_task("a"), {"name": "b", "taskRef": {"name": "t"}}],
        "workspaces": [{"name": "w"}],
    }
    described = {"name": "line", "namespace": "default"}
    pipeline = {"apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": described, "spec": spec}
    Store.create(harness.store, PIPELINES, pipeline)
    task = {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "t", "namespace": "default"}}
    Store.create(harness.store, TASKS, {**task, "spec": {"steps": [{"image": "i", "script": "true"}]}})
    given = {"pipelineSpec": None, "pipelineRef": {"name": "line"}}
    Store.patch(harness.store, PIPELINERUNS, "default", "p", {"spec": given})
    return harness


@pytest.mark.parametrize(("verb", "kind", "reason"), CALLS)
def test_a_run_waits_for_a_request_that_may_come_right_and_then_goes_on(verb, kind, reason):
    del reason
    harness = _harness()
    # Labels help people to search; a run that may not have them goes on.
    error = UnavailableError(QUOTA) if (verb, kind) == ("patch", "PipelineRun") else ForbiddenError(QUOTA)
    mend = fail_requests(harness.store, verb, kind, error)
    for _ in range(3):
        with pytest.raises(ClusterError):
            harness.reconcile()
        assert harness.condition[:2] == ("Unknown", "PipelineRunPending")
        assert QUOTA in harness.condition[2]
    began = harness.status["startTime"]
    mend()
    harness.reconcile()
    assert harness.taskruns_made == ["a", "b"]
    assert harness.status["startTime"] == began
    assert harness.condition[:2] == ("Unknown", "Running")


@pytest.mark.parametrize(("verb", "kind", "reason"), CALLS)
def test_a_waiting_run_is_requeued_at_its_timeout(verb, kind, reason):
    """Pauses between tries grow to a minute: its timeout was late by as much."""
    del reason
    harness = _harness()
    fail_requests(harness.store, verb, kind, UnavailableError(QUOTA))
    with pytest.raises(UnavailableError) as caught:
        harness.reconcile()
    assert caught.value.retry_within is not None
    harness.reconcile(caught.value.retry_within)
    assert harness.condition[:2] == ("False", "PipelineRunTimeout")


@pytest.mark.parametrize(("verb", "kind", "reason"), CALLS)
@pytest.mark.parametrize(("end", "ended"), [("time", "PipelineRunTimeout"), ("cancel", "Cancelled")])
def test_a_waiting_run_that_is_cancelled_or_times_out_names_what_it_waited_for(
    verb, kind, reason, end, ended
):
    del reason
    harness = _harness()
    fail_requests(harness.store, verb, kind, UnavailableError(QUOTA))
    with pytest.raises(UnavailableError):
        harness.reconcile()
    if end == "time":
        harness.now += timedelta(seconds=91)
    else:
        harness.request_status("Cancelled")
    for _ in range(3):
        with contextlib.suppress(UnavailableError):
            harness.reconcile()
    assert harness.condition[:2] == ("False", ended)
    assert "Previous status: [PipelineRunPending] " in harness.condition[2]
    assert QUOTA in harness.condition[2]
    assert harness.taskruns_made == []


@pytest.mark.parametrize(("verb", "kind", "reason"), CALLS)
def test_a_request_that_the_server_never_accepts_fails_the_run_by_name(verb, kind, reason):
    harness = _harness()
    fail_requests(harness.store, verb, kind, ClusterError(f"{kind} is invalid: spec: Required value"))
    assert harness.reconcile() is None
    assert harness.condition[:2] == ("False", reason)
    assert "Required value" in harness.condition[2]
    assert harness.status["startTime"]
    assert harness.status["completionTime"]


def test_the_first_request_after_reading_the_run_writes_its_start():
    harness = _harness()
    harness.store.calls.clear()
    harness.reconcile()
    assert harness.store.calls[:2] == [("get", "PipelineRun"), ("patch", "PipelineRun")]
    assert ("get", "Pipeline") in harness.store.calls[2:]


def test_taskruns_made_before_a_quota_was_full_are_in_the_status():
    """A quota that lets some through; the others wait for it, and are created when the quota allows."""
    tasks = [pipeline_task(name) for name in "abc"]
    harness = PipelineRunHarness(*tasks)
    mend = fail_requests(harness.store, "create", "TaskRun", ForbiddenError(QUOTA), after=2)
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    assert [one["pipelineTaskName"] for one in harness.status["childReferences"]] == ["a", "b"]
    assert harness.condition[:2] == ("Unknown", "PipelineRunPending")
    assert 'Pipeline Task "c"' in harness.condition[2]
    harness.finish_task("a")
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    assert "Tasks Completed: 1" in harness.condition[2]
    mend()
    harness.reconcile()
    assert harness.taskruns_made == ["a", "b", "c"]
    assert harness.condition[1] == "Running"


def test_a_cancelled_run_whose_pipeline_is_not_there_is_cancelled():
    harness = _harness(run_status="Cancelled")
    Store.delete(harness.store, PIPELINES, "default", "line")
    harness.reconcile()
    assert harness.condition[:2] == ("False", "Cancelled")


def test_a_run_that_a_fault_of_the_program_blocks_ends_at_its_timeout(monkeypatch):
    def broken(*_arguments: Any, **_options: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(observer, "make_plan", broken)
    harness = _harness()
    with pytest.raises(ZeroDivisionError):
        harness.reconcile()
    harness.reconcile(92)
    assert harness.condition[:2] == ("False", "PipelineRunTimeout")


@pytest.mark.parametrize("kind", ["PipelineRun", "Pipeline"])
@pytest.mark.parametrize(("length", "fits"), [(63, True), (64, False), (253, False)])
def test_a_name_longer_than_a_label_fails_the_run(kind, length, fits):
    harness, long = PipelineRunHarness(), "n" * length
    spec = {"tasks": [pipeline_task("a")]}
    metadata = {"name": long, "namespace": "default"}
    pipeline = {"apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": metadata, "spec": spec}
    Store.create(harness.store, PIPELINES, pipeline)
    name = long if kind == "PipelineRun" else "run"
    given = {"pipelineRef": {"name": long}} if kind == "Pipeline" else {"pipelineSpec": spec}
    described = {"name": name, "namespace": "default"}
    run = {"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": described, "spec": given}
    Store.create(harness.store, PIPELINERUNS, run)
    harness.reconciler.reconcile("default", name)
    status = Store.get(harness.store, PIPELINERUNS, "default", name)["status"]
    if fits:
        assert status["childReferences"]
    else:
        assert status["conditions"][0]["reason"] == "PipelineValidationFailed"
        assert "at most 63" in status["conditions"][0]["message"]
        assert status["startTime"]
