"""Pods that cannot start, are taken away or vanish: each ends its run with its own reason."""

from typing import Any

import pytest
from world import SIDECAR, World

from resultsfw import PODS, Object
from resultsfw.errors import UnavailableError
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS

PULL = "Back-off pulling image"


@pytest.fixture
def world() -> World:
    return World({"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: plain"})


@pytest.fixture
def messages() -> World:
    return World({"results-from": "termination-message"})


def _waits(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason, "message": message}}


def _runs(world: World, **spec: Any) -> None:
    world.submit(**spec)
    world.step()
    states = {"step-build": world.running(), "step-push": world.running(), SIDECAR: world.running()}
    world.kubelet("Running", states)
    world.step()


TWO_STEPS = {
    "results": [{"name": "digest", "type": "string"}, {"name": "late", "type": "string"}],
    "steps": [
        {"name": "build", "image": "i", "script": "true"},
        {"name": "push", "image": "i", "script": "true"},
    ],
}


# Nothing to start.


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
def test_a_container_that_cannot_start_ends_the_run_with_tektons_reason(world, why, reason, words):
    """No Step began, so nothing is waited for, and nothing is said of results that nobody wrote."""
    world.submit()
    world.step()
    world.kubelet("Pending", {"step-build": _waits(why, PULL), SIDECAR: world.running()})
    assert world.step() is None
    assert world.condition["reason"] == reason
    assert world.condition["message"] == (
        f'the step "build" in TaskRun "run" {words}. The pod errored with the message: "{PULL}."'
    )
    (step,) = world.taskrun["status"]["steps"]
    assert step["terminated"]["reason"] == step["terminationReason"] == reason
    assert world.pod()["spec"]["activeDeadlineSeconds"] == 1
    assert world.cluster.log_reads == 0


@pytest.mark.parametrize("who", ["prepare", "sidecar-web", SIDECAR])
def test_any_container_that_cannot_be_pulled_ends_the_run(world, who):
    """Tekton does not look at init containers: such a run waits for its timeout."""
    task = {**TWO_STEPS, "sidecars": [{"name": "web", "image": "w", "command": ["serve"]}]}
    world.submit(taskSpec=task)
    world.step()
    world.kubelet("Pending", {who: _waits("ImagePullBackOff", PULL)})
    world.step()
    assert world.condition["reason"] == "TaskRunImagePullFailed"
    assert f'"{who.removeprefix("sidecar-")}"' in world.condition["message"]


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
def test_what_can_still_come_right_is_waited_for(world, reason, message):
    world.submit()
    world.step()
    world.kubelet("Pending", {"step-build": _waits(reason, message), SIDECAR: world.running()})
    world.step()
    assert world.condition["status"] == "Unknown"
    assert "resultsfw.dev/stopped" not in world.pod()["metadata"]["annotations"]


def test_an_image_that_cannot_be_pulled_is_tried_again_where_retries_are_left(world):
    world.submit(retries=1)
    world.step()
    world.kubelet("Pending", {"step-build": _waits("ImagePullBackOff", PULL)})
    assert world.step() == 0
    assert world.condition["reason"] == "ToBeRetried"
    world.step()
    assert world.taskrun["status"]["podName"] == "run-pod-retry1"


# Nowhere to go.


def _homeless(world: World, reason: str = "Unschedulable") -> None:
    why = "0/1 nodes are available: 1 Insufficient memory."
    at = {"lastTransitionTime": world.at(), "reason": reason, "message": why}
    condition = {"type": "PodScheduled", "status": "False", **at}
    patch = {"status": {"phase": "Pending", "conditions": [condition]}}
    Store.patch(world.cluster, PODS, "default", "run-pod", patch, subresource="status")


def test_a_pod_that_finds_no_node_ends_the_run_in_time_and_is_deleted(world):
    """Nobody but us would end it: a pod without a node has no kubelet, and its deadline no meaning."""
    world.submit()
    world.step()
    _homeless(world)
    assert world.step() == pytest.approx(30)
    assert world.condition["reason"] == "ExceededNodeResources"
    world.clock.forward(29)
    assert world.step() == pytest.approx(1)
    world.clock.forward(1)
    assert world.step() is None
    assert world.condition["reason"] == "TaskRunPodUnschedulable"
    for words in ('"run-pod"', "30 s", "1 Insufficient memory", "--unschedulable-after"):
        assert words in world.condition["message"]
    assert world.cluster.list(PODS) == []
    assert world.cluster.log_reads == 0


