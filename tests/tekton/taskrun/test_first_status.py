"""A run has its first status, and with it its clock, before anything else can fail."""

from typing import Any

import pytest
from requests_harness import fail_requests
from taskrun_harness import TaskRunHarness

from resultsfw import PODS, Object
from resultsfw.errors import ClusterError, ConflictError, ForbiddenError, InputError
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS, TASKS
from resultsfw.tekton.taskrun import pod_creation

CLAIM = {
    "name": "w",
    "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}},
}
STEP = {"image": "i", "script": "true"}

CALLS = [
    pytest.param("get", "Task", "TaskRunResolutionFailed", id="the Task is read"),
    pytest.param("patch", "TaskRun", "PodCreationFailed", id="the run is stamped"),
    pytest.param("create", "PersistentVolumeClaim", "CouldntCreateWorkspacePVC", id="a claim is made"),
    pytest.param("create", "ConfigMap", "PodCreationFailed", id="a backend makes its object"),
    pytest.param("create", "Pod", "PodCreationFailed", id="the pod is made"),
]
"""Every request before a run has a pod, and the reason where the server will never accept it."""


def _harness(reference: Object | None = None) -> TaskRunHarness:
    harness = TaskRunHarness({"results-from": "config-map"})
    spec = {"results": [{"name": "digest"}], "steps": [STEP], "workspaces": [{"name": "w"}]}
    task = {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": "t", "namespace": "default"}}
    Store.create(harness.cluster, TASKS, {**task, "spec": spec})
    harness.submit(taskSpec=None, taskRef=reference or {"name": "t"}, workspaces=[CLAIM], timeout="90s")
    return harness


def test_the_first_request_after_reading_the_run_writes_its_start():
    harness = _harness()
    harness.reconcile()
    assert harness.cluster.calls[:2] == [("get", "TaskRun"), ("patch", "TaskRun/status")]


@pytest.mark.parametrize(("verb", "kind", "reason"), CALLS)
def test_what_may_come_right_waits_with_its_cause_and_then_the_run_goes_on(verb, kind, reason):
    del reason
    harness = _harness()
    began = harness.at()
    mend = fail_requests(harness.cluster, verb, kind, ForbiddenError("exceeded quota: small"))
    for _ in range(3):
        with pytest.raises(ForbiddenError):
            harness.reconcile()
        harness.clock.forward(1)
    assert harness.taskrun["status"]["startTime"] == began
    assert (harness.condition["status"], harness.condition["reason"]) == ("Unknown", "Pending")
    assert "exceeded quota: small" in harness.condition["message"]
    mend()
    harness.reconcile()
    assert harness.taskrun["status"]["podName"] == "run-pod"
    assert harness.taskrun["status"]["startTime"] == began


@pytest.mark.parametrize(("verb", "kind", "reason"), CALLS)
@pytest.mark.parametrize(
    ("end", "ended"), [("time", "TaskRunTimeout"), ("cancel", "TaskRunCancelled")], ids=["time", "cancel"]
)
def test_what_does_not_come_right_ends_the_run_which_names_what_it_waited_for(verb, kind, reason, end, ended):
    del reason
    harness = _harness()
    fail_requests(harness.cluster, verb, kind, ForbiddenError("exceeded quota: small"))
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    if end == "time":
        harness.clock.forward(91)
    else:
        Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    assert harness.reconcile() is None
    assert harness.condition["reason"] == ended
    assert "Previous status: [Pending]" in harness.condition["message"]
    assert "exceeded quota: small" in harness.condition["message"]
    assert harness.cluster.list(PODS) == []


@pytest.mark.parametrize(("verb", "kind", "reason"), CALLS)
def test_what_a_server_never_accepts_ends_the_run_by_name(verb, kind, reason):
    harness = _harness()
    fail_requests(harness.cluster, verb, kind, ClusterError(f"{kind} is invalid: spec: Required value"))
    assert harness.reconcile() is None
    assert (harness.condition["status"], harness.condition["reason"]) == ("False", reason)
    assert "Required value" in harness.condition["message"]
    assert harness.taskrun["status"]["startTime"]
    assert harness.taskrun["status"]["completionTime"]


def test_pods_that_may_not_be_read_are_a_cause_until_the_timeout():
    harness = _harness()
    stamped = {"annotations": {"resultsfw.dev/stamp": "config-map/1"}}
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"metadata": stamped})
    fail_requests(harness.cluster, "get", "Pod", ForbiddenError("may not get pods"))
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    assert "may not get pods" in harness.condition["message"]
    harness.clock.forward(91)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunTimeout"
    assert "may not get pods" in harness.condition["message"]


