"""``timeouts``: defaults and validation as Tekton's webhook's, and when a part is out of time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipelinerun_harness import PipelineRunHarness, pipeline_task

from resultsfw import Object
from resultsfw.errors import UnavailableError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS
from resultsfw.tekton.pipelinerun import result_refs
from resultsfw.tekton.pipelinerun.reasons import CHILD_TIMED_OUT
from resultsfw.tekton.pipelinerun.timeouts import times_of

HOUR = 3600
START = datetime(2026, 1, 1, tzinfo=UTC)


def _run(timeouts: Object | None, **status: str) -> Object:
    return {"spec": {"timeouts": timeouts}, "status": {"startTime": "2026-01-01T00:00:00Z", **status}}


@pytest.mark.parametrize(
    ("timeouts", "pipeline", "tasks", "last"),
    [
        (None, HOUR, None, None),
        ({}, HOUR, None, None),
        ({"pipeline": "2h"}, 2 * HOUR, None, None),
        ({"finally": "30m"}, HOUR, 1800, 1800),
        ({"tasks": "20m"}, HOUR, 1200, 2400),
        ({"pipeline": "3h", "finally": "1h"}, 3 * HOUR, 2 * HOUR, HOUR),
        ({"pipeline": "3h", "tasks": "1h"}, 3 * HOUR, HOUR, 2 * HOUR),
        ({"pipeline": "3h", "tasks": "1h", "finally": "30m"}, 3 * HOUR, HOUR, 1800),
        ({"pipeline": "0"}, 0, None, None),
        ({"pipeline": "0", "tasks": "1h"}, 0, HOUR, None),
        ({"pipeline": "0", "finally": "1h"}, 0, None, HOUR),
        ({"pipeline": "0", "tasks": "0", "finally": "0"}, 0, 0, 0),
        ({"pipeline": "1h", "finally": "1h"}, HOUR, 0, HOUR),
    ],
)
def test_what_is_not_given_is_what_tektons_webhook_and_types_make_of_it(timeouts, pipeline, tasks, last):
    """PipelineTimeout, TasksTimeout and FinallyTimeout of pipelinerun_types.go, after SetDefaults."""
    times = times_of(_run(timeouts), START)
    assert (times.pipeline, times.tasks, times.finally_) == (pipeline, tasks, last)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"timeouts": {"tasks": "2h"}}, "2h0m0s should be <= pipeline duration: timeouts.tasks"),
        ({"timeouts": {"finally": "61m"}}, "1h1m0s should be <= pipeline duration: timeouts.finally"),
        (
            {"timeouts": {"pipeline": "10m", "tasks": "0"}},
            "0s (no timeout) should be <= pipeline duration: timeouts.tasks",
        ),
        (
            {"timeouts": {"pipeline": "1h", "tasks": "40m", "finally": "30m"}},
            "40m0s + 30m0s should be <= pipeline duration 1h0m0s: timeouts.finally, timeouts.tasks",
        ),
        ({"timeouts": {"pipeline": "0", "tasks": "1m", "finally": "1m"}}, "1m0s + 1m0s should be <="),
        (
            {"taskRunSpecs": [{"pipelineTaskName": "a", "timeout": "2h"}]},
            "2h0m0s should be <= pipeline duration 1h0m0s: taskRunSpecs[0].timeout",
        ),
        (
            {
                "timeouts": {"pipeline": "3h", "tasks": "10m"},
                "taskRunSpecs": [{"pipelineTaskName": "a"}, {"pipelineTaskName": "a", "timeout": "11m"}],
            },
            "11m0s should be <= pipeline tasks duration 10m0s: taskRunSpecs[1].timeout",
        ),
    ],
)
def test_timeouts_that_contradict_each_other_fail_the_run_before_a_taskrun_is_created(spec, said):
    harness = PipelineRunHarness(pipeline_task("a"), **{f"run_{key}": value for key, value in spec.items()})
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert said in harness.condition[2]
    assert harness.taskruns_made == []


@pytest.mark.parametrize(
    "spec",
    [
        {"timeouts": {"pipeline": "1h", "tasks": "30m", "finally": "30m"}},
        {"timeouts": {"pipeline": "0", "tasks": "2h"}},
        {"timeouts": {"pipeline": "0", "finally": "2h"}},
        {"timeouts": {"pipeline": "0"}, "taskRunSpecs": [{"pipelineTaskName": "a", "timeout": "9h"}]},
        {"taskRunSpecs": [{"pipelineTaskName": "a", "timeout": "1h"}]},
    ],
)
def test_timeouts_that_tekton_accepts_are_accepted(spec):
    harness = PipelineRunHarness(pipeline_task("a"), **{f"run_{key}": value for key, value in spec.items()})
    harness.reconcile()
    assert harness.taskruns_made == ["a"]


def test_finally_alone_leaves_the_tasks_what_the_default_has_beside_it():
    harness = PipelineRunHarness(
        pipeline_task("a"), last=(pipeline_task("f"),), run_timeouts={"finally": "30m"}
    )
    harness.reconcile()
    harness.reconcile(1800)
    assert "status" not in _spec(harness, "a")
    harness.reconcile(1)
    assert _spec(harness, "a")["statusMessage"] == CHILD_TIMED_OUT


def _spec(harness: PipelineRunHarness, task: str) -> Object:
    taskrun = harness.taskrun(task)
    assert taskrun is not None
    return taskrun["spec"]


# Not early.


@given(
    started=st.integers(0, 999_999),
    limit=st.integers(1, 10_000_000),
    part=st.sampled_from(["pipeline", "tasks", "finally"]),
)
def test_no_time_is_over_before_its_length_has_passed_and_all_are_a_second_later(started, limit, part):
    """Kubernetes stores the start without its fraction of a second."""
    given: dict[str, str] = {"pipeline": "0", part: f"{limit}us"}
    deadlines = {"pipeline": "pipeline_deadline", "tasks": "tasks_deadline", "finally": "finally_deadline"}
    began = START + timedelta(microseconds=started)
    deadline = getattr(times_of(_run(given, finallyStartTime="2026-01-01T00:00:00Z"), began), deadlines[part])
    length = timedelta(microseconds=limit)
    assert began + length <= deadline <= began + length + timedelta(seconds=1)


# What is done in time does not time out.


def _ends(harness: PipelineRunHarness, task: str, after: float, reason: str = "Succeeded") -> None:
    harness.now += timedelta(seconds=after)
    harness.finish_task(task, reason)


def test_a_finally_that_runs_past_the_time_of_the_tasks_is_no_timeout_of_the_tasks():
    """Tekton's issue 10512: there it is."""
    timeouts = {"pipeline": "100s", "tasks": "10s", "finally": "80s"}
    harness = PipelineRunHarness(
        pipeline_task("a"),
        pipeline_task("b", runAfter=["a"]),
        last=(pipeline_task("f"),),
        run_timeouts=timeouts,
    )
    harness.reconcile()
    _ends(harness, "a", 2)
    harness.reconcile()
    _ends(harness, "b", 2)
    harness.reconcile()
    harness.reconcile(20)
    assert harness.condition[1] == "Running"
    assert "status" not in _spec(harness, "f")
    _ends(harness, "f", 5)
    harness.reconcile()
    assert harness.condition[:2] == ("True", "Succeeded")


