"""A run whose results sidecar is a native one: it outlives the Steps, and ends with its pod."""

from datetime import UTC, datetime

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import PODS, Kind, Object
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.podstatus.progress import progress_of
from resultsfw.tekton.podstatus.startup_failures import cannot_start

NATIVE = {"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: native"}


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness(NATIVE)


def test_the_results_are_read_as_soon_as_the_steps_ended(harness):
    """The kubelet ends the sidecar only after it has seen that the Steps ended: a second later."""
    harness.start_pod()
    assert harness.pod()["metadata"]["annotations"]["tekton.dev/ready"] == "READY"
    harness.sidecar_prints("d")
    harness.kubelet("Running", {"step-build": harness.ended(), SIDECAR: harness.running()})
    assert harness.reconcile() is None
    assert harness.condition["status"] == "True"
    assert harness.taskrun["status"]["results"][0]["value"] == "d"
    (sidecar,) = harness.taskrun["status"]["sidecars"]
    assert sidecar["name"] == "tekton-log-results"
    assert "running" not in sidecar  # tkn shows this for ever
    assert sidecar["terminated"]["reason"] == "Completed"


def test_a_log_read_too_early_is_read_again(harness, caplog):
    harness.start_pod()
    harness.sidecar_prints("d", end=False)
    harness.kubelet("Running", {"step-build": harness.ended(), SIDECAR: harness.running()})
    assert harness.reconcile() == pytest.approx(0.2)
    assert harness.condition["status"] == "Unknown"
    harness.sidecar_prints("d")
    harness.reconcile()
    assert harness.condition["status"] == "True"
    assert not caplog.records


def test_a_sidecar_that_hangs_is_stopped_and_the_loss_is_told(harness):
    """Guarantee 0: never a hang."""
    harness.start_pod()
    states = {"step-build": harness.ended(), SIDECAR: harness.running()}
    harness.sidecar_prints("d", end=False)
    harness.kubelet("Running", states)
    harness.clock.forward(61)
    harness.reconcile()
    assert harness.pod()["spec"]["activeDeadlineSeconds"] == 1
    harness.kubelet("Succeeded", states | {SIDECAR: harness.ended(137)})
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunResultsIncomplete"
    assert harness.taskrun["status"]["results"][0]["value"] == "d"


def test_the_users_sidecars_end_with_the_steps_or_the_pod_never_would(harness):
    """A log without end record is read only when its sidecar has ended, and that waits for all others."""
    harness.flags = {**NATIVE, "config.sidecar-logs": "{sidecar: native, wire: tekton}"}
    harness.restart()
    task = {
        "results": [{"name": "digest", "type": "string"}],
        "steps": [{"name": "build", "image": "i", "script": "true"}],
        "sidecars": [{"name": "web", "image": "web:1", "command": ["serve"]}],
    }
    states = {"step-build": harness.running(), SIDECAR: harness.running(), "sidecar-web": harness.running()}
    harness.submit(taskSpec=task)
    harness.reconcile()
    harness.kubelet("Running", states)
    harness.reconcile()
    states["step-build"] = harness.ended()
    harness.kubelet("Running", states)
    harness.reconcile()
    assert not is_done(harness.taskrun)
    assert "nop" in {c["name"]: c["image"] for c in harness.pod()["spec"]["containers"]}["sidecar-web"]


def test_every_container_but_steps_and_the_results_sidecar_is_ended(harness):
    """A service mesh's proxy would run for ever, and the pod with it."""
    harness.flags = {"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: plain"}
    harness.restart()
    create = harness.cluster.create

    def admit(kind: Kind, obj: Object) -> Object:
        if kind == PODS:
            obj["spec"]["containers"].append({"name": "istio-proxy", "image": "mesh:1"})
        return create(kind, obj)

    harness.cluster.create = admit
    harness.submit()
    harness.reconcile()
    harness.sidecar_prints("d")
    states = {"step-build": harness.ended(), SIDECAR: harness.running(), "istio-proxy": harness.running()}
    harness.kubelet("Running", states)
    harness.reconcile()
    assert harness.condition["status"] == "True"
    images = {c["name"]: c["image"] for c in harness.pod()["spec"]["containers"]}
    assert "nop" in images["istio-proxy"]
    assert "nop" not in images[SIDECAR]


