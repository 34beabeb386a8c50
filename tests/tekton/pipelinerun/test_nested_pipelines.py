"""Pipelines in Pipelines: the child PipelineRun, its results, its cancellation, cycles and depth."""

from typing import Any

import pytest
from pipelinerun_harness import PipelineRunHarness, pipeline_task

from resultsfw import Object
from resultsfw.errors import InputError
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.fields import MAX_NESTED_PIPELINES
from resultsfw.tekton.api.kinds import PIPELINERUNS, PIPELINES, TASKRUNS
from resultsfw.tekton.pipelinerun.models import validate_pipelinerun_document


def nested(name: str, *tasks: Object, results: tuple[Object, ...] = (), **fields: Any) -> Object:
    spec: Object = {"tasks": list(tasks) or [pipeline_task("t")]}
    return {
        "name": name,
        "pipelineSpec": {**spec, **({"results": list(results)} if results else {})},
        **fields,
    }


def child(harness: PipelineRunHarness, name: str) -> Object:
    return Store.get(harness.store, PIPELINERUNS, "default", f"p-{name}")


def run_child(harness: PipelineRunHarness, name: str) -> None:
    harness.reconciler.reconcile("default", f"p-{name}")


def finish(harness: PipelineRunHarness, name: str, verdict: str = "True", reason: str = "r", **results: Any):
    written = [{"name": result, "value": value} for result, value in results.items()]
    patch = {"status": {"conditions": [condition(verdict, reason, "m", harness.now)], "results": written}}
    Store.patch(harness.store, PIPELINERUNS, "default", f"p-{name}", patch, subresource="status")


def create_pipeline(harness: PipelineRunHarness, name: str, *tasks: Object) -> None:
    metadata = {"name": name, "namespace": "default"}
    pipeline = {"apiVersion": "tekton.dev/v1", "kind": "Pipeline", "metadata": metadata}
    Store.create(harness.store, PIPELINES, {**pipeline, "spec": {"tasks": list(tasks)}})


def test_the_whole_way_of_a_result_through_a_child() -> None:
    declared = [{"name": "out", "value": "$(tasks.t.results.r)"}]
    inner = pipeline_task("t", results=("r",), params=[{"name": "v", "value": "$(params.v)"}])
    middle = nested(
        "n", inner, results=tuple(declared), params=[{"name": "v", "value": "$(tasks.a.results.r)"}]
    )
    middle["pipelineSpec"]["params"] = [{"name": "v"}]
    after = pipeline_task("z", params=[{"name": "v", "value": "$(tasks.n.results.out)"}])
    own = [{"name": "all", "value": "$(tasks.n.results.out)"}]
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)), middle, after, results=own, run_managedBy="resultsfw.dev/x"
    )
    value = "$(context.pipelineRun.name) $(params.v) $(~tasks.a.results.r)"
    harness.reconcile()
    harness.finish_task("a", r=value)
    harness.reconcile()
    assert child(harness, "n")["spec"]["managedBy"] == "resultsfw.dev/x"
    run_child(harness, "n")
    run_child(harness, "n")
    taskrun = Store.get(harness.store, TASKRUNS, "default", "p-n-t")
    assert taskrun["metadata"]["labels"]["tekton.dev/pipelineRun"] == "p-n"
    harness.finish_task("n-t", r=value)
    run_child(harness, "n")
    assert child(harness, "n")["status"]["results"] == [{"name": "out", "value": value}]
    harness.reconcile()
    harness.finish_task("z")
    harness.reconcile()
    assert harness.status["results"] == [{"name": "all", "value": value}]
    assert [ref["kind"] for ref in harness.status["childReferences"]] == ["TaskRun", "PipelineRun", "TaskRun"]


def test_a_value_with_variables_is_data_to_the_childs_tasks() -> None:
    inner = pipeline_task("t", params=[{"name": "v", "value": "$(params.v)"}])
    middle = nested("n", inner, params=[{"name": "v", "value": "$(tasks.a.results.r)"}])
    middle["pipelineSpec"]["params"] = [{"name": "v"}]
    harness = PipelineRunHarness(pipeline_task("a", results=("r",)), middle)
    harness.reconcile()
    harness.finish_task("a", r="$(context.pipelineRun.name) $(context.taskRun.name)")
    harness.reconcile()
    run_child(harness, "n")
    run_child(harness, "n")
    taskrun = Store.get(harness.store, TASKRUNS, "default", "p-n-t")
    value = "$(~context.pipelineRun.name) $(~context.taskRun.name)"
    assert taskrun["spec"]["params"] == [{"name": "v", "value": value}]
    assert "resultsfw.dev/literal-variables" in taskrun["metadata"]["annotations"]


