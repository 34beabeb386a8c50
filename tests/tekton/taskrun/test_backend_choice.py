"""Which backend carries the results of a run: by the flags, by the run, by the stamp of its pod."""

import pytest
from taskrun_harness import TaskRunHarness

from resultsfw import PODS
from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import TASKS


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


def _submit_with_task(harness, chosen, **annotations):
    """Submit a run of a Task that chooses a backend."""
    task = {
        "apiVersion": "tekton.dev/v1",
        "kind": "Task",
        "metadata": {
            "name": "t",
            "namespace": "default",
            "annotations": {"resultsfw.dev/results-from": chosen},
        },
        "spec": {"steps": [{"name": "s", "image": "i", "script": "true"}], "results": [{"name": "digest"}]},
    }
    Store.create(harness.cluster, TASKS, task)
    harness.submit(taskSpec=None, taskRef={"name": "t"}, annotations=annotations)
    harness.reconcile()


ALLOWED = {"results-from": "sidecar-logs", "allowed-results-from": "termination-message"}


def test_a_task_may_choose_an_allowed_backend_for_its_runs():
    harness = TaskRunHarness(ALLOWED)
    _submit_with_task(harness, "termination-message")
    assert harness.pod()["metadata"]["annotations"]["resultsfw.dev/stamp"] == "termination-message/0"
    flags = harness.taskrun["status"]["provenance"]["featureFlags"]
    assert flags["resultExtractionMethod"] == "termination-message"


def test_the_choice_of_a_run_comes_before_that_of_its_task():
    harness = TaskRunHarness(ALLOWED)
    _submit_with_task(harness, "termination-message", **{"resultsfw.dev/results-from": "sidecar-logs"})
    assert harness.pod()["metadata"]["annotations"]["resultsfw.dev/stamp"] == "sidecar-logs/1"


def test_a_task_that_chooses_a_backend_that_no_flag_allows_imports_and_runs_nothing(harness):
    _submit_with_task(harness, "config-map")
    assert harness.condition["reason"] == "TaskRunValidationFailed"
    assert "allowed-results-from" in harness.condition["message"]
    assert harness.cluster.list(PODS) == []
