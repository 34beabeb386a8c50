"""How a run gets its pod, and what becomes of it if it gets none."""

from typing import Any

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import PODS, Kind, Object
from resultsfw.errors import (
    ClusterError,
    ConflictError,
    ForbiddenError,
    ResultsError,
)
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS, TASKS


@pytest.fixture
def harness() -> TaskRunHarness:
    return TaskRunHarness()


def test_a_task_is_found_by_its_name(harness):
    spec = {"results": [{"name": "digest"}], "steps": [{"name": "build", "image": "i", "command": ["true"]}]}
    task = {"metadata": {"name": "t", "namespace": "default"}, "spec": spec}
    harness.cluster.create(TASKS, {"apiVersion": "tekton.dev/v1", "kind": "Task", **task})
    harness.submit(taskSpec=None, taskRef={"name": "t"})
    harness.reconcile()
    assert harness.taskrun["status"]["taskSpec"]["steps"][0]["name"] == "build"


def test_a_task_that_is_not_there_ends_the_run(harness):
    harness.submit(taskSpec=None, taskRef={"name": "none"})
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunResolutionFailed"
    assert '"none"' in harness.condition["message"]


def test_a_run_whose_pods_name_is_taken_fails_and_leaves_that_pod_alone(harness):
    harness.submit()
    harness.create_foreign_pod()
    harness.reconcile()
    assert harness.condition["reason"] == "PodCreationFailed"
    assert "does not belong to this run" in harness.condition["message"]


def test_a_run_refused_leaves_no_pod(harness):
    task = {"results": [{"name": "a"}, {"name": "a"}], "steps": [{"image": "i", "script": "true"}]}
    harness.submit(taskSpec=task)
    harness.reconcile()
    assert is_done(harness.taskrun)
    assert harness.condition["status"] == "False"
    assert harness.cluster.list(PODS) == []


def test_tektons_controller_has_no_reason_to_look_at_our_pods(harness):
    """It takes up the TaskRun of any pod with this label, whoever manages it (decision 0006)."""
    harness.submit()
    labels = {"app.kubernetes.io/managed-by": "tekton-pipelines", "team": "a"}
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"metadata": {"labels": labels}})
    harness.reconcile()
    assert harness.pod()["metadata"]["labels"] == {
        "team": "a",
        "tekton.dev/taskRun": "run",
        "tekton.dev/taskRunUID": harness.taskrun["metadata"]["uid"],
    }


def test_annotations_of_ours_on_a_run_are_not_its_pods(harness):
    """A user cannot stamp a pod, or mark it as stopped, through the run."""
    forged = {
        "resultsfw.dev/stopped": "2026-01-01T00:00:00Z x",
        "resultsfw.dev/stamp": "other/9",
        "note": "n",
    }
    harness.submit(annotations=forged)
    harness.reconcile()
    annotations = harness.pod()["metadata"]["annotations"]
    assert "resultsfw.dev/stopped" not in annotations
    assert annotations["resultsfw.dev/stamp"] == "sidecar-logs/1"
    assert annotations["note"] == "n"


def test_a_container_that_can_never_start_ends_the_run_at_once(harness):
    """Seen on a real cluster: an image that runs as root under runAsNonRoot would wait for the timeout."""
    harness.submit()
    harness.reconcile()
    why = {
        "reason": "CreateContainerConfigError",
        "message": "container has runAsNonRoot and image will run as root",
    }
    harness.kubelet("Pending", {"step-build": harness.running(), SIDECAR: {"waiting": why}})
    harness.reconcile()
    assert harness.pod()["spec"]["activeDeadlineSeconds"] == 1
    assert harness.condition["reason"] == "CreateContainerConfigError"
    assert 'the sidecar "tekton-log-results"' in harness.condition["message"]
    assert "container has runAsNonRoot and image will run as root" in harness.condition["message"]


def _creating_fails(harness: TaskRunHarness, error: ResultsError) -> None:
    create = harness.cluster.create

    def refuse(kind: Kind, obj: Object) -> Object:
        if kind == PODS:
            raise error
        return create(kind, obj)

    harness.cluster.create = refuse


def test_a_pod_the_server_calls_invalid_ends_the_run(harness):
    harness.submit()
    _creating_fails(harness, ClusterError("Pod is invalid: spec.containers[0].image: Required value"))
    harness.reconcile()
    assert harness.condition["reason"] == "PodCreationFailed"
    assert "Required value" in harness.condition["message"]


def test_a_pod_that_may_not_be_made_is_waited_for_until_the_timeout_and_says_why(harness):
    """A quota may free itself; a Pod Security level does not: the run must not wait for ever."""
    harness.submit(timeout="90s")
    _creating_fails(harness, ForbiddenError("exceeded quota: pods"))
    with pytest.raises(ForbiddenError):
        harness.reconcile()
    assert harness.condition["status"] == "Unknown"
    assert "exceeded quota" in harness.condition["message"]
    harness.clock.forward(91)
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunTimeout"


def test_a_cancel_that_came_while_the_pod_was_prepared_is_seen_first(harness):
    harness.submit()
    prepare = harness.reconciler.core.prepare_pod

    def meanwhile(*arguments: Any, **more: Any) -> Object:
        Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
        return prepare(*arguments, **more)

    harness.reconciler.core.prepare_pod = meanwhile
    with pytest.raises(ConflictError):
        harness.reconcile()
    harness.reconcile()
    assert harness.condition["reason"] == "TaskRunCancelled"
    assert harness.cluster.list(PODS) == []


def test_a_strangers_pod_made_after_a_cancelled_run_is_not_deleted(harness):
    harness.start_pod()
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"spec": {"status": "TaskRunCancelled"}})
    harness.reconcile()
    harness.sidecar_prints(None)
    harness.kubelet("Failed", {"step-build": harness.ended(143), SIDECAR: harness.ended()})
    harness.reconcile()
    assert harness.cluster.list(PODS) == []
    harness.create_foreign_pod()
    harness.reconcile()
    assert len(harness.cluster.list(PODS)) == 1