@pytest.mark.parametrize("failed", ["Failed", "TaskRunCancelled"])
def test_tasks_that_failed_in_time_are_the_reason_after_a_long_finally(failed):
    timeouts = {"pipeline": "100s", "tasks": "10s"}
    harness = PipelineRunHarness(
        pipeline_task("a"),
        pipeline_task("b", runAfter=["a"]),
        last=(pipeline_task("f"),),
        run_timeouts=timeouts,
    )
    harness.reconcile()
    _ends(harness, "a", 2, failed)
    harness.reconcile()
    assert harness.skipped_tasks == {"b": "PipelineRun was stopping"}
    _ends(harness, "f", 30)
    harness.reconcile()
    assert harness.condition[0] == "False"
    assert harness.condition[1] != "PipelineRunTimeout"
    assert harness.skipped_tasks == {"b": "PipelineRun was stopping"}


def test_a_task_that_cannot_run_stays_the_cause_after_a_long_finally():
    """It was not out of time: it lacks a result. So it stays, however long ``finally`` runs."""
    needs = [{"name": "x", "value": "$(tasks.a.results.r)"}]
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)),
        pipeline_task("b", params=needs),
        last=(pipeline_task("f"),),
        run_timeouts={"pipeline": "100s", "tasks": "10s"},
    )
    harness.reconcile()
    _ends(harness, "a", 2)
    harness.reconcile()
    _ends(harness, "f", 30)
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert harness.skipped_tasks == {}


