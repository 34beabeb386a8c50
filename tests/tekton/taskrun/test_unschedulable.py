"""Pods for which the scheduler finds no node."""

from datetime import UTC, datetime
from typing import Any

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import PODS, Object
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.podstatus.startup_failures import unscheduled, unscheduled_too_long


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness({"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: plain"})


def _waits(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


def _runs(harness: TaskRunHarness, **spec: Any) -> None:
    harness.submit(**spec)
    harness.reconcile()
    states = {"step-build": harness.running(), "step-push": harness.running(), SIDECAR: harness.running()}
    harness.kubelet("Running", states)
    harness.reconcile()


def _find_no_node(harness: TaskRunHarness, reason: str = "Unschedulable") -> None:
    why = "0/1 nodes are available: 1 Insufficient memory."
    at = {"lastTransitionTime": harness.at(), "reason": reason, "message": why}
    condition = {"type": "PodScheduled", "status": "False", **at}
    patch = {"status": {"phase": "Pending", "conditions": [condition]}}
    Store.patch(harness.cluster, PODS, "default", "run-pod", patch, subresource="status")


def test_a_pod_without_a_node_for_30_s_ends_the_run_and_is_deleted(harness):
    """Nobody but us would end it: a pod without a node has no kubelet, and its deadline no meaning."""
    harness.submit()
    harness.reconcile()
    _find_no_node(harness)
    assert harness.reconcile() == pytest.approx(30)
    assert harness.condition["reason"] == "ExceededNodeResources"
    harness.clock.forward(29)
    assert harness.reconcile() == pytest.approx(1)
    harness.clock.forward(1)
    assert harness.reconcile() is None
    assert harness.condition["reason"] == "TaskRunPodUnschedulable"
    for words in ('"run-pod"', "30 s", "1 Insufficient memory", "--unschedulable-after"):
        assert words in harness.condition["message"]
    assert harness.cluster.list(PODS) == []
    assert harness.cluster.log_reads == 0


def test_the_claims_of_a_pod_without_a_node_are_named():
    """The scheduler says "volume node affinity conflict", and not of which volume."""
    names = ["a", "b", "a", *(f"more-{number}" for number in range(9))]
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": name}} for name in names]
    at = {"lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Unschedulable", "message": "no node."}
    status = {"conditions": [{"type": "PodScheduled", "status": "False", **at}]}
    found = unscheduled({"spec": {"volumes": [{"name": "x", "emptyDir": {}}, *volumes]}, "status": status})
    assert found is not None
    _, message = unscheduled_too_long("p", found, 30, datetime.now(UTC)) or ("", "")
    assert (
        'no node (it mounts the PersistentVolumeClaims "a", "b", "more-0", "more-1", "more-2"). ' in message
    )


def test_a_controller_killed_before_it_deleted_an_unschedulable_pod_deletes_it_later(harness):
    """Guarantee 4: crash-only."""
    harness.submit()
    harness.reconcile()
    _find_no_node(harness)
    harness.clock.forward(31)
    delete, harness.cluster.delete = harness.cluster.delete, lambda *_args, **_more: None
    harness.reconcile()
    assert len(harness.cluster.list(PODS)) == 1
    harness.cluster.delete = delete
    harness.restart()
    harness.reconcile()
    assert harness.cluster.list(PODS) == []


def test_an_unschedulable_pod_of_an_earlier_attempt_is_deleted(harness):
    harness.submit(retries=1)
    harness.reconcile()
    _find_no_node(harness)
    harness.clock.forward(31)
    assert harness.reconcile() == 0
    harness.reconcile()
    assert [pod["metadata"]["name"] for pod in harness.cluster.list(PODS)] == ["run-pod-retry1"]


def test_a_pod_that_gets_a_node_within_30_s_runs(harness):
    harness.submit()
    harness.reconcile()
    _find_no_node(harness)
    harness.reconcile()
    harness.clock.forward(29)
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": harness.at()}]
    states = {"step-build": harness.running(), SIDECAR: harness.running()}
    harness.kubelet("Running", states, conditions=conditions)
    harness.clock.forward(60)
    harness.reconcile()
    assert harness.condition["reason"] == "Running"


def test_a_pod_behind_a_scheduling_gate_is_waited_for(harness):
    """Who set the gate (a queue of jobs) decides when it opens."""
    harness.submit()
    harness.reconcile()
    _find_no_node(harness, "SchedulingGated")
    harness.clock.forward(600)
    harness.reconcile()
    assert harness.condition["status"] == "Unknown"


@pytest.mark.parametrize("reason", ["TaskRunCancelled", "TaskRunTimeout"])
def test_a_run_that_is_cancelled_or_out_of_time_before_its_pod_has_a_node_ends_at_once(harness, reason):
    harness.submit(timeout="20s")
    harness.reconcile()
    _find_no_node(harness)
    if reason == "TaskRunCancelled":
        Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": reason}})
    else:
        harness.clock.forward(21)
    assert harness.reconcile() is None
    assert harness.condition["reason"] == reason
    assert harness.cluster.list(PODS) == []


def test_a_run_that_is_cancelled_while_its_images_are_pulled_ends_at_once(harness):
    """Nothing began, so there is no one to hear."""
    harness.submit()
    harness.reconcile()
    harness.kubelet("Pending", {"step-build": _waits("ContainerCreating")})
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    assert harness.reconcile() is None
    assert harness.condition["reason"] == "TaskRunCancelled"
    assert harness.condition["message"] == 'TaskRun "run" was cancelled. '


def test_a_cancelled_run_whose_steps_have_started_waits_for_its_results(harness):
    _runs(harness)
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    assert harness.reconcile() is not None
    assert not is_done(harness.taskrun)
