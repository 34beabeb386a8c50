"""``embedded-status``: references, copies or both; servers that keep no copies; copies that do not fit."""

import pytest
from pipelinerun_harness import PipelineRunHarness, RecordingStore, pipeline_task

from resultsfw.errors import ObjectTooLargeError
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.pipelinerun.child_statuses import PRUNED_ANNOTATION
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler

WHEN = [{"input": "x", "operator": "in", "values": ["x"]}]


def played(mode, **spec):
    harness = PipelineRunHarness(
        pipeline_task("a", results=("r",)), pipeline_task("b", runAfter=["a"], when=WHEN), flags=mode, **spec
    )
    harness.reconcile()
    harness.finish_task("a", r="1")
    harness.reconcile()
    harness.finish_task("b")
    harness.reconcile()
    return harness


def flags(mode):
    return {"embedded-status": mode}


@pytest.mark.parametrize("mode", ["minimal", "full", "both"])
def test_a_status_holds_what_its_mode_says(mode):
    harness = played(flags(mode))
    assert harness.condition[:2] == ("True", "Succeeded")
    status = harness.status
    if mode == "minimal":
        assert "taskRuns" not in status
    else:
        assert status["taskRuns"] == {
            "p-a": {"pipelineTaskName": "a", "status": harness.taskrun("a")["status"]},
            "p-b": {
                "pipelineTaskName": "b",
                "status": harness.taskrun("b")["status"],
                "whenExpressions": WHEN,
            },
        }
    if mode == "full":
        assert "childReferences" not in status
    else:
        assert [one["name"] for one in status["childReferences"]] == ["p-a", "p-b"]


def test_a_copy_loses_what_its_taskrun_loses():
    harness = PipelineRunHarness(pipeline_task("a"), flags=flags("full"))
    harness.reconcile()
    patch = {"status": {"podName": "first", "steps": [{"name": "s"}], "provenance": {"x": {"y": "z"}}}}
    Store.patch(harness.store, TASKRUNS, "default", "p-a", patch, subresource="status")
    harness.reconcile()
    assert harness.status["taskRuns"]["p-a"]["status"]["podName"] == "first"
    patch = {"status": {"podName": "second", "steps": None, "provenance": {"x": {"y": None, "v": "w"}}}}
    Store.patch(harness.store, TASKRUNS, "default", "p-a", patch, subresource="status")
    harness.reconcile()
    assert harness.status["taskRuns"]["p-a"]["status"] == harness.taskrun("a")["status"]


def test_a_change_of_the_flag_applies_to_a_run_that_goes_on():
    harness = PipelineRunHarness(pipeline_task("a"), pipeline_task("b", runAfter=["a"]), flags=flags("full"))
    harness.reconcile()
    harness.core = PipelineRunHarness(flags=flags("minimal")).core
    harness.restart_controller()
    harness.reconcile()
    assert "taskRuns" not in harness.status
    assert [one["name"] for one in harness.status["childReferences"]] == ["p-a"]


def test_nothing_is_written_where_nothing_changed():
    harness = PipelineRunHarness(pipeline_task("a"), flags=flags("both"))
    harness.reconcile()
    harness.reconcile()
    before = len(harness.store.calls)
    harness.reconcile()
    assert ("patch", "PipelineRun") not in harness.store.calls[before:]


class Pruning(RecordingStore):
    """A server whose CRD does not know ``status.taskRuns``."""

    def patch(self, kind, namespace, name, patch, *, subresource=""):
        if kind == PIPELINERUNS and "taskRuns" in patch.get("status", {}):
            status = {key: value for key, value in patch["status"].items() if key != "taskRuns"}
            patch = {**patch, "status": status}
        return super().patch(kind, namespace, name, patch, subresource=subresource)