def test_a_task_skipped_by_the_timeout_stays_skipped_through_finally():
    """The controller was away while the time passed; what it finds then, every later reconcile finds, too."""
    harness = PipelineRunHarness(
        pipeline_task("a"),
        pipeline_task("b", runAfter=["a"]),
        last=(pipeline_task("f"),),
        run_timeouts={"pipeline": "100s", "tasks": "10s"},
    )
    harness.reconcile()
    _ends(harness, "a", 2)
    harness.reconcile(15)
    assert harness.skipped_tasks == {"b": "PipelineRun Tasks timeout has been reached"}
    assert harness.condition[1] == "PipelineRunTimeoutRunningFinally"
    _ends(harness, "f", 5)
    harness.reconcile(30)
    assert harness.condition[:2] == ("False", "PipelineRunTimeout")
    assert harness.skipped_tasks == {"b": "PipelineRun Tasks timeout has been reached"}


def test_tasks_cancelled_by_the_timeout_are_a_timeout_after_finally():
    harness = PipelineRunHarness(
        pipeline_task("a"), last=(pipeline_task("f"),), run_timeouts={"pipeline": "100s", "tasks": "10500ms"}
    )
    harness.reconcile()
    harness.reconcile(11.5)
    assert _spec(harness, "a")["statusMessage"] == CHILD_TIMED_OUT
    harness.finish_task("a", "TaskRunCancelled")
    harness.reconcile(5)
    _ends(harness, "f", 5)
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineRunTimeout")
    assert 'tasks failed to finish within "10.5s"' in harness.condition[2]


def test_a_task_that_ended_by_itself_but_late_is_a_timeout():
    harness = PipelineRunHarness(
        pipeline_task("a"), last=(pipeline_task("f"),), run_timeouts={"pipeline": "100s", "tasks": "10s"}
    )
    harness.reconcile()
    _ends(harness, "a", 12)  # nobody looked meanwhile
    harness.reconcile()
    _ends(harness, "f", 1)
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineRunTimeout")


def test_a_run_whose_tasks_ended_in_time_did_not_time_out_however_late_that_is_seen():
    harness = PipelineRunHarness(pipeline_task("a"), run_timeouts={"pipeline": "10s"})
    harness.reconcile()
    _ends(harness, "a", 5)
    harness.reconcile(100)
    assert harness.condition[:2] == ("True", "Succeeded")


def test_a_run_of_which_something_is_left_when_its_time_is_over_timed_out():
    harness = PipelineRunHarness(
        pipeline_task("a"), last=(pipeline_task("f"),), run_timeouts={"pipeline": "10s"}
    )
    harness.reconcile()
    _ends(harness, "a", 5)
    harness.reconcile(100)
    assert harness.condition[:2] == ("False", "PipelineRunTimeout")
    assert harness.taskruns_made == ["a"]


REFERENCE = {
    "resultsfw-reference": "1",
    "backend": "object-store",
    "location": "s3://bucket/default/uid/x",
    "size": "4",
    "digest": f"sha256:{'0' * 64}",
    "mediaType": "text/plain",
}


@pytest.mark.parametrize("part", ["pipeline", "tasks"])
def test_a_store_that_is_away_is_waited_for_and_named_when_the_time_is_over(monkeypatch, part):
    def away(*_arguments: Any, **_more: Any) -> str:
        raise UnavailableError("the store is away")

    monkeypatch.setattr(result_refs, "read_value", away)
    text = [{"name": "x", "value": "v$(tasks.a.results.r)"}]
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)), pipeline_task("b", params=text), run_timeouts={part: "10s"}
    )
    harness.reconcile()
    harness.finish_task("a", r=REFERENCE)
    with pytest.raises(UnavailableError):
        harness.reconcile()
    assert harness.condition[:2] == ("Unknown", "PipelineRunPending")
    assert "the store is away" in harness.condition[2]
    harness.reconcile(15)
    assert harness.condition[:2] == ("False", "PipelineRunTimeout")
    assert "the store is away" in harness.condition[2]
    assert harness.taskruns_made == ["a"]


def test_what_finally_needs_is_waited_for_though_the_time_of_the_tasks_is_over():
    timeouts = {"pipeline": "100s", "tasks": "10s", "finally": "50s"}
    run = _run(timeouts, finallyStartTime="2026-01-01T00:00:05Z")
    ends = [times_of(run, START + timedelta(seconds=second)).part_elapsed for second in (8, 20, 55, 56, 101)]
    assert ends == [False, False, False, True, True]


