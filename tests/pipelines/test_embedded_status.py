"""``embedded-status``: references, copies or both; servers that keep no copies; copies that do not fit."""

import pytest
from pipelineworld import Counting, World, a_task

from resultsfw.errors import ObjectTooLargeError
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.pipelinerun.child_statuses import PRUNED_ANNOTATION
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler

WHEN = [{"input": "x", "operator": "in", "values": ["x"]}]


def played(mode, **spec):
    world = World(a_task("a", results=("r",)), a_task("b", runAfter=["a"], when=WHEN), flags=mode, **spec)
    world.step()
    world.end("a", r="1")
    world.step()
    world.end("b")
    world.step()
    return world


def flags(mode):
    return {"embedded-status": mode}


@pytest.mark.parametrize("mode", ["minimal", "full", "both"])
def test_what_each_mode_holds(mode):
    world = played(flags(mode))
    assert world.told[:2] == ("True", "Succeeded")
    status = world.status
    if mode == "minimal":
        assert "taskRuns" not in status
    else:
        assert status["taskRuns"] == {
            "p-a": {"pipelineTaskName": "a", "status": world.taskrun("a")["status"]},
            "p-b": {
                "pipelineTaskName": "b",
                "status": world.taskrun("b")["status"],
                "whenExpressions": WHEN,
            },
        }
    if mode == "full":
        assert "childReferences" not in status
    else:
        assert [one["name"] for one in status["childReferences"]] == ["p-a", "p-b"]


def test_a_copy_loses_what_its_taskrun_loses():
    world = World(a_task("a"), flags=flags("full"))
    world.step()
    patch = {"status": {"podName": "first", "steps": [{"name": "s"}], "provenance": {"x": {"y": "z"}}}}
    Store.patch(world.store, TASKRUNS, "default", "p-a", patch, subresource="status")
    world.step()
    assert world.status["taskRuns"]["p-a"]["status"]["podName"] == "first"
    patch = {"status": {"podName": "second", "steps": None, "provenance": {"x": {"y": None, "v": "w"}}}}
    Store.patch(world.store, TASKRUNS, "default", "p-a", patch, subresource="status")
    world.step()
    assert world.status["taskRuns"]["p-a"]["status"] == world.taskrun("a")["status"]


def test_the_flag_may_change_while_a_run_goes_on():
    world = World(a_task("a"), a_task("b", runAfter=["a"]), flags=flags("full"))
    world.step()
    world.core = World(flags=flags("minimal")).core
    world.start()
    world.step()
    assert "taskRuns" not in world.status
    assert [one["name"] for one in world.status["childReferences"]] == ["p-a"]


def test_nothing_is_written_where_nothing_changed():
    world = World(a_task("a"), flags=flags("both"))
    world.step()
    world.step()
    before = len(world.store.calls)
    world.step()
    assert ("patch", "PipelineRun") not in world.store.calls[before:]


class Pruning(Counting):
    """A server whose CRD does not know ``status.taskRuns``."""

    def patch(self, kind, namespace, name, patch, *, subresource=""):
        if kind == PIPELINERUNS and "taskRuns" in patch.get("status", {}):
            status = {key: value for key, value in patch["status"].items() if key != "taskRuns"}
            patch = {**patch, "status": status}
        return super().patch(kind, namespace, name, patch, subresource=subresource)


@pytest.mark.parametrize("mode", ["full", "both"])
def test_a_server_that_keeps_no_copies_is_named_by_the_run_itself(mode, caplog):
    told = []
    pruning, world = Pruning(), World(a_task("a"), a_task("b", runAfter=["a"]), flags=flags(mode))
    pruning.create(PIPELINERUNS, {**world.run, "metadata": {"name": "p", "namespace": "default"}})
    world.store = pruning
    world.reconciler = PipelineReconciler(
        world.core, pruning, clock=lambda: world.now, tell=lambda *one: told.append(one[1:])
    )
    world.step()
    assert [one["name"] for one in world.status["childReferences"]] == ["p-a"]
    said = world.status["annotations"][PRUNED_ANNOTATION]
    assert f"embedded-status is {mode}, but this server does not keep status.taskRuns" in said
    assert told == [("EmbeddedStatusPruned", said)]
    assert said in caplog.text
    world.end("a")
    world.step()
    world.end("b")
    world.step()
    assert world.told[:2] == ("True", "Succeeded")
    assert [one["name"] for one in world.status["childReferences"]] == ["p-a", "p-b"]
    assert len(told) == 1


def test_copies_that_do_not_fit_are_left_out_and_end_the_run_by_name():
    world = World(*(a_task(name, results=("r",)) for name in "abc"), flags=flags("full"))
    world.step()
    world.end("a", r="x" * 800_000)
    world.end("b", r="x" * 900_000)
    world.step()
    assert object_size(world.run) < OBJECT_BYTES
    assert world.told[0] == "Unknown"  # what is copied is no reason to stop what still runs
    assert "status" not in world.status["taskRuns"]["p-b"]
    assert world.status["taskRuns"]["p-a"]["status"]["results"]
    world.end("c", r="small")
    world.step()
    status, reason, message = world.told
    assert (status, reason) == ("False", "PipelineRunTooLarge")
    assert message.startswith("Tasks Completed: 3 (Failed: 0, Cancelled 0), Skipped: 0; ")
    assert 'left out of status.taskRuns: "p-b" (90' in message
    assert "over the limit of 1556480 bytes" in message
    assert "embedded-status: minimal" in message
    assert world.status["taskRuns"]["p-c"]["status"]["results"][0]["value"] == "small"
    assert object_size(world.run) < OBJECT_BYTES


def test_a_runs_own_results_go_before_copies():
    results = [{"name": "own", "value": "$(tasks.a.results.r)"}]
    world = World(a_task("a", results=("r",)), flags=flags("both"), results=results)
    world.step()
    world.end("a", r="x" * 900_000)
    world.step()
    assert world.told[1] == "PipelineRunTooLarge"
    assert len(world.status["results"][0]["value"]) == 900_000
    assert "status" not in world.status["taskRuns"]["p-a"]


class Narrow(Counting):
    """A server that finds copies too large that were thought to fit."""

    def patch(self, kind, namespace, name, patch, *, subresource=""):
        copies = (patch.get("status", {}).get("taskRuns") or {}).values()
        if kind == PIPELINERUNS and any(one and one.get("status") for one in copies):
            raise ObjectTooLargeError("etcdserver: request is too large")
        return super().patch(kind, namespace, name, patch, subresource=subresource)


def test_copies_that_the_server_finds_too_large_never_loop():
    narrow, world = Narrow(), World(a_task("a"), flags=flags("full"))
    narrow.create(PIPELINERUNS, {**world.run, "metadata": {"name": "p", "namespace": "default"}})
    world.store = narrow
    world.start()
    world.step()
    world.end("a")
    world.step()
    assert world.told[:2] == ("False", "PipelineRunTooLarge")
    assert "request is too large" in world.told[2]
    assert '"p-a"' in world.told[2]
