"""Pods whose containers cannot start."""

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import Object
from resultsfw.errors import FlagError
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.podstatus.startup_failures import start_tolerance_of
from resultsfw.tekton.taskrun.reconciler import Reconciler

PULL = "Back-off pulling image"


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness({"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: plain"})


def _waits(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


TWO_STEPS = {
    "results": [{"name": "digest", "type": "string"}, {"name": "late", "type": "string"}],
    "steps": [
        {"name": "build", "image": "i", "script": "true"},
        {"name": "push", "image": "i", "script": "true"},
    ],
}


@pytest.mark.parametrize(
    ("why", "reason", "words"),
    [
        ("ImagePullBackOff", "TaskRunImagePullFailed", 'failed to pull the image "i"'),
        ("InvalidImageName", "TaskRunImagePullFailed", 'failed to pull the image "i"'),
        ("ErrImageNeverPull", "TaskRunImagePullFailed", 'failed to pull the image "i"'),
        ("CreateContainerConfigError", "CreateContainerConfigError", "failed to start"),
        ("CreateContainerError", "PodCreationFailed", "failed to start"),
    ],
)
def test_a_container_that_cannot_start_ends_the_run_with_tektons_reason(harness, why, reason, words):
    """No Step began, so nothing is waited for, and nothing is said of results that nobody wrote."""
    harness.submit()
    harness.reconcile()
    harness.kubelet("Pending", {"step-build": _waits(why, PULL), SIDECAR: harness.running()})
    assert harness.reconcile() is None
    assert harness.condition["reason"] == reason
    assert harness.condition["message"] == (
        f'the step "build" in TaskRun "run" {words}. The pod errored with the message: "{PULL}."'
    )
    (step,) = harness.taskrun["status"]["steps"]
    assert step["terminated"]["reason"] == step["terminationReason"] == reason
    assert harness.pod()["spec"]["activeDeadlineSeconds"] == 1
    assert harness.cluster.log_reads == 0


@pytest.mark.parametrize("who", ["prepare", "sidecar-web", SIDECAR])
def test_any_container_that_cannot_be_pulled_ends_the_run(harness, who):
    """Tekton does not look at init containers: such a run waits for its timeout."""
    task = {**TWO_STEPS, "sidecars": [{"name": "web", "image": "w", "command": ["serve"]}]}
    harness.submit(taskSpec=task)
    harness.reconcile()
    harness.kubelet("Pending", {who: _waits("ImagePullBackOff", PULL)})
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunImagePullFailed"
    assert f'"{who.removeprefix("sidecar-")}"' in harness.condition["message"]


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", "rpc error"),
        ("ContainerCreating", ""),
        ("CreateContainerError", "context deadline exceeded"),
        ("CreateContainerError", 'failed to reserve container name "x": name "x" is reserved for "y"'),
        ("CreateContainerConfigError", "failed to create subPath directory for volumeMount"),
    ],
)
def test_what_can_still_come_right_is_waited_for(harness, reason, message):
    harness.submit()
    harness.reconcile()
    harness.kubelet("Pending", {"step-build": _waits(reason, message), SIDECAR: harness.running()})
    harness.reconcile()
    assert harness.condition["status"] == "Unknown"
    assert "resultsfw.dev/stopped" not in harness.pod()["metadata"]["annotations"]


def test_an_image_that_cannot_be_pulled_is_tried_again_where_retries_are_left(harness):
    harness.submit(retries=1)
    harness.reconcile()
    harness.kubelet("Pending", {"step-build": _waits("ImagePullBackOff", PULL)})
    assert harness.reconcile() == 0
    assert harness.condition["reason"] == "ToBeRetried"
    harness.reconcile()
    assert harness.taskrun["status"]["podName"] == "run-pod-retry1"


TOLERANT = {
    "default-imagepullbackoff-timeout": "5m",
    "default-create-container-error-timeout": "1m30s",
}


@pytest.mark.parametrize(
    ("reason", "message", "seconds", "failure"),
    [
        ("ImagePullBackOff", PULL, 300, "TaskRunImagePullFailed"),
        ("CreateContainerError", "context deadline exceeded", 90, "PodCreationFailed"),
        ("CreateContainerConfigError", "context deadline exceeded", 90, "CreateContainerConfigError"),
    ],
)
def test_a_container_that_may_recover_is_waited_for_as_long_as_config_defaults_say(
    harness, reason, message, seconds, failure
):
    harness.reconciler = Reconciler(
        harness.reconciler.core,
        harness.cluster,
        clock=harness.clock,
        tolerance=start_tolerance_of(TOLERANT),
    )
    harness.submit()
    harness.reconcile()
    since = {
        "type": "PodReadyToStartContainers",
        "status": "True",
        "lastTransitionTime": format_time(harness.clock()),
    }
    harness.kubelet("Pending", {"step-build": _waits(reason, message)}, conditions=[since])
    harness.clock.forward(10)
    assert harness.reconcile() == seconds - 10
    assert harness.condition["status"] == "Unknown"
    harness.clock.forward(seconds - 10)
    harness.reconcile()
    assert harness.condition["reason"] == failure


def test_a_tolerance_that_is_no_duration_is_refused_by_its_key():
    for key in TOLERANT:
        with pytest.raises(FlagError, match="no duration") as caught:
            start_tolerance_of({key: "5"})
        assert caught.value.subject == key
