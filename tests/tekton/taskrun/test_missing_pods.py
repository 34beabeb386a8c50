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


def _delete_at_once(harness: TaskRunHarness) -> None:
    harness.cluster.delete(PODS, "default", "run-pod", grace_seconds=0)


def test_results_in_the_status_are_kept_if_the_pod_is_gone(messages):
    """The first Step's message stands in the run's status since that Step ended."""
    _runs(messages, taskSpec=TWO_STEPS)
    message = '[{"key":"digest","value":"early","type":1},{"key":"StartedAt","value":"x","type":3}]'
    states = {"step-build": messages.ended(message=message), "step-push": messages.running()}
    messages.kubelet("Running", states)
    messages.reconcile()
    _delete_at_once(messages)
    messages.reconcile()
    assert messages.condition["reason"] == "TaskRunPodDeleted"
    assert messages.condition["message"] == 'pod "run-pod" vanished before its results were read'
    results = {one["name"]: one["value"] for one in messages.taskrun["status"]["results"]}
    assert results == {"digest": "early"}
    first, second = messages.taskrun["status"]["steps"]
    assert first["terminated"]["exitCode"] == 0
    assert second["terminated"]["reason"] == "TaskRunPodDeleted"


def test_the_condition_says_that_redaction_kept_results_out_of_the_status_if_the_pod_is_gone():
    flags = {"results-from": "termination-message", "extensions": "redact"}
    harness = TaskRunHarness({**flags, "config.redact": "patterns: {e: ear}"})
    _runs(harness, taskSpec=TWO_STEPS)
    message = '[{"key":"digest","value":"early","type":1}]'
    harness.kubelet("Running", {"step-build": harness.ended(message=message), "step-push": harness.running()})
    harness.reconcile()
    assert "early" not in str(harness.taskrun["status"])
    _delete_at_once(harness)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunPodDeleted"
    assert harness.condition["message"].endswith(
        """; "redact" keeps Steps' messages out of the status: results in them went with it"""
    )
    assert "results" not in harness.taskrun["status"]


def test_messages_from_before_redaction_was_enabled_are_removed_if_the_pod_is_gone(messages):
    _runs(messages, taskSpec=TWO_STEPS)
    message = '[{"key":"digest","value":"early","type":1}]'
    messages.kubelet(
        "Running", {"step-build": messages.ended(message=message), "step-push": messages.running()}
    )
    messages.reconcile()
    assert "early" in str(messages.taskrun["status"])
    _delete_at_once(messages)
    messages.flags = {**messages.flags, "extensions": "redact", "config.redact": "patterns: {e: ear}"}
    messages.restart()
    messages.reconcile()
    assert messages.taskrun["status"]["results"][0]["value"] == "[redacted:e]ly"
    assert "early" not in str(messages.taskrun["status"])


def test_the_condition_says_that_a_log_is_gone_with_its_pod(harness):
    _runs(harness, taskSpec=TWO_STEPS)
    harness.kubelet("Running", {"step-build": harness.ended(), "step-push": harness.running()})
    harness.reconcile()
    _delete_at_once(harness)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunPodDeleted"
    assert "could not be read" in harness.condition["message"]
    assert "results" not in harness.taskrun["status"]


def test_a_pod_that_is_gone_before_any_step_ended_leaves_no_results(harness):
    _runs(harness)
    _delete_at_once(harness)
    harness.reconcile()
    assert harness.condition["message"] == 'pod "run-pod" vanished before its results were read'
