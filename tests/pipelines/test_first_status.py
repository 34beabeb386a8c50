"""A PipelineRun has its first status, and with it its clock, before anything else can fail."""

import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pipelineworld import World, a_task

from resultsfw import Object
from resultsfw.errors import ClusterError, ForbiddenError, ResultsError, UnavailableError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS, PIPELINES, TASKS
from resultsfw.tekton.pipelinerun import reconciler

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


def _world(**run: Any) -> World:
    world = World(a_task("a"), run_workspaces=[CLAIM], run_timeouts={"pipeline": "90s"}, **run)
    spec = {
        "tasks": [a_task("a"), {"name": "b", "taskRef": {"name": "t"}}],
        "workspaces": [{"name": "w"}],
    }
    described = {"name": "line", "namespace": "default"}
    pipeline = {"apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": described, "spec": spec}
    Store.create(world.store, PIPELINES, pipeline)
    task = {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "t", "namespace": "default"}}
    Store.create(world.store, TASKS, {**task, "spec": {"steps": [{"image": "i", "script": "true"}]}})
    given = {"pipelineSpec": None, "pipelineRef": {"name": "line"}}
    Store.patch(world.store, PIPELINERUNS, "default", "p", {"spec": given})
    return world


def _fail(world: World, verb: str, kind: str, error: ResultsError, *, after: int = 0) -> Callable[[], None]:
    """Have one request fail, but for the first ones, until the function that is returned is called."""
    real, broken, seen = getattr(world.store, verb), True, 0

    def request(of: Any, *arguments: Any, **more: Any) -> Object:
        nonlocal seen
        if broken and of.kind == kind and not more.get("subresource"):
            seen += 1
            if seen > after:
                raise error
        return real(of, *arguments, **more)

    def mend() -> None:
        nonlocal broken
        broken = False

    setattr(world.store, verb, request)
    return mend


@pytest.mark.parametrize(("verb", "kind", "reason"), CALLS)
def test_what_may_come_right_waits_with_its_cause_and_then_the_run_goes_on(verb, kind, reason):
    del reason
    world = _world()
    # Labels help people to search; a run that may not have them goes on.
    error = UnavailableError(QUOTA) if (verb, kind) == ("patch", "PipelineRun") else ForbiddenError(QUOTA)
    mend = _fail(world, verb, kind, error)
    for _ in range(3):
        with pytest.raises(ClusterError):
            world.step()
        assert world.told[:2] == ("Unknown", "PipelineRunPending")
        assert QUOTA in world.told[2]
    began = world.status["startTime"]
    mend()
    world.step()
    assert world.made == ["a", "b"]
    assert world.status["startTime"] == began
    assert world.told[:2] == ("Unknown", "Running")


@pytest.mark.parametrize(("verb", "kind", "reason"), CALLS)
def test_a_run_that_waits_asks_to_be_looked_at_when_its_time_is_over(verb, kind, reason):
    """Pauses between tries grow to a minute: its timeout was late by as much."""
    del reason
    world = _world()
    _fail(world, verb, kind, UnavailableError(QUOTA))
    with pytest.raises(UnavailableError) as caught:
        world.step()
    assert caught.value.retry_within is not None
    world.step(caught.value.retry_within)
    assert world.told[:2] == ("False", "PipelineRunTimeout")


@pytest.mark.parametrize(("verb", "kind", "reason"), CALLS)
@pytest.mark.parametrize(("end", "ended"), [("time", "PipelineRunTimeout"), ("cancel", "Cancelled")])
def test_what_does_not_come_right_ends_the_run_which_names_what_it_waited_for(verb, kind, reason, end, ended):
    del reason
    world = _world()
    _fail(world, verb, kind, UnavailableError(QUOTA))
    with pytest.raises(UnavailableError):
        world.step()
    if end == "time":
        world.now += timedelta(seconds=91)
    else:
        world.ask("Cancelled")
    for _ in range(3):
        with contextlib.suppress(UnavailableError):
            world.step()
    assert world.told[:2] == ("False", ended)
    assert "Previous status: [PipelineRunPending] " in world.told[2]
    assert QUOTA in world.told[2]
    assert world.made == []


@pytest.mark.parametrize(("verb", "kind", "reason"), CALLS)
def test_what_a_server_never_accepts_ends_the_run_by_name(verb, kind, reason):
    world = _world()
    _fail(world, verb, kind, ClusterError(f"{kind} is invalid: spec: Required value"))
    assert world.step() is None
    assert world.told[:2] == ("False", reason)
    assert "Required value" in world.told[2]
    assert world.status["startTime"]
    assert world.status["completionTime"]


def test_the_first_request_after_reading_the_run_writes_its_start():
    world = _world()
    world.store.calls.clear()
    world.step()
    assert world.store.calls[:2] == [("get", "PipelineRun"), ("patch", "PipelineRun")]
    assert ("get", "Pipeline") in world.store.calls[2:]


def test_taskruns_made_before_a_quota_was_full_are_in_the_status():
    """A quota that lets some through; the others wait for it, and are made when there is room."""
    tasks = [a_task(name) for name in "abc"]
    world = World(*tasks)
    mend = _fail(world, "create", "TaskRun", ForbiddenError(QUOTA), after=2)
    with pytest.raises(ForbiddenError):
        world.step()
    assert [one["pipelineTaskName"] for one in world.status["childReferences"]] == ["a", "b"]
    assert world.told[:2] == ("Unknown", "PipelineRunPending")
    assert 'Pipeline Task "c"' in world.told[2]
    world.end("a")
    with pytest.raises(ForbiddenError):
        world.step()
    assert "Tasks Completed: 1" in world.told[2]
    mend()
    world.step()
    assert world.made == ["a", "b", "c"]
    assert world.told[1] == "Running"


def test_a_cancelled_run_whose_pipeline_is_not_there_is_cancelled():
    world = _world(run_status="Cancelled")
    Store.delete(world.store, PIPELINES, "default", "line")
    world.step()
    assert world.told[:2] == ("False", "Cancelled")


def test_a_fault_of_the_program_ends_with_the_timeout(monkeypatch):
    def broken(*_arguments: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(reconciler, "applied", broken)
    world = _world()
    with pytest.raises(ZeroDivisionError):
        world.step()
    world.step(92)
    assert world.told[:2] == ("False", "PipelineRunTimeout")


@pytest.mark.parametrize("kind", ["PipelineRun", "Pipeline"])
@pytest.mark.parametrize(("length", "fits"), [(63, True), (64, False), (253, False)])
def test_a_name_longer_than_a_label_ends_the_run_by_name(kind, length, fits):
    world, long = World(), "n" * length
    spec = {"tasks": [a_task("a")]}
    metadata = {"name": long, "namespace": "default"}
    pipeline = {"apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": metadata, "spec": spec}
    Store.create(world.store, PIPELINES, pipeline)
    name = long if kind == "PipelineRun" else "run"
    given = {"pipelineRef": {"name": long}} if kind == "Pipeline" else {"pipelineSpec": spec}
    described = {"name": name, "namespace": "default"}
    run = {"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": described, "spec": given}
    Store.create(world.store, PIPELINERUNS, run)
    world.reconciler.reconcile("default", name)
    status = Store.get(world.store, PIPELINERUNS, "default", name)["status"]
    if fits:
        assert status["childReferences"]
    else:
        assert status["conditions"][0]["reason"] == "PipelineValidationFailed"
        assert "at most 63" in status["conditions"][0]["message"]
        assert status["startTime"]