def test_a_controller_killed_before_it_deleted_the_homeless_pod_deletes_it_later(world):
    """Guarantee 4: crash-only."""
    world.submit()
    world.step()
    _homeless(world)
    world.clock.forward(31)
    delete, world.cluster.delete = world.cluster.delete, lambda *_args, **_more: None
    world.step()
    assert len(world.cluster.list(PODS)) == 1
    world.cluster.delete = delete
    world.start()
    world.step()
    assert world.cluster.list(PODS) == []


def test_a_homeless_pod_of_an_earlier_attempt_does_not_stay(world):
    world.submit(retries=1)
    world.step()
    _homeless(world)
    world.clock.forward(31)
    assert world.step() == 0
    world.step()
    assert [pod["metadata"]["name"] for pod in world.cluster.list(PODS)] == ["run-pod-retry1"]


def test_a_pod_that_finds_its_node_in_time_runs(world):
    world.submit()
    world.step()
    _homeless(world)
    world.step()
    world.clock.forward(29)
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": world.at()}]
    states = {"step-build": world.running(), SIDECAR: world.running()}
    world.kubelet("Running", states, conditions=conditions)
    world.clock.forward(60)
    world.step()
    assert world.condition["reason"] == "Running"


def test_a_pod_that_is_held_back_by_a_gate_is_waited_for(world):
    """Who set the gate (a queue of jobs) decides when it opens."""
    world.submit()
    world.step()
    _homeless(world, "SchedulingGated")
    world.clock.forward(600)
    world.step()
    assert world.condition["status"] == "Unknown"


@pytest.mark.parametrize("reason", ["TaskRunCancelled", "TaskRunTimeout"])
def test_a_run_that_is_cancelled_or_late_before_its_pod_found_a_node_ends_at_once(world, reason):
    world.submit(timeout="20s")
    world.step()
    _homeless(world)
    if reason == "TaskRunCancelled":
        Store.patch(world.cluster, TASKRUNS, "default", "run", {"spec": {"status": reason}})
    else:
        world.clock.forward(21)
    assert world.step() is None
    assert world.condition["reason"] == reason
    assert world.cluster.list(PODS) == []


def test_a_run_that_is_cancelled_while_its_images_are_pulled_ends_at_once(world):
    """Nothing began, so there is no one to hear."""
    world.submit()
    world.step()
    world.kubelet("Pending", {"step-build": _waits("ContainerCreating")})
    Store.patch(world.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    assert world.step() is None
    assert world.condition["reason"] == "TaskRunCancelled"
    assert world.condition["message"] == 'TaskRun "run" was cancelled. '


def test_a_run_that_did_begin_is_given_its_chance_to_speak(world):
    _runs(world)
    Store.patch(world.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    assert world.step() is not None
    assert not is_done(world.taskrun)


# Taken away.


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Evicted", "low on memory"),
        ("Terminated", "the node was shut down: low on memory"),
        ("NodeShutdown", "the node was shut down: low on memory"),
        ("Preempting", "the kubelet made room for a critical pod: low on memory"),
    ],
)
def test_a_pod_that_its_node_ended_is_evicted_and_no_step_is_blamed(world, reason, words):
    _runs(world)
    world.sidecar_prints("saved")
    states = {"step-build": world.ended(143), SIDECAR: world.ended()}
    world.kubelet("Failed", states, reason=reason, message="low on memory")
    world.step()
    assert world.condition["reason"] == "PodEvicted"
    assert world.condition["message"] == words
    assert world.taskrun["status"]["results"][0]["value"] == "saved"


def test_a_pod_that_is_only_marked_for_a_disruption_goes_on(world):
    """The eviction API marks a pod before it deletes it."""
    _runs(world)
    marked = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
    states = {"step-build": world.running(), SIDECAR: world.running()}
    world.kubelet("Running", states, conditions=marked)
    world.sidecar_prints("d")
    world.step()
    assert not is_done(world.taskrun)


def test_a_pod_that_its_node_refused_ends_the_run_with_the_kubelets_words(world):
    world.submit()
    world.step()
    why = "Node didn't have enough resource: cpu"
    world.kubelet("Failed", {}, reason="OutOfcpu", message=f"Pod was rejected: {why}")
    world.step()
    assert world.condition["reason"] == "Failed"
    assert world.condition["message"] == f"Pod was rejected: {why}"


