"""A TaskRun from its creation to its verdict, over a real store; tests play the kubelet."""

import copy
import logging

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import Kind, Object
from resultsfw.errors import (
    ConflictError,
)
from resultsfw.tekton.api.kinds import TASKRUNS


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness()


def test_from_creation_to_results(harness):
    harness.submit()
    harness.reconcile()
    status = harness.taskrun["status"]
    assert status["podName"] == "run-pod"
    assert status["startTime"] == harness.at()
    assert status["provenance"]["featureFlags"]["resultExtractionMethod"] == "sidecar-logs"
    assert harness.taskrun["metadata"]["annotations"]["resultsfw.dev/stamp"] == "sidecar-logs/1"
    harness.kubelet("Running", {"step-build": harness.running(), SIDECAR: harness.running()})
    harness.reconcile()
    assert harness.pod()["metadata"]["annotations"]["tekton.dev/ready"] == "READY"
    assert harness.condition["reason"] == "Running"
    harness.finish()
    assert harness.reconcile() is None
    assert harness.condition["status"] == "True"
    assert harness.taskrun["status"]["results"] == [{"name": "digest", "type": "string", "value": "d"}]
    assert harness.taskrun["status"]["steps"][0]["terminated"]["exitCode"] == 0


def test_nothing_is_written_when_nothing_changed(harness):
    harness.submit()
    harness.reconcile()
    harness.kubelet("Running", {"step-build": harness.running(), SIDECAR: harness.running()})
    harness.reconcile()
    harness.reconcile()
    version = harness.taskrun["metadata"]["resourceVersion"]
    harness.clock.forward(5)
    harness.reconcile()
    assert harness.taskrun["metadata"]["resourceVersion"] == version


def test_a_conflict_is_raised_to_the_caller(harness):
    harness.submit()
    harness.reconcile()
    harness.kubelet("Running", {"step-build": harness.running(), SIDECAR: harness.running()})
    read = harness.cluster.get

    def stale(kind: Kind, namespace: str, name: str) -> Object:
        found = read(kind, namespace, name)
        if kind == TASKRUNS:
            found["metadata"]["resourceVersion"] = "1"
        return found

    harness.cluster.get = stale
    with pytest.raises(ConflictError):
        harness.reconcile()


def test_a_step_that_fails_keeps_the_results(harness):
    harness.submit()
    harness.reconcile()
    harness.finish("kept", code=3)
    harness.reconcile()
    assert harness.condition["reason"] == "StepFailed"
    assert harness.condition["message"] == '"step-build" exited with code 3: Error'
    assert harness.taskrun["status"]["results"][0]["value"] == "kept"


def test_a_failure_that_its_pipeline_ignores_says_so(harness):
    harness.submit(annotations={"pipeline.tekton.dev/pipeline-task-on-error": "continue"})
    harness.reconcile()
    harness.finish("kept", code=3)
    harness.reconcile()
    told = (harness.condition["status"], harness.condition["reason"], harness.condition["message"])
    assert told == ("False", "FailureIgnored", '"step-build" exited with code 3: Error')
    assert harness.taskrun["status"]["results"][0]["value"] == "kept"


def test_a_run_is_requeued_for_its_deadline(harness):
    harness.start_pod(timeout="90s")
    harness.clock.forward(11)
    harness.reconcile()
    assert harness.reconcile() == pytest.approx(80)  # a second more: the start is stored without its fraction


def test_a_pod_whose_steps_do_not_end_within_10_s_of_the_ready_annotation_is_changed_once_more(harness):
    """A kubelet that missed the annotation syncs the pod a minute later, or at once if the pod changes."""
    harness.start_pod()
    before = harness.pod()["metadata"]
    assert before["annotations"]["tekton.dev/ready"] == "READY"
    assert harness.reconcile() == pytest.approx(10)
    assert harness.pod()["metadata"] == before
    harness.clock.forward(10)
    harness.reconcile()
    after = harness.pod()["metadata"]
    assert after["annotations"]["tekton.dev/ready"] == "READY"
    assert after["resourceVersion"] != before["resourceVersion"]
    harness.clock.forward(10)
    harness.reconcile()
    assert harness.pod()["metadata"] == after


def test_a_pod_one_of_whose_steps_has_ended_is_not_changed_again(harness):
    harness.submit()
    harness.reconcile()
    harness.kubelet("Running", {"step-build": harness.running(), SIDECAR: harness.running()})
    harness.reconcile()
    harness.kubelet("Running", {"step-build": harness.ended(), SIDECAR: harness.running()})
    before = harness.pod()["metadata"]
    harness.clock.forward(20)
    harness.reconcile()
    assert harness.pod()["metadata"] == before


def test_a_run_that_does_not_exist_is_not_requeued(harness):
    assert harness.reconcile() is None


def test_the_objects_read_are_not_changed(harness, caplog):
    caplog.set_level(logging.DEBUG)
    harness.submit()
    before = copy.deepcopy(harness.taskrun["spec"])
    harness.reconcile()
    assert harness.taskrun["spec"] == before
