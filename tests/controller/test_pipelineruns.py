"""What enqueues PipelineRuns, what is cached of their TaskRuns, and a PipelineRun in the whole process."""

import pytest
from controllerharness import taskrun
from pipelinerun_harness import PipelineRunHarness
from pipelinerun_harness import pipeline_task as simple_task
from taskrunharness import OwnWrites

from resultsfw.cluster import EVENTS
from resultsfw.controller.cache_transforms import TaskRunTransform, trim_pipelinerun, trim_taskrun
from resultsfw.controller.ownership import RunSelector
from resultsfw.controller.pipelineruns import (
    KEPT_BYTES,
    ChildEvents,
    PipelineRunEvents,
    PipelineRunIndex,
)
from resultsfw.controller.requests import RequestQueue
from resultsfw.errors import ConflictError, NotFoundError
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler

MINE = "resultsfw.dev/controller"


def a_task(name, *of, **fields):
    results = [{"name": "digest", "type": "string"}]
    spec = {"results": results, "steps": [{"name": "build", "image": "i", "script": "true"}]}
    params = [{"name": one, "value": f"$(tasks.{one}.results.digest)"} for one in of]
    return {"name": name, "taskSpec": spec, **({"params": params} if params else {}), **fields}


@pytest.mark.slow
def test_results_pass_between_tasks_of_a_pipelinerun(harness):
    process = harness.start("--no-leader-elect")
    tasks = [a_task("a"), a_task("b", "a"), a_task("c", "a", "b")]
    results = [{"name": "first", "value": "$(tasks.a.results.digest)"}]
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "p", "namespace": "runs"},
        "spec": {"managedBy": MINE, "pipelineSpec": {"tasks": tasks, "results": results}},
    }
    harness.until(lambda: harness.server.requests["GET taskruns"])
    listed = harness.server.requests["GET taskruns"]
    harness.store.create(PIPELINERUNS, run)

    def status():
        return harness.store.get(PIPELINERUNS, "runs", "p").get("status", {})

    harness.until(lambda: "completionTime" in status())
    assert status()["conditions"][0]["reason"] == "Succeeded", status()
    assert status()["results"] == [{"name": "first", "value": "p-a-pod"}]
    params = harness.store.get(TASKRUNS, "runs", "p-c")["spec"]["params"]
    assert params == [{"name": "a", "value": "p-a-pod"}, {"name": "b", "value": "p-b-pod"}]
    assert harness.server.requests["GET taskruns"] - listed <= 1, "but for the watch, nothing is asked for"
    assert harness.server.requests["PATCH pipelineruns/status"] == 5, "the first, one for each Task, the end"
    _told_once(harness, process)


def _told_once(harness, process):
    """Each stage as an Event of its own, and the whole in the metrics."""

    def told():
        found = harness.store.list(EVENTS, "runs")
        about = [one for one in found if one["involvedObject"]["kind"] == "PipelineRun"]
        return sorted((one["reason"], one["message"]) for one in about)

    stages = [
        ("Running", f"Tasks Completed: {done} (Failed: 0, Cancelled 0), Incomplete: {3 - done}, Skipped: 0")
        for done in range(3)
    ]
    end = ("Succeeded", "Tasks Completed: 3 (Failed: 0, Cancelled 0), Skipped: 0")
    expected = sorted([("Started", ""), *stages, end])
    harness.until(lambda: len(told()) >= len(expected))
    assert told() == expected
    harness.until(lambda: "resultsfw_running_pipelineruns 0.0" in process.page("/metrics")[1])
    text = process.page("/metrics")[1]
    assert 'resultsfw_pipelinerun_total{outcome="succeeded",reason="Succeeded"} 1.0' in text
    assert 'resultsfw_pipelinerun_duration_seconds_count{outcome="succeeded"} 1.0' in text
    assert 'resultsfw_reconciles_total{kind="PipelineRun",result="done"}' in text
    assert 'resultsfw_workqueue_depth{kind="PipelineRun"} 0.0' in text


def test_a_finished_taskrun_is_cached_with_the_backends_of_its_attempts():
    """Without it, what earlier attempts left outside would stay until the run is deleted."""
    provenance = {"featureFlags": {"resultExtractionMethod": "http"}}
    done = {"type": "Succeeded", "status": "True"}
    status = {
        "conditions": [done],
        "retriesStatus": [{"provenance": provenance, "steps": [1]}, {"steps": [2]}],
    }
    kept = trim_taskrun({"metadata": {"name": "r"}, "spec": {}, "status": status})
    assert kept["status"]["retriesStatus"] == [{"provenance": provenance}, {}]


