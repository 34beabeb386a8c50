"""Attempts after the first."""

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import TASKRUNS


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness()


def test_a_retry_knows_its_number(harness):
    """Seen on a real cluster: every attempt took itself for the first."""
    step = {"name": "build", "image": "i", "command": ["c"], "args": ["$(context.task.retry-count)"]}
    harness.submit(retries=1, taskSpec={"results": [{"name": "digest"}], "steps": [step]})
    harness.reconcile()
    harness.finish(code=1)
    harness.reconcile()
    harness.reconcile()
    pods = [harness.pod(name)["spec"]["containers"][0]["args"] for name in ("run-pod", "run-pod-retry1")]
    assert [args[-1] for args in pods] == ["0", "1"]
    assert harness.taskrun["status"]["taskSpec"]["steps"][0]["args"] == ["1"]


def test_retries_keep_the_earlier_attempts_and_read_only_their_own_pod(harness):
    harness.submit(retries=1)
    harness.reconcile()
    harness.finish("first", code=1)
    assert harness.reconcile() == 0
    status = harness.taskrun["status"]
    assert harness.condition["reason"] == "ToBeRetried"
    assert "results" not in status
    assert status["retriesStatus"][0]["results"][0]["value"] == "first"
    assert status["retriesStatus"][0]["podName"] == "run-pod"
    harness.reconcile()
    assert harness.taskrun["status"]["podName"] == "run-pod-retry1"
    harness.sidecar_prints("second", pod="run-pod-retry1")
    states = {"step-build": harness.ended(), SIDECAR: harness.ended()}
    harness.kubelet("Succeeded", states, name="run-pod-retry1")
    harness.reconcile()
    assert harness.condition["status"] == "True"
    assert harness.taskrun["status"]["results"][0]["value"] == "second"
    assert len(harness.taskrun["status"]["retriesStatus"]) == 1


def test_a_cancelled_run_is_not_retried(harness):
    harness.start_pod(retries=3)
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    harness.reconcile()
    harness.sidecar_prints(None)
    harness.kubelet("Failed", {"step-build": harness.ended(143), SIDECAR: harness.ended()})
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunCancelled"


def test_large_results_of_a_failed_attempt_leave_space_for_those_of_the_next():
    harness = TaskRunHarness({"results-from": "sidecar-logs", "max-result-size": "1572864"})
    harness.submit(retries=1)
    harness.reconcile()
    harness.finish("f" * 900_000, code=1)
    harness.reconcile()
    harness.reconcile()
    harness.sidecar_prints("s" * 900_000, pod="run-pod-retry1")
    states = {"step-build": harness.ended(), SIDECAR: harness.ended()}
    harness.kubelet("Succeeded", states, name="run-pod-retry1")
    harness.reconcile()
    assert harness.condition["status"] == "True"
    assert harness.taskrun["status"]["results"][0]["value"] == "s" * 900_000