@pytest.mark.parametrize("mode", ["full", "both"])
def test_a_status_whose_copies_the_server_drops_has_references_and_says_so(mode, caplog):
    warnings = []
    pruning, harness = (
        Pruning(),
        PipelineRunHarness(pipeline_task("a"), pipeline_task("b", runAfter=["a"]), flags=flags(mode)),
    )
    pruning.create(PIPELINERUNS, {**harness.pipelinerun, "metadata": {"name": "p", "namespace": "default"}})
    harness.store = pruning
    harness.reconciler = PipelineReconciler(
        harness.core, pruning, clock=lambda: harness.now, warn=lambda *warning: warnings.append(warning[1:])
    )
    harness.reconcile()
    assert [one["name"] for one in harness.status["childReferences"]] == ["p-a"]
    said = harness.status["annotations"][PRUNED_ANNOTATION]
    assert f"embedded-status is {mode}, but this server does not keep status.taskRuns" in said
    assert warnings == [("EmbeddedStatusPruned", said)]
    assert said in caplog.text
    harness.finish_task("a")
    harness.reconcile()
    harness.finish_task("b")
    harness.reconcile()
    assert harness.condition[:2] == ("True", "Succeeded")
    assert [one["name"] for one in harness.status["childReferences"]] == ["p-a", "p-b"]
    assert len(warnings) == 1


def test_copies_that_do_not_fit_are_left_out_and_fail_the_run_by_name():
    harness = PipelineRunHarness(
        *(pipeline_task(name, results=("r",)) for name in "abc"), flags=flags("full")
    )
    harness.reconcile()
    harness.finish_task("a", r="x" * 800_000)
    harness.finish_task("b", r="x" * 900_000)
    harness.reconcile()
    assert object_size(harness.pipelinerun) < OBJECT_BYTES
    assert harness.condition[0] == "Unknown"  # what is copied is no reason to stop what still runs
    assert "status" not in harness.status["taskRuns"]["p-b"]
    assert harness.status["taskRuns"]["p-a"]["status"]["results"]
    harness.finish_task("c", r="small")
    harness.reconcile()
    status, reason, message = harness.condition
    assert (status, reason) == ("False", "PipelineRunTooLarge")
    assert message.startswith("Tasks Completed: 3 (Failed: 0, Cancelled 0), Skipped: 0; ")
    assert 'left out of status.taskRuns: "p-b" (90' in message
    assert "over the limit of 1556480 bytes" in message
    assert "embedded-status: minimal" in message
    assert harness.status["taskRuns"]["p-c"]["status"]["results"][0]["value"] == "small"
    assert object_size(harness.pipelinerun) < OBJECT_BYTES


def test_a_runs_own_results_are_kept_before_copies():
    results = [{"name": "own", "value": "$(tasks.a.results.r)"}]
    harness = PipelineRunHarness(pipeline_task("a", results=("r",)), flags=flags("both"), results=results)
    harness.reconcile()
    harness.finish_task("a", r="x" * 900_000)
    harness.reconcile()
    assert harness.condition[1] == "PipelineRunTooLarge"
    assert len(harness.status["results"][0]["value"]) == 900_000
    assert "status" not in harness.status["taskRuns"]["p-a"]


class Narrow(RecordingStore):
    """A server that finds copies too large that were thought to fit."""

    def patch(self, kind, namespace, name, patch, *, subresource=""):
        copies = (patch.get("status", {}).get("taskRuns") or {}).values()
        if kind == PIPELINERUNS and any(one and one.get("status") for one in copies):
            raise ObjectTooLargeError("etcdserver: request is too large")
        return super().patch(kind, namespace, name, patch, subresource=subresource)


def test_copies_that_the_server_finds_too_large_are_dropped_and_not_retried():
    narrow, harness = Narrow(), PipelineRunHarness(pipeline_task("a"), flags=flags("full"))
    narrow.create(PIPELINERUNS, {**harness.pipelinerun, "metadata": {"name": "p", "namespace": "default"}})
    harness.store = narrow
    harness.restart_controller()
    harness.reconcile()
    harness.finish_task("a")
    harness.reconcile()
    assert harness.condition[:2] == ("False", "PipelineRunTooLarge")
    assert "request is too large" in harness.condition[2]
    assert '"p-a"' in harness.condition[2]