DONE = [{"type": "Succeeded", "status": "True", "reason": "Succeeded"}]
RUNNING = [{"type": "Succeeded", "status": "Unknown", "reason": "Running"}]


def a_pipelinerun(version="1", **status):
    metadata = {"name": "p", "namespace": "runs", "uid": "u", "resourceVersion": version}
    return {"metadata": metadata, "spec": {"managedBy": MINE, "params": []}, "status": status}


def a_child(name="p-a", version="1", value="x", conditions=RUNNING, **status):
    one = taskrun(name)
    one["metadata"]["resourceVersion"] = version
    one["metadata"]["ownerReferences"] = [{"kind": "PipelineRun", "name": "p"}]
    status |= {"conditions": conditions, "podName": f"{name}-pod"}
    if conditions is not RUNNING:
        status["results"] = [{"name": "digest", "type": "string", "value": value}]
    return {**one, "status": status}


class PipelineRuns:
    """The queue, index and event handlers of a controller of PipelineRuns."""

    def __init__(self):
        self.own_writes, self.released = OwnWrites(), []
        self.index, self.queue = PipelineRunIndex(RunSelector(MINE)), RequestQueue(self.own_writes)
        self.on_taskrun = ChildEvents(self.index, self.queue).on_child
        self.on_pipelinerun = PipelineRunEvents(
            self.index, self.queue, lambda *of: self.released.append(of)
        ).on_pipelinerun


@pytest.fixture
def runs():
    one = PipelineRuns()
    one.on_pipelinerun("ADDED", a_pipelinerun())
    assert taken(one)
    return one


def taken(runs):
    """Whether the run is to be looked at, now or soon; it is, then."""
    key = runs.queue.get(timeout=0 if not runs.queue.delayed else 5)
    if key is not None:
        runs.queue.done(key)
    return key == ("runs", "p")


def test_only_the_end_of_a_taskrun_enqueues_its_pipelinerun(runs):
    runs.on_taskrun("ADDED", a_child())
    runs.on_taskrun("MODIFIED", a_child(version="2", steps=[{"name": "one"}]))
    assert not taken(runs)
    runs.on_taskrun("MODIFIED", a_child(version="3", conditions=DONE))
    assert taken(runs)
    runs.on_taskrun("MODIFIED", a_child(version="4", conditions=DONE))
    assert not taken(runs)
    runs.on_taskrun("DELETED", a_child(version="5", conditions=DONE))
    assert taken(runs)


def test_the_deletion_of_a_running_taskrun_enqueues_its_pipelinerun(runs):
    runs.on_taskrun("ADDED", a_child())
    runs.on_taskrun("DELETED", a_child(version="2"))
    assert taken(runs)


def test_every_change_of_a_taskrun_enqueues_a_pipelinerun_that_copies_it(runs):
    runs.index.copies_statuses = True
    for version in ("1", "2"):
        runs.on_taskrun("MODIFIED", a_child(version=version))
        assert taken(runs)


def test_an_own_write_of_a_pipelinerun_enqueues_nothing(runs):
    runs.own_writes.versions.add("2")
    runs.on_pipelinerun("MODIFIED", a_pipelinerun("2"))
    assert not taken(runs)
    runs.on_pipelinerun("MODIFIED", a_pipelinerun("3"))
    assert taken(runs)


def test_small_results_are_cached_while_their_pipelinerun_runs(runs):
    assert not runs.index.keeps_results(a_child())
    assert runs.index.keeps_results(a_child(conditions=DONE))
    assert not runs.index.keeps_results(a_child(conditions=DONE, value="x" * KEPT_BYTES))
    assert not runs.index.keeps_results({**a_child(conditions=DONE), "metadata": {"name": "bare"}})
    runs.on_taskrun("MODIFIED", a_child(conditions=DONE))
    runs.on_pipelinerun("MODIFIED", a_pipelinerun("2", conditions=DONE))
    assert runs.released == [("runs", ["p-a"])]
    assert not runs.index.keeps_results(a_child(conditions=DONE))