@pytest.mark.parametrize(("verb", "kind", "reason"), CALLS)
def test_a_run_that_waits_asks_to_be_looked_at_when_its_time_is_over(verb, kind, reason):
    """Pauses between tries grow to a minute: its timeout was late by as much."""
    del reason
    harness = _harness()
    fail_requests(harness.cluster, verb, kind, ForbiddenError("exceeded quota: small"))
    with pytest.raises(ForbiddenError) as caught:
        harness.reconcile()
    assert caught.value.retry_within == pytest.approx(91, abs=1)


def test_a_conflict_is_no_cause_to_name():
    harness = _harness()
    fail_requests(harness.cluster, "patch", "TaskRun", ConflictError("somebody else wrote"))
    with pytest.raises(ConflictError):
        harness.reconcile()
    assert harness.condition["message"] == "Pending"


def test_a_fault_of_the_program_ends_with_the_timeout(monkeypatch):
    """Whatever raises before there is a pod, and however often: the time is asked first."""

    def broken(*_arguments: Any, **_more: Any) -> Object:
        raise ZeroDivisionError

    monkeypatch.setattr(pod_creation, "build_pod_and_maps", broken)
    harness = _harness()
    with pytest.raises(ZeroDivisionError):
        harness.reconcile()
    harness.clock.forward(91)
    assert harness.reconcile() is None
    assert harness.condition["reason"] == "TaskRunTimeout"


def test_a_pod_that_cannot_hand_out_results_ends_the_run(monkeypatch):
    harness = _harness()

    def refuses(*_arguments: Any, **_more: Any) -> Object:
        raise InputError("a container has the name of the sidecar")

    monkeypatch.setattr(harness.reconciler.core, "prepare_pod", refuses)
    assert harness.reconcile() is None
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert "the name of the sidecar" in harness.condition["message"]


def test_cancelled_with_a_pod_made_just_before_a_crash_that_pod_is_ended():
    harness = _harness()
    harness.reconcile()
    lost = {"podName": "", "taskSpec": None}
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"status": lost}, subresource="status")
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunCancelled"
    assert harness.cluster.list(PODS) == []


def test_a_cancelled_run_whose_task_is_not_there_is_cancelled():
    harness = TaskRunHarness()
    harness.submit(taskSpec=None, taskRef={"name": "none"}, status="TaskRunCancelled")
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunCancelled"


def test_the_verdict_does_not_depend_on_reading_the_task_once_more():
    harness = _harness()
    harness.reconcile()
    retried = {"podName": "", "startTime": None}
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"status": retried}, subresource="status")
    Store.delete(harness.cluster, TASKS, "default", "t")
    Store.delete(harness.cluster, PODS, "default", "run-pod")
    fail_requests(harness.cluster, "create", "Pod", ClusterError("Pod is invalid"))
    harness.reconcile()
    assert harness.condition["reason"] == "PodCreationFailed"


@pytest.mark.parametrize("kind", ["TaskRun", "Task"])
@pytest.mark.parametrize(("length", "fits"), [(63, True), (64, False), (253, False)])
def test_a_name_longer_than_a_label_ends_the_run_by_name(kind, length, fits):
    """Tekton's webhook refuses it; without one, a pod with that label would be refused for ever."""
    harness, long = TaskRunHarness(), "n" * length
    spec = {"steps": [STEP]}
    task = {"apiVersion": "tekton.dev/v1", "kind": "Task", "metadata": {"name": long, "namespace": "default"}}
    Store.create(harness.cluster, TASKS, {**task, "spec": spec})
    name = long if kind == "TaskRun" else "run"
    given = {"taskRef": {"name": long}} if kind == "Task" else {"taskSpec": spec}
    metadata = {"name": name, "namespace": "default"}
    run = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": metadata, "spec": given}
    Store.create(harness.cluster, TASKRUNS, run)
    harness.reconciler.reconcile("default", name)
    status = Store.get(harness.cluster, TASKRUNS, "default", name)["status"]
    if fits:
        assert status["podName"]
    else:
        assert status["conditions"][0]["reason"] == "TaskRunValidationFailed"
        assert "at most 63" in status["conditions"][0]["message"]
        assert status["startTime"]


# What a pod waits for.

UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
WAITS: list[Any] = [
    pytest.param(
        {"conditions": [{"type": "PodScheduled", "status": "False", "message": UNBOUND}]},
        UNBOUND,
        id="volume",
    ),
    pytest.param(
        {"states": {"waiting": {"reason": "ErrImagePull", "message": "no such image: i"}}},
        "no such image: i",
        id="image",
    ),
]


@pytest.mark.parametrize(("pod", "cause"), WAITS)
@pytest.mark.parametrize("seen_before", [True, False], ids=["seen before", "seen with its end"])
@pytest.mark.parametrize("end", ["TaskRunTimeout", "TaskRunCancelled"])
def test_what_a_pod_waited_for_is_named_when_its_run_is_ended(pod, cause, seen_before, end):
    harness = TaskRunHarness()
    harness.submit(timeout="90s")
    harness.reconcile()
    given = dict(pod)
    states = {"step-build": given.pop("states")} if "states" in given else {}
    harness.kubelet("Pending", states, **given)
    if seen_before:
        harness.reconcile()
    if end == "TaskRunTimeout":
        harness.clock.forward(91)
    else:
        Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": end}})
    while not is_done(harness.taskrun):
        harness.reconcile()
        harness.clock.forward(61)
    assert harness.condition["reason"] == end
    assert cause in harness.condition["message"].partition("\nPrevious status: [")[2]