# Held back.


def test_a_started_run_is_not_held_back_by_pending():
    """Tekton's webhook refuses that; a run that waited then would begin no further Task until its timeout."""
    harness = PipelineRunHarness(pipeline_task("a"), pipeline_task("b", runAfter=["a"]))
    harness.reconcile()
    harness.request_status("PipelineRunPending")
    harness.finish_task("a")
    harness.reconcile()
    assert harness.taskruns_made == ["a", "b"]


def test_a_pending_run_that_is_cancelled_creates_nothing():
    harness = PipelineRunHarness(pipeline_task("a"), run_status="PipelineRunPending")
    harness.reconcile()
    assert "startTime" not in harness.status
    harness.request_status("Cancelled")
    harness.reconcile()
    assert harness.condition == ("False", "Cancelled", 'PipelineRun "p" was cancelled')
    assert harness.taskruns_made == []


# Custom tasks.

SPEC: Any = {"steps": [{"image": "i", "script": "true"}]}


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ({"taskRef": {"name": "t", "apiVersion": "example.dev/v1"}}, "custom task ref must specify kind"),
        ({"taskRef": {"name": "t", "kind": "ClusterTask"}}, "custom task ref must specify apiVersion"),
        ({"taskRef": {"apiVersion": "v1", "kind": "Example"}}, 'invalid apiVersion format "v1"'),
        ({"taskRef": {"apiVersion": "a/b/c", "kind": "Example"}}, 'invalid apiVersion format "a/b/c"'),
        ({"taskSpec": {"apiVersion": "a/v1", "spec": {}}}, "custom task spec must specify kind"),
        ({"taskSpec": {"kind": "Example", "spec": {}}}, "custom task spec must specify apiVersion"),
        ({"taskSpec": {"spec": {"deep": {}}}}, "taskSpec.spec is of a custom task"),
        ({"taskSpec": {**SPEC, "kind": "E"}}, "taskSpec.kind cannot be specified when using taskSpec.steps"),
        ({"taskSpec": {**SPEC, "apiVersion": "a/v1"}}, "taskSpec.apiVersion cannot be specified when using"),
        ({"taskRef": {"name": "t"}, "pipelineRef": {"name": "p"}}, "exactly one of taskRef, taskSpec"),
        ({}, "exactly one of taskRef, taskSpec, pipelineRef and pipelineSpec"),
    ],
)
@pytest.mark.parametrize("section", ["tasks", "finally"])
def test_a_half_written_custom_task_is_refused_and_no_task_of_its_name_runs(task, why, section):
    custom = {"name": "c", **task}
    harness = (
        PipelineRunHarness(pipeline_task("a"), custom)
        if section == "tasks"
        else PipelineRunHarness(pipeline_task("a"), last=(custom,))
    )
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert why in harness.condition[2]
    assert harness.taskruns_made == []


@pytest.mark.parametrize("reference", [{"apiVersion": "example.dev/v1"}])
def test_a_reference_to_a_foreign_pipeline_is_refused(reference):
    harness = PipelineRunHarness(pipeline_task("a"))
    given = {"pipelineSpec": None, "pipelineRef": {"name": "other", **reference}}
    Store.patch(harness.store, PIPELINERUNS, "default", "p", {"spec": given})
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert "not supported here" in harness.condition[2]


@pytest.mark.parametrize("timeout", [[], True, {"a": 1}, 5, "nonsense", "1" * 300 + "h"])
def test_an_invalid_timeout_fails_the_run_and_raises_nothing(timeout):
    harness = PipelineRunHarness(pipeline_task("a"))
    Store.patch(harness.store, PIPELINERUNS, "default", "p", {"spec": {"timeouts": {"pipeline": timeout}}})
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert "timeouts.pipeline" in harness.condition[2]


@pytest.mark.parametrize("timeouts", [1, True, "1h", ["1h"]])
def test_timeouts_that_are_no_mapping_fail_the_run_and_raise_nothing(timeouts):
    harness = PipelineRunHarness(pipeline_task("a"))
    Store.patch(harness.store, PIPELINERUNS, "default", "p", {"spec": {"timeouts": timeouts}})
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert "spec.timeouts" in harness.condition[2]
