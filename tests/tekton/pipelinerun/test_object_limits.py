"""What one object holds: runs, TaskRuns and results that are too large fail by name."""

import pytest
from pipelinerun_harness import PipelineRunHarness, pipeline_task

from resultsfw.errors import ObjectTooLargeError
from resultsfw.limits import object_size


def test_a_pipelinerun_stays_small_while_results_grow():
    sizes = set()
    for size in (1, 1000, 1_000_000):
        harness = PipelineRunHarness(pipeline_task("a", results=("r",)), pipeline_task("b", runAfter=["a"]))
        harness.reconcile()
        harness.finish_task("a", r="x" * size)
        harness.reconcile()
        harness.finish_task("b")
        harness.reconcile()
        assert harness.condition[0] == "True"
        sizes.add(object_size(harness.pipelinerun))
    assert max(sizes) - min(sizes) < 20  # resource versions and times


def test_a_param_larger_than_its_taskrun_can_hold_fails_the_run_with_name_and_sizes():
    params = [{"name": f"v{index}", "value": f"$(tasks.a{index}.results.r)"} for index in range(2)]
    tasks = [pipeline_task(f"a{index}", results=("r",)) for index in range(2)]
    harness = PipelineRunHarness(*tasks, pipeline_task("b", params=params), last=(pipeline_task("f"),))
    harness.reconcile()
    for index in range(2):
        harness.finish_task(f"a{index}", r="x" * (800_000 + index))
    harness.reconcile()
    harness.finish_task("f")
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    for words in ('task "b"', "over the limit of 1556480 bytes", 'param "v1" has 800003 bytes'):
        assert words in harness.condition[2]
    assert harness.taskruns_made == ["a0", "a1", "f"]


def test_a_pipeline_result_that_the_run_cannot_hold_is_left_out_by_name():
    results = [{"name": one, "value": f"$(tasks.{one}.results.r)"} for one in ("a", "b")]
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)), pipeline_task("b", results=("r",)), results=results
    )
    harness.reconcile()
    harness.finish_task("a", r="x" * 1_000_000)
    harness.finish_task("b", r="y" * 900_000)
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineRunTooLarge")
    assert '"a" (1000002 bytes)' in harness.condition[2]
    assert [one["name"] for one in harness.status["results"]] == ["b"]


@pytest.mark.parametrize(
    ("script", "given"),
    [(900_000, 0), (300_000, 1_100_000)],
    ids=["its Pipeline, which its status repeats", "its params beside it"],
)
def test_a_run_larger_than_an_object_with_its_status_fails_before_a_taskrun_is_created(script, given):
    task = pipeline_task("a")
    task["taskSpec"]["steps"][0]["script"] = "x" * script
    harness = PipelineRunHarness(
        task, params=[{"name": "v", "type": "string"}], run_params=[{"name": "v", "value": "y" * given}]
    )
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineRunTooLarge")
    assert "over the limit of 1556480 bytes" in harness.condition[2]
    spec = object_size(harness.pipelinerun["spec"]["pipelineSpec"])
    assert f"spec has {spec} bytes" in harness.condition[2]
    assert harness.taskruns_made == []


def test_a_run_that_the_server_cannot_store_any_more_fails_and_its_taskruns_are_cancelled(monkeypatch):
    harness = PipelineRunHarness(pipeline_task("a"), pipeline_task("b", runAfter=["a"]))
    harness.reconcile()
    patch = harness.store.patch

    def refuses(kind, namespace, name, changes, **where):
        if "childReferences" in changes.get("status", {}):
            raise ObjectTooLargeError("etcdserver: request is too large (1600000 bytes)")
        return patch(kind, namespace, name, changes, **where)

    monkeypatch.setattr(harness.store, "patch", refuses)
    harness.finish_task("a")
    assert harness.reconcile() is None
    assert harness.condition[:2] == ("False", "PipelineRunTooLarge")
    assert "request is too large (1600000 bytes)" in harness.condition[2]
    assert harness.taskrun("b")["spec"]["status"] == "TaskRunCancelled"
