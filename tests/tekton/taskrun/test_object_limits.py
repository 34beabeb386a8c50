"""Runs and results that one API object cannot hold."""

import pytest
from taskrun_harness import TaskRunHarness

from resultsfw import PODS
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.tekton.api.conditions import is_done


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness()


def test_guarantee_2_results_that_one_object_cannot_hold_end_the_run_and_are_not_tried_again():
    """Guarantee 2: "request is too large" never loops; the message names the result, total and limit."""
    harness = TaskRunHarness({"results-from": "sidecar-logs", "max-result-size": "1572864"})
    harness.submit()
    harness.reconcile()
    harness.finish("x" * 1_565_000)
    assert harness.reconcile() is None
    assert harness.condition["reason"] == "TaskRunResultLargerThanAllowedLimit"
    assert '"digest"' in harness.condition["message"]
    assert str(OBJECT_BYTES) in harness.condition["message"]
    assert object_size(harness.taskrun) <= OBJECT_BYTES


def test_a_run_too_large_for_the_api_server_fails_with_reason_too_large():
    """Its spec takes more than half of an object, and the status repeats it."""
    harness = TaskRunHarness()
    script = "#" + "y" * 900_000
    task = {"results": [{"name": "digest"}], "steps": [{"name": "one", "image": "i", "script": script}]}
    harness.submit(taskSpec=task)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunResultLargerThanAllowedLimit"
    assert "make its Task" in harness.condition["message"]


def test_a_strangers_pod_is_not_deleted_with_a_run_too_large_for_its_server(harness):
    script = "#" + "y" * 900_000
    task = {"results": [{"name": "digest"}], "steps": [{"name": "one", "image": "i", "script": script}]}
    harness.submit(taskSpec=task)
    harness.create_foreign_pod()
    harness.reconcile()
    assert is_done(harness.taskrun)
    assert len(harness.cluster.list(PODS)) == 1