def test_a_child_gets_what_the_run_gives_to_its_pipeline_task() -> None:
    own = {"pipelineTaskName": "n", "serviceAccountName": "mine", "podTemplate": {"schedulerName": "s"}}
    harness = PipelineRunHarness(
        nested("n", timeout="30m"),
        run_taskRunSpecs=[own],
        run_taskRunTemplate={"podTemplate": {"nodeSelector": {"a": "b"}}},
    )
    harness.reconcile()
    spec = child(harness, "n")["spec"]
    template = {"nodeSelector": {"a": "b"}, "schedulerName": "s"}
    assert spec["taskRunTemplate"] == {"serviceAccountName": "mine", "podTemplate": template}
    assert spec["timeouts"] == {"pipeline": "30m"}


@pytest.mark.parametrize(
    ("requested", "asked"), [("Cancelled", "Cancelled"), ("CancelledRunFinally", "CancelledRunFinally")]
)
def test_a_cancelled_run_cancels_its_child(requested: str, asked: str) -> None:
    harness = PipelineRunHarness(nested("n"), last=(pipeline_task("f"),))
    harness.reconcile()
    harness.request_status(requested)
    harness.reconcile()
    made = child(harness, "n")
    assert made["spec"]["status"] == asked
    message = "PipelineRun cancelled as the PipelineRun it belongs to has been cancelled."
    assert made["metadata"]["annotations"]["resultsfw.dev/status-message"] == message
    if requested == "Cancelled":
        assert harness.is_done
        return
    finish(harness, "n", "False", "Cancelled")
    harness.reconcile()
    harness.finish_task("f")
    harness.reconcile()
    assert harness.condition == ("False", "Cancelled", 'PipelineRun "p" was cancelled')


def test_a_graceful_cancel_that_becomes_a_full_one_reaches_the_child() -> None:
    harness = PipelineRunHarness(nested("n"))
    harness.reconcile()
    for requested in ("CancelledRunFinally", "Cancelled"):
        harness.request_status(requested)
        harness.reconcile()
        assert child(harness, "n")["spec"]["status"] == requested
    assert harness.is_done


def test_a_run_out_of_time_cancels_its_child_and_says_so() -> None:
    harness = PipelineRunHarness(nested("n"), last=(pipeline_task("f"),), run_timeouts={"tasks": "10s"})
    harness.reconcile()
    harness.reconcile(seconds=11)
    assert child(harness, "n")["spec"]["status"] == "Cancelled"
    finish(harness, "n", "False", "Cancelled")
    harness.reconcile()
    harness.finish_task("f")
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineRunTimeout")


def test_a_child_that_somebody_else_cancelled_is_a_failure() -> None:
    harness = PipelineRunHarness(nested("n"))
    harness.reconcile()
    finish(harness, "n", "False", "Cancelled")
    harness.reconcile()
    message = "Tasks Completed: 1 (Failed: 1, Cancelled 0), Skipped: 0"
    assert harness.condition == ("False", "Failed", message)


def test_a_pipeline_within_itself_ends_with_tektons_message() -> None:
    harness = PipelineRunHarness({"name": "n", "pipelineRef": {"name": "ping"}})
    create_pipeline(harness, "ping", {"name": "o", "pipelineRef": {"name": "pong"}})
    create_pipeline(harness, "pong", {"name": "i", "pipelineRef": {"name": "ping"}})
    harness.reconcile()
    for name in ("n", "n-o", "n-o"):
        run_child(harness, name)
    (ended,) = child(harness, "n-o")["status"]["conditions"]
    assert (ended["status"], ended["reason"]) == ("False", "CreateRunFailed")
    assert ended["message"] == (
        'detected cycle in pipeline-in-pipeline: pipeline "ping" is already running in ancestor chain [pong]'
    )
    assert len(harness.store.list(PIPELINERUNS, "default")) == 3


