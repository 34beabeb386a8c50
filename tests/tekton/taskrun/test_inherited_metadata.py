"""Labels and annotations that a TaskRun gets from its Task."""

from taskrun_harness import TaskRunHarness

from resultsfw.local.store import Store
from resultsfw.tekton.api.kinds import TASKRUNS, TASKS

STEP = {"name": "s", "image": "i", "script": "true"}


def document(kind="TaskRun", **spec):
    return {"apiVersion": "tekton.dev/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}


def test_labels_and_annotations_of_a_task_pass_to_its_run_and_pod():
    """As Tekton passes them; what the run says itself wins, and notes of the controller do not pass."""
    harness = TaskRunHarness()
    task = document("Task", steps=[STEP], results=[{"name": "digest"}])
    task["metadata"] = {
        "name": "t",
        "namespace": "default",
        "labels": {"team": "a", "tier": "x"},
        "annotations": {
            "doc": "d",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "resultsfw.dev/stamp": "forged/1",
        },
    }
    Store.create(harness.cluster, TASKS, task)
    harness.submit(taskSpec=None, taskRef={"name": "t"})
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"metadata": {"labels": {"tier": "own"}}})
    harness.reconcile()
    run, pod = harness.taskrun["metadata"], harness.pod()["metadata"]
    for labels in (run["labels"], pod["labels"]):
        assert {key: labels[key] for key in ("team", "tier", "tekton.dev/task")} == {
            "team": "a",
            "tier": "own",
            "tekton.dev/task": "t",
        }
    assert run["annotations"]["doc"] == pod["annotations"]["doc"] == "d"
    assert "kubectl.kubernetes.io/last-applied-configuration" not in run["annotations"]
    assert run["annotations"]["resultsfw.dev/stamp"] == "sidecar-logs/1"


def test_a_run_that_has_its_tasks_labels_is_not_written_again():
    harness = TaskRunHarness()
    task = document("Task", steps=[STEP], results=[{"name": "digest"}])
    task["metadata"] = {"name": "t", "namespace": "default", "labels": {"team": "a"}}
    Store.create(harness.cluster, TASKS, task)
    harness.submit(taskSpec=None, taskRef={"name": "t"})
    labels = {"team": "b", "tekton.dev/task": "t"}
    Store.patch(harness.cluster, TASKRUNS, "default", "run", {"metadata": {"labels": labels}})
    harness.reconcile()
    assert harness.cluster.calls.count(("patch", "TaskRun")) == 1  # the stamp
    assert harness.pod()["metadata"]["labels"]["team"] == "b"
