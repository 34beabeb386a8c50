"""Runs that end before their Steps: cancelled, out of time, a Step killed, a sidecar that hangs."""

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import PODS, ResultsManager
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.taskrun.reconciler import Reconciler


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness()


def test_cancelled_the_pod_is_stopped_gently_read_and_then_deleted(harness):
    harness.start_pod()
    patch = {"spec": {"status": "TaskRunCancelled", "statusMessage": "enough"}}
    Store.patch(harness.cluster, TASKRUNS, "default", "run", patch)
    again = harness.reconcile()
    assert again is not None
    assert harness.pod()["spec"]["activeDeadlineSeconds"] == 1
    assert harness.condition["status"] == "Unknown"
    harness.sidecar_prints("saved")
    states = {"step-build": harness.ended(143), SIDECAR: harness.ended()}
    harness.kubelet("Failed", states, reason="DeadlineExceeded", message="Pod was active too long")
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunCancelled"
    assert harness.condition["message"] == 'TaskRun "run" was cancelled. enough'
    assert harness.taskrun["status"]["results"][0]["value"] == "saved"
    (step,) = harness.taskrun["status"]["steps"]
    assert step["terminationReason"] == "TaskRunCancelled"
    assert (step["terminated"]["reason"], step["terminated"]["exitCode"]) == ("TaskRunCancelled", 143)
    assert harness.cluster.list(PODS) == []


@pytest.mark.parametrize(("made", "now"), [(True, True), (True, False), (False, True)])
def test_the_pod_of_a_cancelled_run_is_kept_where_the_operator_wants_that(harness, made, now):
    """keep-pod-on-cancel: set when the pod was made, or set now."""

    def start(keep):
        options = PodOptions(keep_pod_on_cancel=keep)
        core = ResultsManager.from_flags(harness.flags)
        harness.reconciler = Reconciler(core, harness.cluster, options=options, clock=harness.clock)

    start(made)
    harness.start_pod()
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    harness.reconcile()
    harness.sidecar_prints("saved")
    harness.kubelet("Failed", {"step-build": harness.ended(143), SIDECAR: harness.ended()})
    start(now)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunCancelled"
    assert harness.taskrun["status"]["results"][0]["value"] == "saved"
    harness.reconcile()
    assert [one["metadata"]["name"] for one in harness.cluster.list(PODS)] == ["run-pod"]


def test_a_run_cancelled_before_a_pod_exists_gets_none(harness):
    harness.submit(status="TaskRunCancelled")
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunCancelled"
    assert harness.cluster.list(PODS) == []


def test_a_run_out_of_time_keeps_the_results_that_arrived(harness):
    harness.start_pod(timeout="90s")
    harness.clock.forward(91)
    harness.reconcile()
    harness.sidecar_prints("saved")
    harness.kubelet("Failed", {"step-build": harness.ended(143), SIDECAR: harness.ended()})
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunTimeout"
    assert harness.condition["message"] == 'TaskRun "run" failed to finish within "1m30s"'
    assert harness.taskrun["status"]["results"][0]["value"] == "saved"


def test_a_terminated_pod_that_does_not_end_is_read_as_it_is_after_the_wait(harness):
    """Never a hang: a node that is gone sends no states."""
    harness.start_pod(timeout="90s")
    harness.clock.forward(91)
    harness.reconcile()
    harness.clock.forward(30 + 31)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunTimeout"
    assert "could not be read" in harness.condition["message"]


def test_a_step_killed_for_memory_ends_the_run_with_what_was_written(harness):
    """The sidecar would wait for ever for a Step whose wrapper was killed with it (capture sl-step-oom)."""
    harness.start_pod()
    harness.kubelet("Running", {"step-build": harness.ended(137, "OOMKilled"), SIDECAR: harness.running()})
    harness.reconcile()
    assert harness.pod()["spec"]["activeDeadlineSeconds"] == 1
    harness.sidecar_prints("saved")
    harness.kubelet("Failed", {"step-build": harness.ended(137, "OOMKilled"), SIDECAR: harness.ended()})
    harness.reconcile()
    assert harness.condition["reason"] == "StepOOM"
    assert harness.condition["message"] == '"step-build" exited with code 137: OOMKilled'
    assert harness.taskrun["status"]["results"][0]["value"] == "saved"


def test_a_sidecar_that_does_not_end_is_stopped_and_the_loss_is_told(harness):
    harness.start_pod()
    states = {"step-build": harness.ended(), SIDECAR: harness.running()}
    harness.kubelet("Running", states)
    harness.sidecar_prints("d", end=False)
    assert harness.reconcile() == pytest.approx(0.2)
    harness.clock.forward(59)
    assert harness.reconcile() == pytest.approx(5)
    harness.clock.forward(2)
    harness.reconcile()
    assert harness.pod()["spec"]["activeDeadlineSeconds"] == 1
    harness.kubelet(
        "Failed", states | {SIDECAR: harness.ended(137)}, reason="DeadlineExceeded", message="late"
    )
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunResultsIncomplete"


def test_sidecars_of_the_user_are_ended_after_the_verdict(harness):
    task = {
        "results": [{"name": "digest", "type": "string"}],
        "steps": [{"name": "build", "image": "i", "script": "true"}],
        "sidecars": [{"name": "web", "image": "web:1", "command": ["serve"]}],
    }
    harness.submit(taskSpec=task)
    harness.reconcile()
    states = {"step-build": harness.running(), SIDECAR: harness.running(), "sidecar-web": harness.running()}
    harness.kubelet("Running", states)
    harness.reconcile()
    harness.sidecar_prints("d")
    harness.kubelet("Running", states | {"step-build": harness.ended(), SIDECAR: harness.ended()})
    harness.reconcile()
    assert harness.condition["status"] == "True"
    images = {c["name"]: c["image"] for c in harness.pod()["spec"]["containers"]}
    assert "nop" in images["sidecar-web"]
    assert "nop" not in images["step-build"]


def test_a_run_whose_stop_annotation_was_edited_ends(harness):
    harness.start_pod(timeout="90s")
    harness.clock.forward(91)
    harness.reconcile()
    marked = {"metadata": {"annotations": {"resultsfw.dev/stopped": "nonsense"}}}
    Store.patch(harness.cluster, PODS, "default", "run-pod", marked)
    harness.reconcile()
    assert is_done(harness.taskrun)
