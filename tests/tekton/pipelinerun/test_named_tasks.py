"""Pipelines that name Tasks: each is read once, and not too many of them."""

from pipelinerun_harness import PipelineRunHarness

from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKS
from resultsfw.tekton.pipelinerun.referred_tasks import MAX_TASKS

STEPS = [{"name": "s", "image": "i", "script": "true"}]


def _naming(*names: str) -> PipelineRunHarness:
    harness = PipelineRunHarness(
        *({"name": f"t{at}", "taskRef": {"name": name}} for at, name in enumerate(names))
    )
    for name in set(names):
        harness.store.create(
            TASKS, {"metadata": {"name": name, "namespace": "default"}, "spec": {"steps": STEPS}}
        )
    harness.store.calls.clear()
    return harness


def _chained(harness: PipelineRunHarness) -> None:
    """Let only one begin, so that all that is read is read for the check."""
    run = harness.pipelinerun
    tasks = run["spec"]["pipelineSpec"]["tasks"]
    for at in range(1, len(tasks)):
        tasks[at]["runAfter"] = [f"t{at - 1}"]
    harness.store.patch(PIPELINERUNS, "default", "p", {"spec": run["spec"]})


def test_a_task_that_many_pipeline_tasks_name_is_read_once():
    harness = _naming(*["same"] * 1000)
    _chained(harness)
    harness.reconcile()
    assert harness.taskruns_made == ["t0"]
    assert harness.store.calls.count(("get", "Task")) == 1


def test_more_tasks_than_can_be_read_are_refused_with_both_numbers_before_one_is_read():
    harness = _naming(*(f"task-{at}" for at in range(MAX_TASKS + 1)))
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert f"names {MAX_TASKS + 1} different Tasks, over the limit of {MAX_TASKS}" in harness.condition[2]
    assert ("get", "Task") not in harness.store.calls


def test_as_many_tasks_as_can_be_read_run():
    harness = _naming(*(f"task-{at}" for at in range(MAX_TASKS)))
    _chained(harness)
    harness.reconcile()
    assert harness.taskruns_made == ["t0"]


def test_a_task_that_no_webhook_has_seen_is_refused_by_its_field():
    harness = _naming("wrong")
    spec = {"steps": STEPS, "params": [{"type": "string"}], "results": ["text"]}
    harness.store.patch(TASKS, "default", "wrong", {"spec": spec})
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineValidationFailed")
    assert 'its Task "wrong" is invalid: spec.params[0].name' in harness.condition[2]