def test_a_finished_taskrun_is_cached_with_what_its_pipelinerun_reads():
    whole = a_child(conditions=DONE)
    whole["spec"] |= {"status": "TaskRunCancelled", "statusMessage": "why"}
    whole["metadata"]["uid"] = "u"
    keeps = True
    transform = TaskRunTransform(RunSelector(MINE), lambda _: keeps)
    small = transform(whole)
    assert small["status"]["results"] == whole["status"]["results"]
    assert small["spec"].items() >= {"status": "TaskRunCancelled", "statusMessage": "why"}.items()
    assert transform.is_complete(small)
    keeps = False
    less = transform(small)
    assert not transform.is_complete(less)
    assert transform.is_complete(whole), "as it is read from the server"
    assert "results" not in less["status"]
    assert transform(less) == less
    assert not transform.is_complete(less)
    transform.on_taskrun("DELETED", less)
    del whole["status"]["results"]
    assert transform.is_complete(transform(whole)), "there is nothing to be asked for"


def test_a_finished_pipelinerun_is_cached_with_its_conditions_only():
    run = a_pipelinerun(conditions=DONE, pipelineSpec={"tasks": []})
    assert trim_pipelinerun(RunSelector(MINE), run)["status"] == {"conditions": DONE}
    run = a_pipelinerun(conditions=RUNNING, pipelineSpec={"tasks": []})
    assert trim_pipelinerun(RunSelector(MINE), run) == run


class Slim:
    """A cluster that holds TaskRuns that are over without their results, and says who asked for more."""

    def __init__(self, store):
        self.store = store
        self.asked = []
        self.transform = TaskRunTransform(RunSelector(""))

    def __getattr__(self, name):
        return getattr(self.store, name)

    def get(self, kind, namespace, name):
        found = Store.get(self.store, kind, namespace, name)
        return self.transform(found) if kind is TASKRUNS else found

    def is_complete(self, kind, taskrun):
        return kind is TASKRUNS and self.transform.is_complete(taskrun)

    def read(self, kind, taskrun):
        assert kind is TASKRUNS
        self.asked.append(taskrun["metadata"]["name"])
        return Store.get(self.store, TASKRUNS, "default", taskrun["metadata"]["name"])


def slim_harness(*tasks, **more):
    harness = PipelineRunHarness(*tasks, **more)
    slim = Slim(harness.store)
    harness.reconciler = PipelineReconciler(harness.core, slim, clock=lambda: harness.now, children=slim)
    return harness, slim


def test_results_that_are_not_cached_are_read_once_and_only_for_tasks_that_reference_them():
    given = [{"name": "v", "value": "$(tasks.a.results.r)"}]
    results = [{"name": "all", "value": "$(tasks.b.results.r) $(tasks.b.results.s)"}]
    harness, slim = slim_harness(
        simple_task("a", results=("r",)),
        simple_task("b", results=("r", "s")),
        simple_task("c", params=given),
        results=results,
    )
    harness.reconcile()
    harness.finish_task("b", r="1", s="2")
    harness.reconcile()
    assert slim.asked == []
    harness.finish_task("a", r="x")
    harness.reconcile()
    assert (slim.asked, harness.params_of("c")) == (["p-a"], {"v": "x"})
    harness.reconcile()
    assert slim.asked == ["p-a"]
    harness.finish_task("c")
    harness.reconcile()
    assert slim.asked == ["p-a", "p-b"]
    assert harness.status["results"] == [{"name": "all", "value": "1 2"}]
    assert harness.condition[:2] == ("True", "Succeeded")


@pytest.mark.parametrize("how", ["gone", "made anew", "begun anew"])
def test_a_reconciliation_over_a_stale_cache_writes_nothing_and_conflicts(how):
    given = [{"name": "v", "value": "$(tasks.a.results.r)"}]
    harness, slim = slim_harness(simple_task("a", results=("r",)), simple_task("b", params=given))
    harness.reconcile()
    harness.finish_task("a", r="x")
    before = harness.pipelinerun

    def changed(kind, taskrun):
        if how == "gone":
            raise NotFoundError("no such TaskRun")
        found = Slim.read(slim, kind, taskrun)
        if how == "made anew":
            return {**found, "metadata": {**found["metadata"], "uid": "other"}}
        return {**found, "status": {"conditions": RUNNING}}

    slim.read = changed
    with pytest.raises(ConflictError):
        harness.reconcile()
    assert harness.pipelinerun == before
    del slim.read
    harness.reconcile()
    assert harness.params_of("b") == {"v": "x"}


def test_a_pipelinerun_that_copies_taskruns_reads_them_completely():
    harness, slim = slim_harness(simple_task("a"), simple_task("b"), flags={"embedded-status": "full"})
    harness.reconcile()
    harness.finish_task("a")
    harness.reconcile()
    assert slim.asked == ["p-a"]
