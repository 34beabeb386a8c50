"""Which backend carries the results of a run: by the flags, by the run, by the stamp of its pod."""

import pytest
from taskrun_harness import TaskRunHarness

from resultsfw import PODS


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness()


def test_the_flag_flipped_while_a_pod_runs_does_not_change_how_it_is_read(harness):
    harness.submit()
    harness.reconcile()
    harness.flags = {"results-from": "termination-message", "max-result-size": "1"}
    harness.restart()
    harness.finish("longer than one byte")
    harness.reconcile()
    assert harness.taskrun["status"]["results"][0]["value"] == "longer than one byte"
    assert harness.taskrun["status"]["provenance"]["featureFlags"]["resultExtractionMethod"] == "sidecar-logs"


def test_a_run_may_choose_an_allowed_backend():
    harness = TaskRunHarness({"results-from": "sidecar-logs", "allowed-results-from": "termination-message"})
    harness.submit(annotations={"resultsfw.dev/results-from": "termination-message"})
    harness.reconcile()
    assert harness.pod()["metadata"]["annotations"]["resultsfw.dev/stamp"] == "termination-message/0"


def test_a_run_that_chooses_another_backend_is_refused_before_any_pod(harness):
    harness.submit(annotations={"resultsfw.dev/results-from": "termination-message"})
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert "allowed-results-from" in harness.condition["message"]
    assert harness.cluster.list(PODS) == []
