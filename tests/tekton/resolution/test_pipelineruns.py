"""PipelineRuns whose Pipeline or Tasks come from resolvers ask and end as under Tekton's controller."""

from datetime import UTC, datetime, timedelta

import pytest
from captured_resolution import as_created, asked, capture, objects
from pipelinerun_harness import RecordingStore

from resultsfw import ResultsManager
from resultsfw.local.engine import kind_of
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import condition, is_done, succeeded
from resultsfw.tekton.api.kinds import PIPELINERUNS, RESOLUTION_REQUESTS, TASKRUNS
from resultsfw.tekton.pipelinerun import referred_tasks
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler

FAILED = [
    "p-missing",
    "p-nested-missing",
    "p-task-missing",
    "p-task-noresolver",
    "p-task-from-result",
    "p-unknown",
]


class Resolving:
    """One captured PipelineRun, in a cluster where Tekton's resolvers answer when a test says so."""

    def __init__(self, name):
        captured = capture(name)
        self.run, self.children = captured["run"], captured["children"]
        self.answers = {request["metadata"]["name"]: request for request in captured["requests"]}
        self.cluster = RecordingStore()
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.name = name
        for thing in objects():
            self.cluster.create(kind_of(thing), thing)
        self.cluster.create(PIPELINERUNS, as_created(self.run))
        core = ResultsManager.from_flags({"results-from": "termination-message"})
        self.reconciler = PipelineReconciler(core, self.cluster, clock=lambda: self.now)

    def reconcile(self, seconds=1):
        self.now += timedelta(seconds=seconds)
        return self.reconciler.reconcile("resolving", self.name)

    @property
    def pipelinerun(self):
        return Store.get(self.cluster, PIPELINERUNS, "resolving", self.name)

    def requests(self):
        return Store.list(self.cluster, RESOLUTION_REQUESTS)

    def taskruns(self):
        return Store.list(self.cluster, TASKRUNS)

    def answer(self):
        """Answer as Tekton's resolvers did; Tekton asked for one Task after the other, up to a failure."""
        for name in {request["metadata"]["name"] for request in self.requests()} & set(self.answers):
            status = {"status": self.answers[name]["status"]}
            Store.patch(self.cluster, RESOLUTION_REQUESTS, "resolving", name, status, subresource="status")

    def finish(self, taskrun, **results):
        values = [{"name": name, "type": "string", "value": value} for name, value in results.items()]
        status = {"conditions": [condition("True", "Succeeded", "m", self.now)], "results": values}
        key = (TASKRUNS, "resolving", taskrun)
        Store.patch(self.cluster, *key, {"status": status}, subresource="status")

    def drive(self):
        """Reconcile, answer and end TaskRuns by turns until the run has ended."""
        for _ in range(10):
            self.reconcile()
            if is_done(self.pipelinerun):
                return
            self.answer()
            for taskrun in self.taskruns():
                if not is_done(taskrun):
                    (who,) = taskrun["spec"]["params"]
                    self.finish(taskrun["metadata"]["name"], text=f"hello {who['value']}")
        raise AssertionError("no end")


def verdict(run):
    known = succeeded(run)
    return known["status"], known["reason"], known["message"]


@pytest.mark.parametrize("name", ["p-cluster", "p-http"])
def test_pipeline_and_tasks_are_resolved_as_by_tekton(name):
    run = Resolving(name)
    run.drive()
    status, tekton = run.pipelinerun["status"], run.run["status"]
    assert verdict(run.pipelinerun) == verdict(run.run)
    assert status["results"] == tekton["results"]
    assert status["provenance"]["refSource"] == tekton["provenance"]["refSource"]
    # Tekton's TaskRuns share the requests that its PipelineRun made for them.
    assert sorted(map(asked, run.requests()), key=str) == sorted(map(asked, run.answers.values()), key=str)
    ours = {taskrun["metadata"]["name"]: taskrun for taskrun in run.taskruns()}
    for child in run.children:
        taskrun = ours[child["metadata"]["name"]]
        assert taskrun["spec"]["taskRef"] == child["spec"]["taskRef"]
        assert taskrun["spec"]["params"] == child["spec"]["params"]
        assert (
            taskrun["metadata"]["labels"]["tekton.dev/pipeline"]
            == (child["metadata"]["labels"]["tekton.dev/pipeline"])
        )


@pytest.mark.parametrize("name", FAILED)
def test_a_failure_ends_the_run_as_tekton_ends_it(name):
    run = Resolving(name)
    run.drive()
    ours, theirs = verdict(run.pipelinerun), verdict(run.run)
    if name == "p-unknown":  # the same field, in other words
        ours, theirs = ours[:2], theirs[:2]
    assert ours == theirs
    assert run.taskruns() == []


def test_tasks_that_are_too_large_together_are_refused(monkeypatch):
    monkeypatch.setattr(referred_tasks, "MAX_BYTES", 100)
    run = Resolving("p-cluster")
    run.drive()
    assert verdict(run.pipelinerun)[:2] == ("False", "PipelineValidationFailed")
    assert "over the limit of 100" in verdict(run.pipelinerun)[2]


def test_a_run_waits_for_its_pipeline_and_then_for_its_tasks():
    run = Resolving("p-cluster")
    assert run.reconcile() == 15
    message = "PipelineRun resolving/p-cluster awaiting remote resource"
    assert verdict(run.pipelinerun) == ("Unknown", "ResolvingPipelineRef", message)
    assert len(run.requests()) == 1
    run.answer()
    assert run.reconcile() == 15
    assert verdict(run.pipelinerun) == ("Unknown", "ResolvingTaskRef", message)
    assert len(run.requests()) == 3
    created = run.cluster.calls.count(("create", "ResolutionRequest"))
    run.reconcile()
    assert run.cluster.calls.count(("create", "ResolutionRequest")) == created
    assert run.taskruns() == []


def test_a_run_that_waits_is_cancelled():
    run = Resolving("p-cluster")
    run.reconcile()
    key = (PIPELINERUNS, "resolving", run.name)
    Store.patch(run.cluster, *key, {"spec": {"status": "Cancelled"}})
    run.reconcile()
    assert verdict(run.pipelinerun)[:2] == ("False", "Cancelled")


def test_an_answer_that_nobody_times_out_is_given_up():
    run = Resolving("p-task-noresolver")
    run.reconcile()
    run.reconcile(91)
    assert verdict(run.pipelinerun) == verdict(run.run)


def test_a_value_in_the_params_of_a_resolver_stays_a_value():
    """The TaskRun replaces variables there: a value with one in it must not be read again."""
    run = Resolving("p-cluster")
    patch = {"spec": {"params": [{"name": "who", "value": "me"}, {"name": "task", "value": "$(params.who)"}]}}
    Store.patch(run.cluster, PIPELINERUNS, "resolving", run.name, patch)
    run.reconcile()
    run.answer()
    run.reconcile()
    asked_for = {param["value"] for request in run.requests() for param in request["spec"]["params"]}
    assert "$(params.who)" in asked_for