def test_a_run_whose_steps_ran_waited_for_nothing():
    harness = TaskRunHarness()
    harness.submit()
    harness.reconcile()
    harness.kubelet("Running", {"step-build": harness.running()})
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    harness.reconcile()
    harness.clock.forward(120)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunCancelled"
    assert "Previous status" not in harness.condition["message"]


# Held back.


def test_a_run_that_is_pending_waits_without_a_clock_until_it_is_let_go():
    harness = TaskRunHarness()
    harness.submit(status="TaskRunPending", timeout="10s")
    assert harness.reconcile() is None
    assert harness.condition["reason"] == "TaskRunPending"
    assert harness.condition["message"] == 'TaskRun "run" is pending'
    assert "startTime" not in harness.taskrun["status"]
    harness.clock.forward(3600)
    assert harness.reconcile() is None
    assert harness.cluster.list(PODS) == []
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": None}})
    harness.reconcile()
    assert harness.taskrun["status"]["startTime"] == harness.at()
    assert harness.taskrun["status"]["podName"] == "run-pod"


def test_a_pending_run_is_not_read_before_it_is_let_go():
    harness = TaskRunHarness()
    harness.submit(taskSpec=None, taskRef={"name": "not there yet"}, status="TaskRunPending")
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunPending"


def test_a_pending_run_that_is_cancelled_ends_without_a_pod():
    harness = TaskRunHarness()
    harness.submit(status="TaskRunPending")
    harness.reconcile()
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunCancelled"
    assert "Previous status" not in harness.condition["message"]
    assert harness.cluster.list(PODS) == []


def test_a_run_that_has_begun_cannot_be_held_back():
    harness = TaskRunHarness()
    harness.submit(timeout="10s")
    harness.reconcile()
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunPending"}})
    harness.finish("d")
    harness.reconcile()
    assert harness.condition["status"] == "True"


# Time.


@pytest.mark.parametrize(
    ("fraction", "after", "over"), [(0.9, 89.9, False), (0.9, 91.0, True), (0.0, 91, True)]
)
def test_a_timeout_is_not_early_though_the_start_is_stored_in_whole_seconds(fraction, after, over):
    harness = TaskRunHarness()
    harness.submit(timeout="90s")
    harness.clock.forward(fraction)
    harness.reconcile()
    harness.kubelet("Running", {"step-build": harness.running()})
    harness.clock.forward(after)
    harness.reconcile()
    assert ("resultsfw.dev/stopped" in harness.pod()["metadata"]["annotations"]) is over


# Custom tasks.


@pytest.mark.parametrize(
    ("reference", "runs"),
    [
        ({"name": "t"}, True),
        ({"name": "t", "kind": "Task"}, True),
        ({"name": "t", "kind": "Task", "apiVersion": "tekton.dev/v1"}, True),
        ({"name": "t", "kind": "Task", "apiVersion": "tekton.dev/v1beta1"}, True),
        ({"name": "t", "kind": "ClusterTask"}, False),
        ({"name": "t", "kind": "Example"}, False),
        ({"name": "t", "kind": "Example", "apiVersion": "example.dev/v1"}, False),
        ({"name": "t", "kind": "Task", "apiVersion": "example.dev/v1"}, False),
        ({"name": "t", "apiVersion": "example.dev/v1"}, False),
        ({"name": "t", "kind": "Example", "apiVersion": "tekton.dev/v1"}, False),
    ],
)
def test_only_a_task_of_tekton_runs_by_its_name(reference, runs):
    harness = _harness(reference)
    harness.reconcile()
    if runs:
        assert harness.taskrun["status"]["podName"] == "run-pod"
    else:
        assert harness.condition["reason"] == "TaskRunValidationFailed"
        assert "not supported here" in harness.condition["message"]
        assert harness.cluster.list(PODS) == []


@pytest.mark.parametrize("timeout", [[], True, {"a": 1}, 5, "nonsense", "1" * 300 + "h"])
def test_a_timeout_that_cannot_be_read_ends_the_run_by_name_and_raises_nothing(timeout):
    harness = TaskRunHarness()
    metadata = {"name": "run", "namespace": "default"}
    spec = {"taskSpec": {"steps": [STEP]}, "timeout": timeout}
    run = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": metadata, "spec": spec}
    Store.create(harness.cluster, TASKRUNS, run)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert "timeout" in harness.condition["message"]
