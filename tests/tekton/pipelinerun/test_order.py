"""The order in which Tasks begin: ``runAfter``, results, ``when``, failures and ``finally``."""

import pytest
from pipelinerun_harness import PipelineRunHarness, pipeline_task

PARAM_OF_A = {"name": "v", "value": "$(tasks.a.results.r)"}


def test_tasks_begin_when_what_they_name_is_done_and_at_once_where_they_name_nothing():
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)),
        pipeline_task("b"),
        pipeline_task("c", params=[PARAM_OF_A]),
        pipeline_task("d", runAfter=["c"]),
    )
    harness.reconcile()
    assert harness.taskruns_made == ["a", "b"]
    harness.finish_task("a", r="1")
    harness.reconcile()
    assert harness.taskruns_made == ["a", "b", "c"]
    assert harness.params_of("c") == {"v": "1"}
    harness.finish_task("b")
    harness.finish_task("c")
    harness.reconcile()
    harness.finish_task("d")
    harness.reconcile()
    assert harness.condition == (
        "True",
        "Succeeded",
        "Tasks Completed: 4 (Failed: 0, Cancelled 0), Skipped: 0",
    )


def test_a_task_waits_for_a_result_named_in_its_when():
    when = [{"input": "$(tasks.a.results.r)", "operator": "in", "values": ["yes"]}]
    harness = PipelineRunHarness(pipeline_task("a", results=("r",)), pipeline_task("b", when=when))
    harness.reconcile()
    assert harness.taskruns_made == ["a"]
    harness.finish_task("a", r="yes")
    harness.reconcile()
    assert harness.taskruns_made == ["a", "b"]


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (
            [pipeline_task("a", runAfter=["b"]), pipeline_task("b", runAfter=["a"])],
            'cycle detected; task "a" depends on "b"',
        ),
        ([pipeline_task("a", runAfter=["z"])], "task a depends on z but z wasn't present in Pipeline"),
        (
            [pipeline_task("a"), pipeline_task("a")],
            "task a is already present in Graph, can't add it again: duplicate pipeline task",
        ),
    ],
)
def test_a_run_whose_tasks_have_no_order_fails_before_a_taskrun_is_created(tasks, said):
    harness = PipelineRunHarness(*tasks)
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineInvalidGraph")
    assert said in harness.condition[2]
    assert harness.taskruns_made == []


def test_a_failed_task_stops_the_tasks_that_have_not_begun():
    harness = PipelineRunHarness(pipeline_task("a"), pipeline_task("b"), pipeline_task("c", runAfter=["b"]))
    harness.reconcile()
    harness.finish_task("a", "Failed")
    harness.reconcile()
    assert harness.condition[:2] == ("Unknown", "PipelineRunStopping")
    harness.finish_task("b")
    harness.reconcile()
    assert harness.condition == ("False", "Failed", "Tasks Completed: 2 (Failed: 1, Cancelled 0), Skipped: 1")
    assert harness.skipped_tasks == {"c": "PipelineRun was stopping"}


def test_a_final_task_knows_how_the_others_ended():
    values = (
        "$(tasks.a.status)",
        "$(tasks.b.status)",
        "$(tasks.status)",
        "$(tasks.b.reason)",
        "$(tasks.c.status)",
    )
    given = [{"name": f"v{index}", "value": value} for index, value in enumerate(values)]
    harness = PipelineRunHarness(
        pipeline_task("a"),
        pipeline_task("b", runAfter=["a"]),
        pipeline_task("c", runAfter=["b"]),
        last=(pipeline_task("f", params=given),),
    )
    harness.reconcile()
    harness.finish_task("a")
    harness.reconcile()
    harness.finish_task("b", "Failed")
    harness.reconcile()
    assert list(harness.params_of("f").values()) == ["Succeeded", "Failed", "Failed", "Failed", "None"]


def test_a_task_that_only_runs_after_one_skipped_by_when_runs():
    no = [{"input": "a", "operator": "notin", "values": ["a"]}]
    harness = PipelineRunHarness(
        pipeline_task("a", when=no, results=("r",)),
        pipeline_task("b", runAfter=["a"]),
        pipeline_task("c", params=[PARAM_OF_A]),
        pipeline_task("d", runAfter=["c"]),
    )
    harness.reconcile()
    assert harness.taskruns_made == ["b"]
    harness.finish_task("b")
    harness.reconcile()
    assert harness.condition[:2] == ("True", "Completed")
    assert harness.skipped_tasks == {
        "a": "When Expressions evaluated to false",
        "c": "Results were missing",
        "d": "Parent Tasks were skipped",
    }


def test_finally_start_time_is_written_even_if_no_task_of_finally_runs():
    never = [{"input": "x", "operator": "in", "values": ["y"]}]
    harness = PipelineRunHarness(pipeline_task("a"), last=(pipeline_task("z", when=never),))
    harness.reconcile()
    assert "finallyStartTime" not in harness.status
    harness.finish_task("a")
    harness.reconcile()
    assert harness.status["finallyStartTime"]
