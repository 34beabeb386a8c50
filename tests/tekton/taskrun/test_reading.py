"""Results that cannot be read yet, or never, or not whole."""

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw.errors import (
    ForbiddenError,
    LogUnavailableError,
    UnavailableError,
)


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness()


def test_guarantee_0_a_forbidden_log_is_tried_again_and_then_is_the_verdict(harness):
    """Guarantee 0: a failed read is retried while it can still come right, and then a failure of its own."""
    harness.submit()
    harness.reconcile()
    harness.finish()
    harness.cluster.logs[SIDECAR] = ForbiddenError("pods/log is forbidden", subject="Pod default/run-pod")
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    assert harness.condition["status"] == "Unknown"
    assert harness.condition["reason"] == "TaskRunResultsUnreadable"
    assert "cannot be read yet and are tried again (Forbidden): pods/log is" in harness.condition["message"]
    assert harness.taskrun["status"]["steps"][0]["terminated"]["exitCode"] == 0
    harness.clock.forward(301)
    harness.reconcile()
    assert harness.condition["status"] == "False"
    assert harness.condition["reason"] == "TaskRunResultsUnreadable"
    assert "forbidden" in harness.condition["message"]


def test_guarantee_0_what_keeps_results_from_being_read_is_said_once_and_not_once_a_try(harness):
    """Guarantee 0: never silence; but messages differ from try to try, and no status is written for that."""
    harness.submit()
    harness.reconcile()
    harness.finish()
    versions = set()
    for number in range(4):
        harness.cluster.logs[SIDECAR] = UnavailableError(f"connection 0x{number} was cut")
        with pytest.raises(UnavailableError):
            harness.reconcile()
        versions.add(harness.taskrun["metadata"]["resourceVersion"])
        harness.clock.forward(10)
    assert len(versions) == 1
    assert "(Unavailable): connection 0x0 was cut" in harness.condition["message"]
    harness.cluster.logs[SIDECAR] = ForbiddenError("and now this")
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    assert "(Forbidden): and now this" in harness.condition["message"]


def test_guarantee_0_a_read_that_fails_long_after_the_pods_end_is_tried_again(harness):
    """Guarantee 0: a controller, or its API server, that was gone for long has all the time of any other."""
    harness.submit()
    harness.reconcile()
    harness.finish()
    good = harness.cluster.logs[SIDECAR]
    harness.clock.forward(3600)
    for error in (UnavailableError("coming up"), ForbiddenError("not yet"), UnavailableError("soon")):
        harness.cluster.logs[SIDECAR] = error
        with pytest.raises(type(error)):
            harness.reconcile()
        harness.clock.forward(149)
    harness.cluster.logs[SIDECAR] = good
    harness.reconcile()
    assert harness.condition["status"] == "True"


def test_guarantee_0_errors_that_take_turns_do_not_make_the_time_longer(harness):
    """Guarantee 0: never a hang."""
    harness.submit()
    harness.reconcile()
    harness.finish()
    for error in (UnavailableError("away"), ForbiddenError("no"), UnavailableError("away")):
        harness.cluster.logs[SIDECAR] = error
        with pytest.raises(type(error)):
            harness.reconcile()
        harness.clock.forward(149)
    harness.restart()
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunResultsUnreadable"
    assert harness.condition["status"] == "False"


def test_guarantee_0_a_permission_granted_in_time_brings_the_results(harness):
    """Guarantee 0: what comes right is a success."""
    harness.submit()
    harness.reconcile()
    harness.finish()
    good = harness.cluster.logs[SIDECAR]
    harness.cluster.logs[SIDECAR] = ForbiddenError("no")
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    harness.cluster.logs[SIDECAR] = good
    harness.reconcile()
    assert harness.condition["status"] == "True"


def test_guarantee_1_a_log_without_its_end_record_is_a_failure_that_keeps_what_came(harness):
    """Guarantee 1: what did arrive whole is kept beside the failure."""
    harness.submit()
    harness.reconcile()
    harness.finish()
    harness.sidecar_prints("kept", end=False)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunResultsIncomplete"
    assert harness.taskrun["status"]["results"][0]["value"] == "kept"


def test_guarantee_7_a_log_of_another_pod_is_refused(harness):
    """Guarantee 7: a record of another attempt is no result of this one."""
    harness.submit()
    harness.reconcile()
    harness.finish()
    uid = harness.pod()["metadata"]["uid"]
    log = harness.cluster.logs[SIDECAR]
    assert isinstance(log, bytes)
    harness.cluster.logs[SIDECAR] = log.replace(uid.encode(), b"f" * len(uid))
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunResultsForeign"
    assert "results" not in harness.taskrun["status"]


KUBELETS_ERROR = b"unable to retrieve container logs for containerd://27615f0422f9"


def test_the_kubelets_error_in_place_of_a_log_is_read_again(harness):
    """Seen on a real cluster: answered 200, and a moment later the log was there."""
    harness.submit()
    harness.reconcile()
    harness.finish()
    whole = harness.cluster.logs[SIDECAR]
    harness.cluster.logs[SIDECAR] = KUBELETS_ERROR
    with pytest.raises(LogUnavailableError, match="unable to retrieve container logs"):
        harness.reconcile()
    assert (harness.condition["status"], harness.condition["reason"]) == (
        "Unknown",
        "TaskRunResultsUnreadable",
    )
    assert "(LogUnavailable)" in harness.condition["message"]
    harness.cluster.logs[SIDECAR] = whole
    harness.reconcile()
    assert harness.condition["status"] == "True"
    assert harness.taskrun["status"]["results"][0]["value"] == "d"


def test_the_kubelets_error_that_stays_for_300_s_fails_the_run_with_its_own_reason(harness):
    """Seen on a real cluster: once the containers are removed, no try comes right."""
    harness.submit()
    harness.reconcile()
    harness.finish()
    harness.cluster.logs[SIDECAR] = KUBELETS_ERROR
    with pytest.raises(LogUnavailableError):
        harness.reconcile()
    harness.clock.forward(301)
    harness.reconcile()
    assert (harness.condition["status"], harness.condition["reason"]) == ("False", "TaskRunResultsUnreadable")
    assert '"digest"' in harness.condition["message"]


def test_an_evicted_pod_without_container_states_ends_its_run_after_300_s(harness):
    """Nothing says when its containers ended: the pod's own time does."""
    harness.start_pod()
    harness.cluster.logs[SIDECAR] = ForbiddenError("no")
    at = [{"type": "Ready", "status": "False", "lastTransitionTime": harness.at()}]
    harness.kubelet("Failed", {}, reason="Evicted", message="low on memory", conditions=at)
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    harness.clock.forward(301)
    harness.reconcile()
    assert harness.condition["reason"] == "PodEvicted"