def test_a_chain_of_pipelines_ends_at_the_limit() -> None:
    harness = PipelineRunHarness({"name": "n", "pipelineRef": {"name": "l0"}})
    for level in range(MAX_NESTED_PIPELINES + 5):
        create_pipeline(harness, f"l{level}", {"name": "n", "pipelineRef": {"name": f"l{level + 1}"}})
    harness.reconcile()
    ended = []
    for _ in range(MAX_NESTED_PIPELINES + 3):
        for run in harness.store.list(PIPELINERUNS, "default"):
            harness.reconciler.reconcile("default", run["metadata"]["name"])
    for run in harness.store.list(PIPELINERUNS, "default"):
        ended += [known for known in run["status"]["conditions"] if known["reason"] == "CreateRunFailed"]
    assert [
        f"deeper than the limit of {MAX_NESTED_PIPELINES} levels" in known["message"] for known in ended
    ] == [True]
    assert len(harness.store.list(PIPELINERUNS, "default")) == MAX_NESTED_PIPELINES + 1


def test_texts_that_nest_pipelines_too_deep_are_refused() -> None:
    task = pipeline_task("t")
    for _ in range(MAX_NESTED_PIPELINES):
        task = nested("t", task)
    run = {"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": {"name": "p"}}
    validate_pipelinerun_document({**run, "spec": {"pipelineSpec": {"tasks": [task]}}})
    for _ in range(500):
        task = nested("t", task)
    with pytest.raises(InputError, match=f"deeper than the limit of {MAX_NESTED_PIPELINES} levels"):
        validate_pipelinerun_document({**run, "spec": {"pipelineSpec": {"tasks": [task]}}})


def test_a_pipeline_that_is_not_there_ends_the_run_before_anything_is_made() -> None:
    harness = PipelineRunHarness(pipeline_task("a"), {"name": "n", "pipelineRef": {"name": "nowhere"}})
    harness.reconcile()
    assert harness.condition[:2] == ("False", "CouldntGetPipeline")
    assert (
        "it contains child Pipelines that don't exist: Couldn't retrieve Pipeline \"nowhere\""
        in (harness.condition[2])
    )
    assert harness.taskruns_made == []


def test_a_result_that_a_child_does_not_declare_is_refused() -> None:
    harness = PipelineRunHarness(
        nested("n"), pipeline_task("a", params=[{"name": "v", "value": "$(tasks.n.results.none)"}])
    )
    harness.reconcile()
    assert harness.condition[1] == "InvalidTaskResultReference"


def test_pipelines_that_refer_to_many_others_on_each_level_are_refused_before_they_have_grown() -> None:
    width = 30
    harness = PipelineRunHarness(*({"name": f"t{at}", "pipelineRef": {"name": "l1"}} for at in range(width)))
    for level in range(1, 4):
        children = ({"name": f"t{at}", "pipelineRef": {"name": f"l{level + 1}"}} for at in range(width))
        create_pipeline(harness, f"l{level}", *children)
    create_pipeline(harness, "l4", pipeline_task("t"))
    harness.reconcile()
    for name in ("t0", "t0-t0"):
        run_child(harness, name)
    ended = [child(harness, name)["status"]["conditions"][0] for name in ("t0", "t0-t0")]
    assert [known["status"] for known in ended] == ["Unknown", "False"]
    assert ended[1]["reason"] == "CreateRunFailed"
    assert "one of 27000 PipelineRuns on its level of Pipelines in Pipelines" in ended[1]["message"]
    assert len(harness.store.list(PIPELINERUNS, "default")) == 1 + 2 * width


def test_a_matrix_above_counts_with_the_children_that_it_has() -> None:
    inner = [{"name": f"t{at}", "pipelineRef": {"name": "in"}} for at in range(101)]
    combined = {"matrix": {"params": [{"name": "v", "value": "$(params.all[*])"}]}}
    every = [{"name": "all", "type": "array", "default": [str(at) for at in range(100)]}]
    harness = PipelineRunHarness({"name": "m", "pipelineRef": {"name": "middle"}, **combined}, params=every)
    create_pipeline(harness, "middle", *inner)
    create_pipeline(harness, "in", pipeline_task("t"))
    harness.reconcile()
    run_child(harness, "m-99")
    assert "one of 10100 PipelineRuns" in child(harness, "m-99")["status"]["conditions"][0]["message"]
