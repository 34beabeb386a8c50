"""Pods that are gone before their results were read."""

from typing import Any

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import PODS


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness({"results-from": "sidecar-logs", "config.sidecar-logs": "sidecar: plain"})


@pytest.fixture
def messages() -> TaskRunHarness:
    return TaskRunHarness({"results-from": "termination-message"})


def _runs(harness: TaskRunHarness, **spec: Any) -> None:
    harness.submit(**spec)
    harness.reconcile()
    states = {"step-build": harness.running(), "step-push": harness.running(), SIDECAR: harness.running()}
    harness.kubelet("Running", states)
    harness.reconcile()


TWO_STEPS = {
    "results": [{"name": "digest", "type": "string"}, {"name": "late", "type": "string"}],
    "steps": [
        {"name": "build", "image": "i", "script": "true"},
        {"name": "push", "image": "i", "script": "true"},
    ],
}


def _vanish(harness: TaskRunHarness) -> None:
    harness.cluster.delete(PODS, "default", "run-pod", grace_seconds=0)


def test_results_that_had_arrived_outlive_a_pod_that_vanished(messages):
    """The first Step's message stands in the run's status since that Step ended."""
    _runs(messages, taskSpec=TWO_STEPS)
    message = '[{"key":"digest","value":"early","type":1},{"key":"StartedAt","value":"x","type":3}]'
    states = {"step-build": messages.ended(message=message), "step-push": messages.running()}
    messages.kubelet("Running", states)
    messages.reconcile()
    _vanish(messages)
    messages.reconcile()
    assert messages.condition["reason"] == "TaskRunPodDeleted"
    assert messages.condition["message"] == 'pod "run-pod" vanished before its results were read'
    results = {one["name"]: one["value"] for one in messages.taskrun["status"]["results"]}
    assert results == {"digest": "early"}
    first, second = messages.taskrun["status"]["steps"]
    assert first["terminated"]["exitCode"] == 0
    assert second["terminated"]["reason"] == "TaskRunPodDeleted"


def test_what_redaction_kept_out_of_the_status_is_told_of_a_pod_that_vanished():
    flags = {"results-from": "termination-message", "extensions": "redact"}
    harness = TaskRunHarness({**flags, "config.redact": "patterns: {e: ear}"})
    _runs(harness, taskSpec=TWO_STEPS)
    message = '[{"key":"digest","value":"early","type":1}]'
    harness.kubelet("Running", {"step-build": harness.ended(message=message), "step-push": harness.running()})
    harness.reconcile()
    assert "early" not in str(harness.taskrun["status"])
    _vanish(harness)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunPodDeleted"
    assert harness.condition["message"].endswith(
        """; "redact" keeps Steps' messages out of the status: results in them went with it"""
    )
    assert "results" not in harness.taskrun["status"]


def test_messages_from_before_redaction_was_switched_on_do_not_outlive_a_pod_that_vanished(messages):
    _runs(messages, taskSpec=TWO_STEPS)
    message = '[{"key":"digest","value":"early","type":1}]'
    messages.kubelet(
        "Running", {"step-build": messages.ended(message=message), "step-push": messages.running()}
    )
    messages.reconcile()
    assert "early" in str(messages.taskrun["status"])
    _vanish(messages)
    messages.flags = {**messages.flags, "extensions": "redact", "config.redact": "patterns: {e: ear}"}
    messages.restart()
    messages.reconcile()
    assert messages.taskrun["status"]["results"][0]["value"] == "[redacted:e]ly"
    assert "early" not in str(messages.taskrun["status"])


def test_a_log_that_vanished_with_its_pod_is_told(harness):
    _runs(harness, taskSpec=TWO_STEPS)
    harness.kubelet("Running", {"step-build": harness.ended(), "step-push": harness.running()})
    harness.reconcile()
    _vanish(harness)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunPodDeleted"
    assert "could not be read" in harness.condition["message"]
    assert "results" not in harness.taskrun["status"]


def test_a_pod_that_vanished_before_any_step_ended_left_nothing(harness):
    _runs(harness)
    _vanish(harness)
    harness.reconcile()
    assert harness.condition["message"] == 'pod "run-pod" vanished before its results were read'
