"""A Step whose container runs on after the Step has recorded its end: a bounded wait, and an end by name."""

import hashlib
from typing import Any

import pytest
from world import SIDECAR, World

from resultsfw import PODS
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw_sidecar import wire

STEPS = ("build", "push")
FORMS = ("native", "plain")


def _begun(form: str, backend: str = "sidecar-logs") -> World:
    flags = {"results-from": backend}
    if backend != "termination-message":
        flags[f"config.{backend}"] = f"sidecar: {form}"
    world = World(flags)
    task = {
        "results": [{"name": "digest", "type": "string"}],
        "steps": [{"name": name, "image": "i", "script": "true"} for name in STEPS],
    }
    world.submit(taskSpec=task)
    world.step()
    sidecar = {} if backend == "termination-message" else {SIDECAR: world.running()}
    world.kubelet("Running", {f"step-{name}": world.running() for name in STEPS} | sidecar)
    world.step()
    return world


def _said(world: World, form: str) -> Any:
    """The state of a sidecar that has said all while a Step's container runs: a native one runs again."""
    return world.ended() if form == "plain" else {"waiting": {"reason": "CrashLoopBackOff"}}


def _sidecar_has_said_all(world: World, form: str, value: str | None = "d", **refusal: Any) -> None:
    world.sidecar_prints(value)
    if refusal:
        uid = world.pod()["metadata"]["uid"]
        lines = wire.start_line(uid, wire.WATCH_POLL) + wire.refused_line(
            "digest", wire.TYPE_TASK, wire.NOT_REGULAR_FILE, "a FIFO, not a regular file"
        )
        digest = hashlib.sha256(lines).hexdigest()
        world.cluster.logs[SIDECAR] = lines + wire.end_line(uid, 2, digest, wire.WHY_STEPS_DONE)
    world.kubelet(
        "Running",
        {"step-build": world.ended(), "step-push": world.running(), SIDECAR: _said(world, form)},
    )
    if form == "native":
        listed = world.pod()["status"]["initContainerStatuses"]
        again = [{**one, "lastState": world.ended(), "restartCount": 1} for one in listed]
        patch = {"status": {"initContainerStatuses": again}}
        Store.patch(world.cluster, PODS, "default", "run-pod", patch, subresource="status")


def _stopped(world: World, form: str) -> None:
    """The kubelet ends what still ran."""
    assert world.pod()["spec"]["activeDeadlineSeconds"] == 1
    states = {"step-build": world.ended(), "step-push": world.ended(137), SIDECAR: world.ended()}
    world.kubelet("Failed", states, reason="DeadlineExceeded", message="Pod was active too long")
    world.step()


@pytest.mark.parametrize("form", FORMS)
def test_a_step_that_never_ends_after_all_was_said_is_ended_by_name_and_its_results_kept(form):
    """Guarantees 1 and 5: on the old code the run was Running until its timeout, an hour later."""
    world = _begun(form)
    _sidecar_has_said_all(world, form)
    waits = world.step()
    if form == "plain":
        assert waits == pytest.approx(60, abs=1)
        assert "resultsfw.dev/stopped" not in world.pod()["metadata"]["annotations"]
        world.clock.forward(61)
        world.step()
    _stopped(world, form)
    assert is_done(world.taskrun)
    assert world.condition["status"] == "False"
    assert world.condition["reason"] == "TaskRunStepNotEnded"
    assert '"step-push"' in world.condition["message"]
    assert world.taskrun["status"]["results"][0]["value"] == "d"
    (push,) = [step for step in world.taskrun["status"]["steps"] if step["name"] == "push"]
    assert push["terminated"]["reason"] == "TaskRunStepNotEnded"


@pytest.mark.parametrize("form", FORMS)
def test_what_is_wrong_with_the_result_is_the_verdict_where_something_is(form):
    world = _begun(form)
    _sidecar_has_said_all(world, form, refused=True)
    world.clock.forward(61)
    world.step()
    _stopped(world, form)
    assert world.condition["reason"] == "TaskRunResultRefused"
    assert '"digest"' in world.condition["message"]
    assert "FIFO" in world.condition["message"]


@pytest.mark.parametrize("form", FORMS)
def test_a_controller_that_restarts_after_the_stop_comes_to_the_same_verdict(form):
    world = _begun(form)
    _sidecar_has_said_all(world, form)
    world.clock.forward(61)
    world.step()
    world.start()
    _stopped(world, form)
    assert world.condition["reason"] == "TaskRunStepNotEnded"


def test_a_step_that_ends_within_the_wait_is_judged_by_its_own_end():
    world = _begun("plain")
    _sidecar_has_said_all(world, "plain")
    world.step()
    world.clock.forward(5)
    states = {"step-build": world.ended(), "step-push": world.ended(), SIDECAR: world.ended()}
    world.kubelet("Succeeded", states)
    world.step()
    assert world.condition["status"] == "True"


def test_a_sidecar_that_failed_says_nothing_of_the_steps():
    """The Steps may still work; how its log is judged is decided when they have ended."""
    world = _begun("plain")
    states = {"step-build": world.ended(), "step-push": world.running(), SIDECAR: world.ended(137)}
    world.kubelet("Running", states)
    world.clock.forward(600)
    world.step()
    assert "resultsfw.dev/stopped" not in world.pod()["metadata"]["annotations"]
    assert world.condition["status"] == "Unknown"


def test_without_a_sidecar_a_later_steps_end_shows_that_an_earlier_one_does_not_end():
    """By termination message: Tekton's entrypoint opens a FIFO before it writes the message."""
    world = _begun("", "termination-message")
    world.kubelet("Running", {"step-build": world.running(), "step-push": world.ended()})
    world.step()
    assert "resultsfw.dev/stopped" not in world.pod()["metadata"]["annotations"]
    world.clock.forward(61)
    world.step()
    assert world.pod()["spec"]["activeDeadlineSeconds"] == 1
    states = {"step-build": world.ended(137), "step-push": world.ended()}
    world.kubelet("Failed", states, reason="DeadlineExceeded")
    world.step()
    assert world.condition["reason"] == "TaskRunStepNotEnded"
    assert '"step-build"' in world.condition["message"]


def test_steps_that_wait_their_turn_are_not_taken_for_ones_that_do_not_end():
    world = _begun("", "termination-message")
    world.kubelet("Running", {"step-build": world.ended(), "step-push": world.running()})
    world.clock.forward(1000)
    world.step()
    assert "resultsfw.dev/stopped" not in world.pod()["metadata"]["annotations"]
