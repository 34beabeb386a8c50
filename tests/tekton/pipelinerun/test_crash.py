"""Reconciling again: after a crash, with a foreign TaskRun, and where nothing changed."""

import json

import pytest
from pipelinerun_harness import KilledError, PipelineRunHarness, pipeline_task

from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

PARAM_OF_A = {"name": "v", "value": "$(tasks.a.results.r)"}


@pytest.mark.slow
def test_guarantee_4_killed_at_any_call_and_started_again_it_comes_to_the_same_end():
    def play(fail_at):
        harness = PipelineRunHarness(
            pipeline_task("a", results=("r",)),
            pipeline_task("b", params=[PARAM_OF_A]),
            last=(pipeline_task("f"),),
        )
        harness.store.fail_at = fail_at
        for _ in range(30):
            try:
                harness.reconcile()
            except KilledError:
                harness.store.fail_at = None
                harness.restart_controller()
                continue
            for name in ("a", "b", "f"):
                if (made := harness.taskrun(name)) and "status" not in made:
                    harness.finish_task(name, **({"r": "1"} if name == "a" else {}))
            if harness.is_done:
                break
        return harness

    whole = play(None)
    outcome = (whole.condition, whole.taskruns_made, whole.status["childReferences"])
    for number in range(1, len(whole.store.calls) + 1):
        again = play(number)
        assert (again.condition, again.taskruns_made, again.status["childReferences"]) == outcome, (
            f"killed at call {number}"
        )
        assert again.store.calls.count(("created", "TaskRun")) == 3


def test_a_foreign_taskrun_of_the_same_name_fails_the_run():
    harness = PipelineRunHarness(pipeline_task("a"))
    foreign = {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": "p-a", "namespace": "default"},
        "spec": {},
    }
    Store.create(harness.store, TASKRUNS, foreign)
    harness.reconcile()
    assert harness.condition[:2] == ("False", "CreateRunFailed")
    assert "does not belong to this run" in harness.condition[2]


def test_nothing_is_written_where_nothing_changed():
    harness = PipelineRunHarness(pipeline_task("a"))
    harness.reconcile()
    version = harness.pipelinerun["metadata"]["resourceVersion"]
    harness.reconcile()
    assert harness.pipelinerun["metadata"]["resourceVersion"] == version
    assert json.dumps(harness.status)  # plain data
    assert Store.get(harness.store, PIPELINERUNS, "default", "p") == harness.pipelinerun


def test_an_unchanged_condition_keeps_its_transition_time():
    harness = PipelineRunHarness(pipeline_task("a"), pipeline_task("b"), pipeline_task("c", runAfter=["a"]))
    harness.reconcile()
    before = harness.status["conditions"][0]
    harness.reconcile(60)
    patch = {"status": {"childReferences": []}}
    Store.patch(harness.store, PIPELINERUNS, "default", "p", patch, subresource="status")
    harness.reconcile(60)
    assert harness.status["childReferences"]
    assert harness.status["conditions"][0] == before