def test_cancelled_the_sidecar_speaks_after_the_steps(harness):
    harness.start_pod()
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    harness.reconcile()
    assert harness.pod()["spec"]["activeDeadlineSeconds"] == 1
    harness.sidecar_prints("saved", end=False)
    harness.kubelet("Running", {"step-build": harness.ended(143), SIDECAR: harness.running()})
    harness.reconcile()
    assert not is_done(harness.taskrun)
    harness.sidecar_prints("saved")
    states = {"step-build": harness.ended(143), SIDECAR: harness.ended()}
    harness.kubelet("Failed", states, reason="DeadlineExceeded")
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunCancelled"
    assert harness.taskrun["status"]["results"][0]["value"] == "saved"


def test_a_step_that_failed_stays_the_cause_beside_a_native_sidecar_that_was_ended(harness):
    """The kubelet ends native sidecars after the Steps; one that does not handle it exits with 143."""
    harness.start_pod()
    harness.sidecar_prints("kept")
    harness.kubelet("Failed", {"step-build": harness.ended(3), SIDECAR: harness.ended(143)})
    harness.reconcile()
    assert harness.condition["reason"] == "StepFailed"
    assert harness.taskrun["status"]["results"][0]["value"] == "kept"


def _fails_to_start(harness: TaskRunHarness, restarts: int) -> None:
    end: Object = {"terminated": {"exitCode": 128, "reason": "StartError", "message": "no such file"}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    harness.kubelet("Pending", {"step-build": {"waiting": {"reason": "PodInitializing"}}, SIDECAR: waiting})
    known = harness.pod()["status"]["initContainerStatuses"]
    known[-1] |= {"restartCount": restarts, "lastState": end}
    patch = {"status": {"initContainerStatuses": known}}
    Store.patch(harness.cluster, PODS, "default", "run-pod", patch, subresource="status")
    harness.reconcile()


def test_a_sidecar_that_never_stays_ends_the_run_by_name(harness):
    """No Step begins without it: the run would wait for its timeout."""
    harness.submit()
    harness.reconcile()
    _fails_to_start(harness, 1)
    assert "activeDeadlineSeconds" in harness.pod()["spec"]
    assert harness.pod()["spec"]["activeDeadlineSeconds"] != 1
    _fails_to_start(harness, 2)
    assert harness.pod()["spec"]["activeDeadlineSeconds"] == 1
    harness.kubelet("Failed", {"step-build": {"waiting": {"reason": "PodInitializing"}}})
    harness.reconcile()
    assert harness.condition["reason"] == "SidecarFailed"
    for words in (
        SIDECAR,
        "exited with code 128: StartError: no such file",
        "2 times",
        "config.sidecar-logs",
    ):
        assert words in harness.condition["message"]


@pytest.mark.parametrize(
    ("name", "ends"), [("resultsfw-signer", True), ("sidecar-web", False), ("istio-proxy", False)]
)
def test_so_does_one_that_an_extension_added_but_not_one_of_others(name, ends):
    stuck = {
        "name": name,
        "restartCount": 2,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 128, "reason": "StartError"}},
    }
    pod = {
        "metadata": {"name": "p"},
        "spec": {
            "initContainers": [
                {"name": SIDECAR, "restartPolicy": "Always"},
                {"name": name, "restartPolicy": "Always"},
            ],
            "containers": [{"name": "step-one"}],
        },
        "status": {
            "phase": "Pending",
            "initContainerStatuses": [{"name": SIDECAR, "state": {"running": {}}}, stuck],
            "containerStatuses": [{"name": "step-one", "state": {"waiting": {"reason": "PodInitializing"}}}],
        },
    }
    found = cannot_start(pod)
    assert (found is not None) == ends
    assert not ends or (found[0] == "SidecarFailed" and f'"{name}" exited with code 128' in found[1])


@pytest.mark.parametrize(
    ("second", "code", "reason"),
    [(4, 1, "SidecarFailed"), (5, 1, None), (6, 127, None), (6, 0, None)],
)
def test_a_sidecar_that_ends_after_the_steps_was_ended_by_us(second, code, reason):
    """Found on a cluster: Tekton's native sidecar ends last, and the run was judged by one we had stopped."""

    def ended(second, code=0):
        end = {"exitCode": code, "reason": "Error" if code else "Completed"}
        return {"terminated": {**end, "finishedAt": f"2026-01-01T00:00:0{second}Z"}}

    containers = ["step-one", "sidecar-web"]
    statuses = [
        {"name": "step-one", "state": ended(5)},
        {"name": "sidecar-web", "state": ended(second, code)},
    ]
    pod = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": name} for name in containers]},
        "status": {"phase": "Failed" if code else "Succeeded", "containerStatuses": statuses},
    }
    failure = progress_of(pod, datetime.now(UTC)).failure
    assert (failure and failure[0]) == reason
