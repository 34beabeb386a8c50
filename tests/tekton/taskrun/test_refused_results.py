"""Results that the entrypoint refused: the verdict is about them, unless a Step failed by itself."""

import pytest
from taskrun_harness import TaskRunHarness


def _ends_with(harness: TaskRunHarness, message: str) -> None:
    harness.submit(annotations={"resultsfw.dev/results-from": "termination-message"})
    harness.reconcile()
    harness.kubelet("Failed", {"step-build": harness.ended(1, message=message)})
    harness.reconcile()


REASON = '{"key":"Reason","value":"ResultsRefused","type":3}'


REFUSAL = (
    r'{"key":"ResultsRefused","value":"[{\"name\":\"digest\",\"type\":1,\"bytes\":5000,'
    r'\"limit\":4096,\"reason\":\"TooLarge\"}]","type":3}'
)


@pytest.fixture
def messages() -> TaskRunHarness:
    return TaskRunHarness({"results-from": "termination-message"})


def test_a_container_that_failed_for_its_results_alone_is_no_failed_step(messages):
    """Otherwise the condition would say "exited with code 1" first (Tekton's #4060)."""
    _ends_with(messages, f"[{REASON},{REFUSAL}]")
    assert messages.condition["reason"] == "TaskRunResultLargerThanAllowedLimit"
    assert '"digest" has 5000 bytes' in messages.condition["message"]
    assert "4096 bytes" in messages.condition["message"]


def test_a_step_that_failed_by_itself_is_the_cause_and_its_refused_results_are_named_too(messages):
    _ends_with(messages, f"[{REFUSAL}]")
    assert messages.condition["reason"] == "StepFailed"
    assert '"digest" has 5000 bytes' in messages.condition["message"]


def test_a_step_cannot_forge_its_own_success(messages):
    """Guarantee 7: entries that a Step writes itself do not turn its failure into anything else."""
    _ends_with(messages, f"[{REASON}]")
    assert messages.condition["reason"] == "StepFailed"
    assert messages.condition["message"] == '"step-build" exited with code 1: Error'
