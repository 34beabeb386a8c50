"""Backends whose hooks fail while a run is read or cleaned up."""

from typing import Any

import pytest
from taskrun_harness import TaskRunHarness

from resultsfw import PODS, Capabilities, ExtractedResult, Extraction, hookimpl
from resultsfw.errors import BackendError, ForbiddenError
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS


class Broken:
    """A backend whose hooks fail: with a secret in the text, as foreign code may."""

    capabilities = Capabilities(summary="fails", external_state="owned")

    def __init__(self, *hooks: str, error: Exception | None = None) -> None:
        self.hooks = hooks
        self.error = error or LookupError("password=hunter2")

    @hookimpl
    def prepare_pod(self) -> int:
        return 1

    @hookimpl
    def pod_ready(self) -> bool:
        return self._or_fail("pod_ready", True)

    @hookimpl
    def extract(self) -> Extraction:
        return self._or_fail(
            "extract", Extraction(results=(ExtractedResult(name="digest", value="d", source="here"),))
        )

    @hookimpl
    def purge(self) -> None:
        self._or_fail("purge", None)

    def _or_fail(self, hook: str, answer: Any) -> Any:
        if hook in self.hooks:
            raise self.error
        return answer


class ReturnsBytes(Broken):
    """A backend that forgets to decode."""

    @hookimpl
    def extract(self) -> Extraction:
        return Extraction(results=(ExtractedResult(name="digest", value=b"hunter2", source="here"),))


def _broken_harness(*hooks: str, error: Exception | None = None) -> TaskRunHarness:
    harness = TaskRunHarness({"results-from": "mine"}, mine=Broken(*hooks, error=error))
    harness.submit()
    harness.reconcile()
    return harness


def test_guarantee_0_a_backend_that_fails_while_it_reads_is_said_by_its_type_and_then_is_the_verdict():
    """Guarantee 0: retried, visibly, and at last a failure; what foreign code says may hold a secret."""
    harness = _broken_harness("extract", error=ConnectionError("password=hunter2"))
    harness.kubelet("Succeeded", {"step-build": harness.ended()})
    assert harness.reconcile() == 5
    assert harness.condition["status"] == "Unknown"
    assert 'backend "mine" failed in extract: ConnectionError' in harness.condition["message"]
    harness.clock.forward(301)
    assert harness.reconcile() is None
    assert harness.condition["status"] == "False"
    assert harness.condition["reason"] == "TaskRunResultsUnreadable"
    assert "hunter2" not in str(harness.cluster.list(TASKRUNS))


@pytest.mark.parametrize("wrong", [LookupError("password=hunter2"), None])
def test_a_programming_error_of_a_backend_ends_the_run_at_once(wrong):
    """It was repeated for as long as a failed read is."""
    harness = (
        _broken_harness("extract", error=wrong)
        if wrong
        else TaskRunHarness({"results-from": "mine"}, mine=ReturnsBytes())
    )
    if not wrong:
        harness.submit()
        harness.reconcile()
    harness.kubelet("Succeeded", {"step-build": harness.ended()})
    assert harness.reconcile() is None
    assert (harness.condition["status"], harness.condition["reason"]) == ("False", "TaskRunResultsUnreadable")
    message = (
        "failed in extract: LookupError, at line"
        if wrong
        else "extract what it may not: results[0].value: it is"
    )
    assert message in harness.condition["message"]
    assert "hunter2" not in str(harness.cluster.list(TASKRUNS))


def test_a_programming_error_in_pod_ready_ends_the_run_and_its_sidecars():
    harness = _broken_harness("pod_ready")
    harness.kubelet("Running", {"step-build": harness.ended()})
    while (again := harness.reconcile()) is not None and not is_done(harness.taskrun):
        assert "activeDeadlineSeconds" in harness.pod()["spec"]
        harness.kubelet("Failed", {"step-build": harness.ended()})
        harness.clock.forward(again + 1)
    assert (harness.condition["status"], harness.condition["reason"]) == ("False", "TaskRunResultsUnreadable")
    assert "failed in pod_ready: LookupError, at line" in harness.condition["message"]


def test_guarantee_0_a_backend_that_cannot_say_whether_a_pod_is_ready_is_asked_at_its_end():
    """Guarantee 0: never a hang. Its Sidecars may run for ever: the pod is stopped in time, and read."""
    harness = _broken_harness("pod_ready", error=ConnectionError("password=hunter2"))
    harness.kubelet("Running", {"step-build": harness.ended()})
    while (again := harness.reconcile()) is not None and not is_done(harness.taskrun):
        assert "failed in pod_ready: ConnectionError" in harness.condition["message"]
        if "activeDeadlineSeconds" in harness.pod()["spec"]:
            harness.kubelet("Failed", {"step-build": harness.ended()})
        harness.clock.forward(again + 1)
    assert harness.condition["status"] == "True"
    assert harness.taskrun["status"]["results"][0]["value"] == "d"


def test_guarantee_0_a_pod_whose_stamp_was_edited_ends_its_run():
    """Guarantee 0: never a hang."""
    harness = _broken_harness()
    edit = {"metadata": {"annotations": {"resultsfw.dev/stamp": "edited"}}}
    Store.patch(harness.cluster, PODS, "default", "run-pod", edit)
    harness.kubelet("Succeeded", {"step-build": harness.ended()})
    assert harness.reconcile() == 5
    assert "not for editing" in harness.condition["message"]
    harness.clock.forward(301)
    with pytest.raises(BackendError, match="not for editing"):  # nobody knows what to purge, and that is said
        harness.reconcile()
    assert harness.condition["status"] == "False"
    assert harness.condition["reason"] == "TaskRunResultsUnreadable"


def test_a_backend_whose_purge_fails_keeps_no_sidecar_running():
    harness = _broken_harness("purge")
    pod = Store.get(harness.cluster, PODS, "default", "run-pod")
    sidecar = {"name": "sidecar-mine", "image": "i"}
    Store.delete(harness.cluster, PODS, "default", "run-pod")
    pod["spec"]["containers"].append(sidecar)
    del pod["metadata"]["resourceVersion"], pod["status"]
    Store.create(harness.cluster, PODS, pod)
    harness.kubelet("Running", {"step-build": harness.ended(), "sidecar-mine": harness.running()})
    with pytest.raises(BackendError, match="failed in purge"):
        harness.reconcile()
    assert harness.condition["status"] == "True"
    assert harness.pod()["spec"]["containers"][1]["image"] != "i"


def test_a_purge_that_fails_while_the_pod_is_deleted_leaves_the_verdict_as_it_is():
    """It was taken for a read that failed, and a condition with status Unknown replaced the verdict."""
    harness = _broken_harness("purge", error=ForbiddenError("may not delete"))
    harness.kubelet("Running", {"step-build": harness.running()})
    harness.cluster.delete(PODS, "default", "run-pod", grace_seconds=30)
    harness.kubelet("Failed", {"step-build": harness.ended(143)})
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    assert (harness.condition["status"], harness.condition["reason"]) == ("False", "TaskRunPodDeleted")
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    assert harness.condition["status"] == "False"
