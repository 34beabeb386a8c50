"""Pods that their node, the scheduler or a person takes away."""

from typing import Any

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import PODS
from resultsfw.errors import UnavailableError
from resultsfw.tekton.api.conditions import is_done


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness({"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: plain"})


def _runs(harness: TaskRunHarness, **spec: Any) -> None:
    harness.submit(**spec)
    harness.reconcile()
    states = {"step-build": harness.running(), "step-push": harness.running(), SIDECAR: harness.running()}
    harness.kubelet("Running", states)
    harness.reconcile()


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Evicted", "low on memory"),
        ("Terminated", "the node was shut down: low on memory"),
        ("NodeShutdown", "the node was shut down: low on memory"),
        ("Preempting", "the kubelet made room for a critical pod: low on memory"),
    ],
)
def test_a_pod_that_its_node_ended_is_evicted_and_no_step_is_blamed(harness, reason, words):
    _runs(harness)
    harness.sidecar_prints("saved")
    states = {"step-build": harness.ended(143), SIDECAR: harness.ended()}
    harness.kubelet("Failed", states, reason=reason, message="low on memory")
    harness.reconcile()
    assert harness.condition["reason"] == "PodEvicted"
    assert harness.condition["message"] == words
    assert harness.taskrun["status"]["results"][0]["value"] == "saved"


def test_a_pod_that_is_only_marked_for_a_disruption_keeps_running(harness):
    """The eviction API marks a pod before it deletes it."""
    _runs(harness)
    marked = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
    states = {"step-build": harness.running(), SIDECAR: harness.running()}
    harness.kubelet("Running", states, conditions=marked)
    harness.sidecar_prints("d")
    harness.reconcile()
    assert not is_done(harness.taskrun)


def test_a_pod_that_its_node_refused_ends_the_run_with_the_kubelets_words(harness):
    harness.submit()
    harness.reconcile()
    why = "Node didn't have enough resource: cpu"
    harness.kubelet("Failed", {}, reason="OutOfcpu", message=f"Pod was rejected: {why}")
    harness.reconcile()
    assert harness.condition["reason"] == "Failed"
    assert harness.condition["message"] == f"Pod was rejected: {why}"


def test_the_condition_names_who_deleted_a_pod(harness):
    """Node gone, preempted by the scheduler, evicted through the API: the condition names it."""
    _runs(harness)
    who = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
    harness.cluster.delete(PODS, "default", "run-pod", grace_seconds=30)
    harness.clock.forward(60)  # the store stamps by the real clock, which may have gone on
    harness.sidecar_prints("saved")
    states = {"step-build": harness.ended(143), SIDECAR: harness.ended()}
    harness.kubelet("Failed", states, conditions=[who | {"message": "NoExecute taint"}])
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunPodDeleted"
    assert "(DeletionByTaintManager: NoExecute taint)" in harness.condition["message"]


def test_a_deleted_pods_log_is_read_as_soon_as_it_is_whole(harness):
    """Its containers may still run: the log goes with the pod."""
    _runs(harness)
    harness.cluster.delete(PODS, "default", "run-pod", grace_seconds=30)
    harness.sidecar_prints("saved", end=False)
    harness.clock.forward(10)
    assert harness.reconcile() == pytest.approx(0.2)
    assert not is_done(harness.taskrun)
    harness.sidecar_prints("saved")
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunPodDeleted"
    assert harness.taskrun["status"]["results"][0]["value"] == "saved"


def test_a_deleted_pod_that_never_goes_is_not_waited_for_for_ever(harness):
    """Never a hang: a node that is gone confirms nothing."""
    _runs(harness)
    harness.cluster.delete(PODS, "default", "run-pod", grace_seconds=30)
    harness.cluster.logs[SIDECAR] = UnavailableError("no route to host")
    harness.reconcile()
    assert not is_done(harness.taskrun)
    harness.clock.forward(30 + 31 + 60)  # the store stamps by the real clock, which may have gone on
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunPodDeleted"
