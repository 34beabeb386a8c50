"""TaskRuns with a resolver ask as Tekton's controller asks, and end as it ends them."""

import base64
from datetime import timedelta

import pytest
from captured_resolution import as_created, asked, capture
from taskrun_harness import Clock, RecordingCluster

from resultsfw import PODS, ResultsManager
from resultsfw.errors import NotFoundError
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done, succeeded
from resultsfw.tekton.api.kinds import RESOLUTION_REQUESTS, TASKRUNS
from resultsfw.tekton.taskrun.reconciler import Reconciler

FAILED = ["t-missing", "t-noresolver-slow", "t-http-pipeline"]
STARTED = ["t-cluster", "t-http-old"]


class Resolving:
    """One captured TaskRun, in a cluster where Tekton's resolvers have not answered yet."""

    def __init__(self, name):
        captured = capture(name)
        self.run, (self.request,) = captured["run"], captured["requests"]
        self.clock = Clock()
        self.cluster = RecordingCluster(self.clock)
        self.key = (TASKRUNS, "resolving", name)
        Store.create(self.cluster, TASKRUNS, as_created(self.run))
        core = ResultsManager.from_flags({"results-from": "termination-message"})
        self.reconciler = Reconciler(core, self.cluster, clock=self.clock)

    def reconcile(self):
        return self.reconciler.reconcile(*self.key[1:])

    @property
    def taskrun(self):
        return Store.get(self.cluster, *self.key)

    def requests(self):
        return Store.list(self.cluster, RESOLUTION_REQUESTS)

    def answer(self, **status):
        """Answer as Tekton's resolvers did, or with this status."""
        key = (RESOLUTION_REQUESTS, "resolving", self.requests()[0]["metadata"]["name"])
        Store.patch(self.cluster, *key, {"status": status or self.request["status"]}, subresource="status")


def verdict(run):
    condition = succeeded(run)
    return condition["status"], condition["reason"], condition["message"]


@pytest.mark.parametrize("name", [*STARTED, *FAILED, "t-noresolver", "t-http-unknown"])
def test_a_request_is_tektons_own(name):
    run = Resolving(name)
    run.reconcile()
    (request,) = run.requests()
    assert asked(request) == asked(run.request)
    # A controlling owner would have Tekton's controller reconcile the run (decision 0006).
    (owner,) = request["metadata"]["ownerReferences"]
    assert (owner["name"], owner["uid"], owner["controller"]) == (
        name,
        run.taskrun["metadata"]["uid"],
        False,
    )


def test_a_run_waits_for_the_answer_and_asks_once():
    run = Resolving("t-cluster")
    assert run.reconcile() == 5
    message = "TaskRun resolving/t-cluster awaiting remote resource"
    assert verdict(run.taskrun) == ("Unknown", "ResolvingTaskRef", message)
    run.answer(conditions=[{"type": "Succeeded", "status": "Unknown", "message": "waiting for resolver"}])
    assert run.reconcile() == 5
    assert run.cluster.calls.count(("create", "ResolutionRequest")) == 1
    assert Store.list(run.cluster, PODS) == []


@pytest.mark.parametrize("name", STARTED)
def test_the_answer_is_run_and_its_source_recorded(name):
    run = Resolving(name)
    run.reconcile()
    run.answer()
    run.reconcile()
    status, tekton = run.taskrun["status"], run.run["status"]
    assert status["podName"] == tekton["podName"]
    assert status["taskSpec"] == tekton["taskSpec"]
    assert status["provenance"]["refSource"] == tekton["provenance"]["refSource"]
    for part in ("labels", "annotations"):
        ours, theirs = (other["metadata"].get(part, {}) for other in (run.taskrun, run.run))
        assert {key: value for key, value in ours.items() if key in theirs} == {
            key: value for key, value in theirs.items() if not key.startswith(("app.kubernetes", "pipeline."))
        }


@pytest.mark.parametrize("name", FAILED)
def test_a_failure_ends_the_run_as_tekton_ends_it(name):
    run = Resolving(name)
    run.reconcile()
    run.answer()
    run.reconcile()
    ours, theirs = verdict(run.taskrun), verdict(run.run)
    assert (ours[:2], ours[2][: len(theirs[2])]) == (theirs[:2], theirs[2])


def test_the_runs_timeout_counts_while_it_waits():
    run = Resolving("t-noresolver")
    run.reconcile()
    run.clock.forward(28)
    assert 0 < run.reconcile() < 5
    run.clock.forward(3)
    run.reconcile()
    assert verdict(run.taskrun) == verdict(run.run)


