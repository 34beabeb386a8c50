"""A run whose results sidecar is a native one: it outlives the Steps, and ends with its pod."""

from datetime import UTC, datetime
from typing import Any

import pytest
from world import SIDECAR, World

from resultsfw import PODS, Kind, Object
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.podstatus.progress import progress_of

NATIVE = {"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: native"}


@pytest.fixture
def world() -> World:
    return World(NATIVE)


def _pod_runs(world: World, **spec: Any) -> None:
    world.submit(**spec)
    world.step()
    world.kubelet("Running", {"step-build": world.running(), SIDECAR: world.running()})
    world.step()


def test_the_results_are_read_as_soon_as_the_steps_ended(world):
    """The kubelet ends the sidecar only after it has seen that the Steps ended: a second later."""
    _pod_runs(world)
    assert world.pod()["metadata"]["annotations"]["tekton.dev/ready"] == "READY"
    world.sidecar_prints("d")
    world.kubelet("Running", {"step-build": world.ended(), SIDECAR: world.running()})
    assert world.step() is None
    assert world.condition["status"] == "True"
    assert world.taskrun["status"]["results"][0]["value"] == "d"
    (sidecar,) = world.taskrun["status"]["sidecars"]
    assert sidecar["name"] == "tekton-log-results"
    assert "running" not in sidecar  # tkn shows this for ever
    assert sidecar["terminated"]["reason"] == "Completed"


def test_a_log_read_too_early_is_read_again(world, caplog):
    _pod_runs(world)
    world.sidecar_prints("d", end=False)
    world.kubelet("Running", {"step-build": world.ended(), SIDECAR: world.running()})
    assert world.step() == pytest.approx(0.2)
    assert world.condition["status"] == "Unknown"
    world.sidecar_prints("d")
    world.step()
    assert world.condition["status"] == "True"
    assert not caplog.records


def test_a_sidecar_that_hangs_is_stopped_and_the_loss_is_told(world):
    """Guarantee 0: never a hang."""
    _pod_runs(world)
    states = {"step-build": world.ended(), SIDECAR: world.running()}
    world.sidecar_prints("d", end=False)
    world.kubelet("Running", states)
    world.clock.forward(61)
    world.step()
    assert world.pod()["spec"]["activeDeadlineSeconds"] == 1
    world.kubelet("Succeeded", states | {SIDECAR: world.ended(137)})
    world.step()
    assert world.condition["reason"] == "TaskRunResultsIncomplete"
    assert world.taskrun["status"]["results"][0]["value"] == "d"


def test_the_users_sidecars_end_with_the_steps_or_the_pod_never_would(world):
    """A log without end record is read only when its sidecar has ended, and that waits for all others."""
    world.flags = {**NATIVE, "config.sidecar-logs": "{sidecar: native, wire: tekton}"}
    world.start()
    task = {
        "results": [{"name": "digest", "type": "string"}],
        "steps": [{"name": "build", "image": "i", "script": "true"}],
        "sidecars": [{"name": "web", "image": "web:1", "command": ["serve"]}],
    }
    states = {"step-build": world.running(), SIDECAR: world.running(), "sidecar-web": world.running()}
    world.submit(taskSpec=task)
    world.step()
    world.kubelet("Running", states)
    world.step()
    states["step-build"] = world.ended()
    world.kubelet("Running", states)
    world.step()
    assert not is_done(world.taskrun)
    assert "nop" in {c["name"]: c["image"] for c in world.pod()["spec"]["containers"]}["sidecar-web"]


def test_every_container_but_steps_and_the_results_sidecar_is_ended(world):
    """A service mesh's proxy would run for ever, and the pod with it."""
    world.flags = {"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: plain"}
    world.start()
    create = world.cluster.create

    def admit(kind: Kind, obj: Object) -> Object:
        if kind == PODS:
            obj["spec"]["containers"].append({"name": "istio-proxy", "image": "mesh:1"})
        return create(kind, obj)

    world.cluster.create = admit
    world.submit()
    world.step()
    world.sidecar_prints("d")
    states = {"step-build": world.ended(), SIDECAR: world.running(), "istio-proxy": world.running()}
    world.kubelet("Running", states)
    world.step()
    assert world.condition["status"] == "True"
    images = {c["name"]: c["image"] for c in world.pod()["spec"]["containers"]}
    assert "nop" in images["istio-proxy"]
    assert "nop" not in images[SIDECAR]


def test_cancelled_the_sidecar_speaks_after_the_steps(world):
    _pod_runs(world)
    Store.patch(world.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    world.step()
    assert world.pod()["spec"]["activeDeadlineSeconds"] == 1
    world.sidecar_prints("saved", end=False)
    world.kubelet("Running", {"step-build": world.ended(143), SIDECAR: world.running()})
    world.step()
    assert not is_done(world.taskrun)
    world.sidecar_prints("saved")
    states = {"step-build": world.ended(143), SIDECAR: world.ended()}
    world.kubelet("Failed", states, reason="DeadlineExceeded")
    world.step()
    assert world.condition["reason"] == "TaskRunCancelled"
    assert world.taskrun["status"]["results"][0]["value"] == "saved"


def test_a_step_that_failed_stays_the_cause_beside_a_native_sidecar_that_was_ended(world):
    """The kubelet ends native sidecars after the Steps; one that does not handle it exits with 143."""
    _pod_runs(world)
    world.sidecar_prints("kept")
    world.kubelet("Failed", {"step-build": world.ended(3), SIDECAR: world.ended(143)})
    world.step()
    assert world.condition["reason"] == "StepFailed"
    assert world.taskrun["status"]["results"][0]["value"] == "kept"


def _fails_to_start(world: World, restarts: int) -> None:
    end: Object = {"terminated": {"exitCode": 128, "reason": "StartError", "message": "no such file"}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}
    world.kubelet("Pending", {"step-build": {"waiting": {"reason": "PodInitializing"}}, SIDECAR: waiting})
    known = world.pod()["status"]["initContainerStatuses"]
    known[-1] |= {"restartCount": restarts, "lastState": end}
    patch = {"status": {"initContainerStatuses": known}}
    Store.patch(world.cluster, PODS, "default", "run-pod", patch, subresource="status")
    world.step()


def test_a_sidecar_that_never_stays_ends_the_run_by_name(world):
    """No Step begins without it: the run would wait for its timeout."""
    world.submit()
    world.step()
    _fails_to_start(world, 1)
    assert "activeDeadlineSeconds" in world.pod()["spec"]
    assert world.pod()["spec"]["activeDeadlineSeconds"] != 1
    _fails_to_start(world, 2)
    assert world.pod()["spec"]["activeDeadlineSeconds"] == 1
    world.kubelet("Failed", {"step-build": {"waiting": {"reason": "PodInitializing"}}})
    world.step()
    assert world.condition["reason"] == "SidecarFailed"
    for words in (
        SIDECAR,
        "exited with code 128: StartError: no such file",
        "2 times",
        "config.sidecar-logs",
    ):
        assert words in world.condition["message"]


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
