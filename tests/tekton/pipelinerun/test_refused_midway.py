"""A PipelineRun that cannot go on leaves no TaskRun running."""

import pytest
from pipelinerun_harness import PipelineRunHarness, pipeline_task

from resultsfw.errors import ClusterError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS


def refuse_taskrun(harness, monkeypatch, name):
    """The server never takes this TaskRun, as a webhook that denies it."""
    create = harness.store.create

    def refusing(kind, obj):
        if kind == TASKRUNS and obj["metadata"]["name"] == name:
            raise ClusterError("admission webhook denied the request")
        return create(kind, obj)

    monkeypatch.setattr(harness.store, "create", refusing)


def is_cancelled(harness, task):
    return harness.taskrun(task)["spec"].get("status") == "TaskRunCancelled"


@pytest.mark.parametrize("at_once", [True, False], ids=["made in the same reconcile", "made before"])
def test_taskruns_are_cancelled_where_a_later_one_is_refused(monkeypatch, at_once):
    harness = PipelineRunHarness(
        pipeline_task("a"), pipeline_task("b"), pipeline_task("c", **({} if at_once else {"runAfter": ["a"]}))
    )
    refuse_taskrun(harness, monkeypatch, "p-c")
    harness.reconcile()
    if not at_once:
        assert harness.condition[0] == "Unknown"
        harness.finish_task("a")
        harness.reconcile()
    assert harness.condition[:2] == ("False", "CreateRunFailed")
    assert is_cancelled(harness, "b")
    assert is_cancelled(harness, "a") == at_once  # one that is over is left alone


def test_taskruns_are_cancelled_where_the_run_itself_is_not_valid_any_more():
    """A newer controller may refuse what an older one began."""
    harness = PipelineRunHarness(pipeline_task("a"))
    harness.reconcile()
    Store.patch(harness.store, PIPELINERUNS, "default", "p", {"spec": {"nonsense": True}})
    harness.reconcile()
    assert harness.condition[0] == "False"
    assert is_cancelled(harness, "a")