def test_an_answer_that_nobody_times_out_is_given_up():
    run = Resolving("t-noresolver-slow")
    run.reconcile()
    run.clock.forward(89)
    run.reconcile()
    assert not is_done(run.taskrun)
    run.clock.forward(1)
    run.reconcile()
    assert verdict(run.taskrun) == verdict(run.run)


def test_a_request_that_is_deleted_is_made_again_in_the_same_time():
    run = Resolving("t-cluster")
    run.reconcile()
    for _ in range(20):
        Store.delete(run.cluster, RESOLUTION_REQUESTS, "resolving", run.requests()[0]["metadata"]["name"])
        run.clock.now += timedelta(seconds=5)
        if run.reconcile() is None:
            break
    assert is_done(run.taskrun)
    assert run.cluster.calls.count(("create", "ResolutionRequest")) <= 19


def test_what_somebody_else_asked_for_is_not_the_answer():
    run = Resolving("t-cluster")
    run.reconcile()
    name = run.requests()[0]["metadata"]["name"]
    forged = {"spec": {"params": [{"name": "name", "value": "other"}]}}
    Store.patch(run.cluster, RESOLUTION_REQUESTS, "resolving", name, forged)
    run.answer()
    run.reconcile()
    assert verdict(run.taskrun)[1] == "TaskRunResolutionFailed"
    assert "has other params than expected" in verdict(run.taskrun)[2]


@pytest.mark.parametrize("name", ["t-cluster", "t-action"])
def test_what_must_be_signed_is_refused_because_nothing_is_verified(name):
    """Tekton verifies Tasks and Pipelines, and no StepActions."""
    run = Resolving(name)
    policies = [{"metadata": {"name": "warns"}, "spec": {"mode": "warn"}}]
    core = ResultsManager.from_flags({"results-from": "termination-message"})
    run.reconciler = Reconciler(
        core, run.cluster, clock=run.clock, verification_policies={"resolving": policies}.__getitem__
    )
    run.reconcile()
    policies.append({"metadata": {"name": "demands"}, "spec": {"resources": [{"pattern": "nothing"}]}})
    run.answer()
    run.reconcile()
    if name == "t-action":
        assert run.taskrun["status"]["podName"]
    else:
        assert verdict(run.taskrun)[:2] == ("False", "ResourceVerificationFailed")
        assert '"demands"' in verdict(run.taskrun)[2]


def test_a_policy_that_only_warns_keeps_nothing():
    run = Resolving("t-cluster")
    policy = {"metadata": {"name": "warns"}, "spec": {"mode": "warn"}}
    core = ResultsManager.from_flags({"results-from": "termination-message"})
    run.reconciler = Reconciler(core, run.cluster, clock=run.clock, verification_policies=lambda _: [policy])
    run.reconcile()
    run.answer()
    run.reconcile()
    assert run.taskrun["status"]["podName"]


def data(text):
    return {"data": base64.b64encode(text).decode(), "conditions": [{"type": "Succeeded", "status": "True"}]}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({**data(b""), "data": "no base64"}, "error accessing data from remote resource"),
        (data(b"\xff\xfe"), "error accessing data from remote resource"),
        (data(b"a: [" * 5000), "nested deeper"),
        (data(b"a: &a {b: *c}"), "an alias has no anchor"),
        (data(b""), "it is not a mapping"),
        (data(b"apiVersion: tekton.dev/v9\nkind: Task\nmetadata: {name: a}"), "there is no Task of version"),
        (data(b"apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: a}\nspec: {stepz: []}"), "stepz"),
    ],
)
def test_an_answer_that_is_no_task_ends_the_run(status, why):
    run = Resolving("t-http-old")
    run.reconcile()
    run.answer(**status)
    run.reconcile()
    assert verdict(run.taskrun)[:2] == ("False", "TaskRunResolutionFailed")
    assert why in verdict(run.taskrun)[2]


def test_a_cluster_without_resolution_requests_ends_the_run(monkeypatch):
    run = Resolving("t-cluster")
    create = run.cluster.create

    def serves_none(kind, obj):
        if kind == RESOLUTION_REQUESTS:
            raise NotFoundError("the server could not find the requested resource")
        return create(kind, obj)

    monkeypatch.setattr(run.cluster, "create", serves_none)
    run.reconcile()
    assert verdict(run.taskrun)[:2] == ("False", "TaskRunResolutionFailed")
    assert "install Tekton's resolvers" in verdict(run.taskrun)[2]
