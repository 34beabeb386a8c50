"""A Step whose container runs on after the Step has recorded its end: a bounded wait, and an end by name."""

import hashlib
from typing import Any

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import PODS
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw_sidecar import wire

STEPS = ("build", "push")
FORMS = ("native", "plain")


def _begun(form: str, backend: str = "sidecar-logs") -> TaskRunHarness:
    flags = {"results-from": backend}
    if backend != "termination-message":
        flags[f"config.{backend}"] = f"sidecar: {form}"
    harness = TaskRunHarness(flags)
    task = {
        "results": [{"name": "digest", "type": "string"}],
        "steps": [{"name": name, "image": "i", "script": "true"} for name in STEPS],
    }
    harness.submit(taskSpec=task)
    harness.reconcile()
    sidecar = {} if backend == "termination-message" else {SIDECAR: harness.running()}
    harness.kubelet("Running", {f"step-{name}": harness.running() for name in STEPS} | sidecar)
    harness.reconcile()
    return harness


def _said(harness: TaskRunHarness, form: str) -> Any:
    """The state of a sidecar that has said all while a Step's container runs: a native one runs again."""
    return harness.ended() if form == "plain" else {"waiting": {"reason": "CrashLoopBackOff"}}


def _sidecar_has_said_all(
    harness: TaskRunHarness, form: str, value: str | None = "d", **refusal: Any
) -> None:
    harness.sidecar_prints(value)
    if refusal:
        uid = harness.pod()["metadata"]["uid"]
        lines = wire.start_line(uid, wire.WATCH_POLL) + wire.refused_line(
            "digest", wire.TYPE_TASK, wire.NOT_REGULAR_FILE, "a FIFO, not a regular file"
        )
        digest = hashlib.sha256(lines).hexdigest()
        harness.cluster.logs[SIDECAR] = lines + wire.end_line(uid, 2, digest, wire.WHY_STEPS_DONE)
    harness.kubelet(
        "Running",
        {"step-build": harness.ended(), "step-push": harness.running(), SIDECAR: _said(harness, form)},
    )
    if form == "native":
        listed = harness.pod()["status"]["initContainerStatuses"]
        again = [{**one, "lastState": harness.ended(), "restartCount": 1} for one in listed]
        patch = {"status": {"initContainerStatuses": again}}
        Store.patch(harness.cluster, PODS, "default", "run-pod", patch, subresource="status")


def _stopped(harness: TaskRunHarness, form: str) -> None:
    """The kubelet ends what still ran."""
    assert harness.pod()["spec"]["activeDeadlineSeconds"] == 1
    states = {"step-build": harness.ended(), "step-push": harness.ended(137), SIDECAR: harness.ended()}
    harness.kubelet("Failed", states, reason="DeadlineExceeded", message="Pod was active too long")
    harness.reconcile()


@pytest.mark.parametrize("form", FORMS)
def test_a_step_that_never_ends_after_all_was_said_is_ended_by_name_and_its_results_kept(form):
    """Guarantees 1 and 5: on the old code the run was Running until its timeout, an hour later."""
    harness = _begun(form)
    _sidecar_has_said_all(harness, form)
    waits = harness.reconcile()
    if form == "plain":
        assert waits == pytest.approx(60, abs=1)
        assert "resultsfw.dev/stopped" not in harness.pod()["metadata"]["annotations"]
        harness.clock.forward(61)
        harness.reconcile()
    _stopped(harness, form)
    assert is_done(harness.taskrun)
    assert harness.condition["status"] == "False"
    assert harness.condition["reason"] == "TaskRunStepNotEnded"
    assert '"step-push"' in harness.condition["message"]
    assert harness.taskrun["status"]["results"][0]["value"] == "d"
    (push,) = [step for step in harness.taskrun["status"]["steps"] if step["name"] == "push"]
    assert push["terminated"]["reason"] == "TaskRunStepNotEnded"


@pytest.mark.parametrize("form", FORMS)
def test_what_is_wrong_with_the_result_is_the_verdict_where_something_is(form):
    harness = _begun(form)
    _sidecar_has_said_all(harness, form, refused=True)
    harness.clock.forward(61)
    harness.reconcile()
    _stopped(harness, form)
    assert harness.condition["reason"] == "TaskRunResultRefused"
    assert '"digest"' in harness.condition["message"]
    assert "FIFO" in harness.condition["message"]


@pytest.mark.parametrize("form", FORMS)
def test_a_controller_that_restarts_after_the_stop_comes_to_the_same_verdict(form):
    harness = _begun(form)
    _sidecar_has_said_all(harness, form)
    harness.clock.forward(61)
    harness.reconcile()
    harness.restart()
    _stopped(harness, form)
    assert harness.condition["reason"] == "TaskRunStepNotEnded"


def test_a_step_that_ends_within_the_wait_is_judged_by_its_own_end():
    harness = _begun("plain")
    _sidecar_has_said_all(harness, "plain")
    harness.reconcile()
    harness.clock.forward(5)
    states = {"step-build": harness.ended(), "step-push": harness.ended(), SIDECAR: harness.ended()}
    harness.kubelet("Succeeded", states)
    harness.reconcile()
    assert harness.condition["status"] == "True"


def test_a_sidecar_that_failed_says_nothing_of_the_steps():
    """The Steps may still work; how its log is judged is decided when they have ended."""
    harness = _begun("plain")
    states = {"step-build": harness.ended(), "step-push": harness.running(), SIDECAR: harness.ended(137)}
    harness.kubelet("Running", states)
    harness.clock.forward(600)
    harness.reconcile()
    assert "resultsfw.dev/stopped" not in harness.pod()["metadata"]["annotations"]
    assert harness.condition["status"] == "Unknown"


def test_without_a_sidecar_a_later_steps_end_shows_that_an_earlier_one_does_not_end():
    """By termination message: Tekton's entrypoint opens a FIFO before it writes the message."""
    harness = _begun("", "termination-message")
    harness.kubelet("Running", {"step-build": harness.running(), "step-push": harness.ended()})
    harness.reconcile()
    assert "resultsfw.dev/stopped" not in harness.pod()["metadata"]["annotations"]
    harness.clock.forward(61)
    harness.reconcile()
    assert harness.pod()["spec"]["activeDeadlineSeconds"] == 1
    states = {"step-build": harness.ended(137), "step-push": harness.ended()}
    harness.kubelet("Failed", states, reason="DeadlineExceeded")
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunStepNotEnded"
    assert '"step-build"' in harness.condition["message"]


def test_steps_that_wait_their_turn_are_not_taken_for_ones_that_do_not_end():
    harness = _begun("", "termination-message")
    harness.kubelet("Running", {"step-build": harness.ended(), "step-push": harness.running()})
    harness.clock.forward(1000)
    harness.reconcile()
    assert "resultsfw.dev/stopped" not in harness.pod()["metadata"]["annotations"]
