"""Pods that somebody deletes."""

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import PODS
from resultsfw.local.store import Store


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness()


def test_a_pod_deleted_by_somebody_ends_the_run_with_its_own_reason(harness):
    harness.start_pod()
    harness.cluster.delete(PODS, "default", "run-pod", grace_seconds=30)
    harness.clock.forward(5)
    harness.sidecar_prints("saved")
    harness.kubelet("Failed", {"step-build": harness.ended(143), SIDECAR: harness.ended()})
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunPodDeleted"
    assert harness.taskrun["status"]["results"][0]["value"] == "saved"


def test_a_pod_deleted_after_its_steps_failed_by_themselves_keeps_their_reason(harness):
    harness.start_pod()
    failed = harness.ended(3)
    harness.clock.forward(10)
    patch = {"metadata": {"deletionTimestamp": harness.at(30), "deletionGracePeriodSeconds": 30}}
    pod = {**harness.pod(), "metadata": harness.pod()["metadata"] | patch["metadata"]}
    harness.sidecar_prints("saved")
    harness.kubelet("Failed", {"step-build": failed, SIDECAR: harness.ended()})
    pod["status"] = harness.pod()["status"]
    harness.cluster.get = lambda kind, ns, name: (
        pod if kind == PODS else Store.get(harness.cluster, kind, ns, name)
    )
    harness.reconcile()
    assert harness.condition["reason"] == "StepFailed"


def test_a_pod_that_is_gone_ends_the_run_and_is_not_created_again(harness):
    """Tekton makes a second pod and runs the Steps again."""
    harness.start_pod()
    harness.cluster.delete(PODS, "default", "run-pod", grace_seconds=0)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunPodDeleted"
    assert harness.cluster.list(PODS) == []
