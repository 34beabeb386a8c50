"""A PipelineRun that cannot go on leaves no TaskRun running."""

import pytest
from pipelineworld import World, a_task

from resultsfw.errors import ClusterError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS


def refuse_taskrun(world, monkeypatch, name):
    """The server never takes this TaskRun, as a webhook that denies it."""
    create = world.store.create

    def refusing(kind, obj):
        if kind == TASKRUNS and obj["metadata"]["name"] == name:
            raise ClusterError("admission webhook denied the request")
        return create(kind, obj)

    monkeypatch.setattr(world.store, "create", refusing)


def is_cancelled(world, task):
    return world.taskrun(task)["spec"].get("status") == "TaskRunCancelled"


@pytest.mark.parametrize("at_once", [True, False], ids=["made in the same reconcile", "made before"])
def test_taskruns_are_cancelled_where_a_later_one_is_refused(monkeypatch, at_once):
    world = World(a_task("a"), a_task("b"), a_task("c", **({} if at_once else {"runAfter": ["a"]})))
    refuse_taskrun(world, monkeypatch, "p-c")
    world.step()
    if not at_once:
        assert world.told[0] == "Unknown"
        world.end("a")
        world.step()
    assert world.told[:2] == ("False", "CreateRunFailed")
    assert is_cancelled(world, "b")
    assert is_cancelled(world, "a") == at_once  # one that is over is left alone


def test_taskruns_are_cancelled_where_the_run_itself_is_not_valid_any_more():
    """A newer controller may refuse what an older one began."""
    world = World(a_task("a"))
    world.step()
    Store.patch(world.store, PIPELINERUNS, "default", "p", {"spec": {"nonsense": True}})
    world.step()
    assert world.told[0] == "False"
    assert is_cancelled(world, "a")