def test_who_deleted_a_pod_is_told(world):
    """Node gone, preempted by the scheduler, evicted through the API: the condition names it."""
    _runs(world)
    who = {"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}
    world.cluster.delete(PODS, "default", "run-pod", grace_seconds=30)
    world.clock.forward(60)  # the store stamps by the real clock, which may have gone on
    world.sidecar_prints("saved")
    states = {"step-build": world.ended(143), SIDECAR: world.ended()}
    world.kubelet("Failed", states, conditions=[who | {"message": "NoExecute taint"}])
    world.step()
    assert world.condition["reason"] == "TaskRunPodDeleted"
    assert "(DeletionByTaintManager: NoExecute taint)" in world.condition["message"]


def test_a_deleted_pods_log_is_read_as_soon_as_it_is_whole(world):
    """Its containers may still run: the log goes with the pod."""
    _runs(world)
    world.cluster.delete(PODS, "default", "run-pod", grace_seconds=30)
    world.sidecar_prints("saved", end=False)
    world.clock.forward(10)
    assert world.step() == pytest.approx(0.2)
    assert not is_done(world.taskrun)
    world.sidecar_prints("saved")
    world.step()
    assert world.condition["reason"] == "TaskRunPodDeleted"
    assert world.taskrun["status"]["results"][0]["value"] == "saved"


def test_a_deleted_pod_that_never_goes_is_not_waited_for_for_ever(world):
    """Never a hang: a node that is gone confirms nothing."""
    _runs(world)
    world.cluster.delete(PODS, "default", "run-pod", grace_seconds=30)
    world.cluster.logs[SIDECAR] = UnavailableError("no route to host")
    world.step()
    assert not is_done(world.taskrun)
    world.clock.forward(30 + 31 + 60)  # the store stamps by the real clock, which may have gone on
    world.step()
    assert world.condition["reason"] == "TaskRunPodDeleted"


# Vanished.


def _vanish(world: World) -> None:
    world.cluster.delete(PODS, "default", "run-pod", grace_seconds=0)
    if world.cluster.list(PODS):
        world.cluster.confirm_deletion("default", "run-pod")


def test_results_that_had_arrived_outlive_a_pod_that_vanished(messages):
    """The first Step's message stands in the run's status since that Step ended."""
    _runs(messages, taskSpec=TWO_STEPS)
    message = '[{"key":"digest","value":"early","type":1},{"key":"StartedAt","value":"x","type":3}]'
    states = {"step-build": messages.ended(message=message), "step-push": messages.running()}
    messages.kubelet("Running", states)
    messages.step()
    _vanish(messages)
    messages.step()
    assert messages.condition["reason"] == "TaskRunPodDeleted"
    assert messages.condition["message"] == 'pod "run-pod" vanished before its results were read'
    results = {one["name"]: one["value"] for one in messages.taskrun["status"]["results"]}
    assert results == {"digest": "early"}
    first, second = messages.taskrun["status"]["steps"]
    assert first["terminated"]["exitCode"] == 0
    assert second["terminated"]["reason"] == "TaskRunPodDeleted"


def test_what_redaction_kept_out_of_the_status_is_told_of_a_pod_that_vanished():
    flags = {"results-from": "termination-message", "extensions": "redact"}
    world = World({**flags, "config.redact": "patterns: {e: ear}"})
    _runs(world, taskSpec=TWO_STEPS)
    message = '[{"key":"digest","value":"early","type":1}]'
    world.kubelet("Running", {"step-build": world.ended(message=message), "step-push": world.running()})
    world.step()
    assert "early" not in str(world.taskrun["status"])
    _vanish(world)
    world.step()
    assert world.condition["reason"] == "TaskRunPodDeleted"
    assert world.condition["message"].endswith(
        """; "redact" keeps Steps' messages out of the status: results in them went with it"""
    )
    assert "results" not in world.taskrun["status"]


def test_messages_from_before_redaction_was_switched_on_do_not_outlive_a_pod_that_vanished(messages):
    _runs(messages, taskSpec=TWO_STEPS)
    message = '[{"key":"digest","value":"early","type":1}]'
    messages.kubelet(
        "Running", {"step-build": messages.ended(message=message), "step-push": messages.running()}
    )
    messages.step()
    assert "early" in str(messages.taskrun["status"])
    _vanish(messages)
    messages.flags = {**messages.flags, "extensions": "redact", "config.redact": "patterns: {e: ear}"}
    messages.start()
    messages.step()
    assert messages.taskrun["status"]["results"][0]["value"] == "[redacted:e]ly"
    assert "early" not in str(messages.taskrun["status"])


def test_a_log_that_vanished_with_its_pod_is_told(world):
    _runs(world, taskSpec=TWO_STEPS)
    world.kubelet("Running", {"step-build": world.ended(), "step-push": world.running()})
    world.step()
    _vanish(world)
    world.step()
    assert world.condition["reason"] == "TaskRunPodDeleted"
    assert "could not be read" in world.condition["message"]
    assert "results" not in world.taskrun["status"]


def test_a_pod_that_vanished_before_any_step_ended_left_nothing(world):
    _runs(world)
    _vanish(world)
    world.step()
    assert world.condition["message"] == 'pod "run-pod" vanished before its results were read'
