"""Runs by their own status: annotations become results, and none is left in the status or in an attempt's."""

import json

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import PODS
from resultsfw.errors import ConflictError
from resultsfw.limits import OBJECT_CAPACITY, object_size
from resultsfw.local.store import Store
from resultsfw.result_annotations import RESULT_ANNOTATIONS
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw_sidecar import wire
from resultsfw_transports.api_object import proof

FLAGS = {"results-from": "self-update", "max-result-size": "1572864"}


def deliver(harness, value, *, attempt=0, pod="run-pod"):
    """What the sidecar writes when the Steps have ended; returns its termination message."""
    uid = harness.pod(pod)["metadata"]["uid"]
    start = wire.start_line(uid, wire.WATCH_POLL)
    lines = [start, wire.kept_line("digest", value.encode(), wire.TYPE_TASK, "digest")]
    digest = proof(b"".join(lines)).removeprefix("sha256:")
    records = b"".join([*lines, wire.end_line(uid, 2, digest, wire.WHY_STEPS_DONE)])
    prefix = f"{RESULT_ANNOTATIONS}{attempt}."
    annotations = {f"{prefix}records": records.decode(), f"{prefix}text.digest": value}
    patch = {"status": {"annotations": annotations}}
    Store.patch(harness.cluster, TASKRUNS, "default", "run", patch, subresource="status")
    return proof(records)


def end(harness, message, code=0, pod="run-pod"):
    ended = {"step-build": harness.ended(code), SIDECAR: harness.ended(message=message)}
    harness.kubelet("Failed" if code else "Succeeded", ended, name=pod)


def test_a_status_has_results_and_no_annotation_of_ours():
    harness = TaskRunHarness(FLAGS)
    harness.submit()
    harness.reconcile()
    theirs = {"status": {"annotations": {"theirs": "kept"}}}
    Store.patch(harness.cluster, TASKRUNS, "default", "run", theirs, subresource="status")
    end(harness, deliver(harness, "d"))
    harness.reconcile()
    status = harness.taskrun["status"]
    assert status["results"] == [{"name": "digest", "type": "string", "value": "d"}]
    assert status["annotations"] == {"theirs": "kept"}


def test_a_value_is_not_counted_twice():
    """It is in the status while its result is written; together they would exceed an object."""
    harness = TaskRunHarness(FLAGS)
    harness.submit()
    harness.reconcile()
    end(harness, deliver(harness, "x" * 1_000_000))
    harness.reconcile()
    assert harness.condition["status"] == "True", harness.condition
    assert 1_000_000 < object_size(harness.taskrun) < OBJECT_CAPACITY


def test_each_attempt_has_its_own_and_leaves_none():
    harness = TaskRunHarness(FLAGS)
    harness.submit(retries=1)
    harness.reconcile()
    end(harness, deliver(harness, "first"), code=1)
    assert harness.reconcile() == 0
    assert RESULT_ANNOTATIONS not in json.dumps(harness.taskrun["status"])
    assert harness.taskrun["status"]["retriesStatus"][0]["results"][0]["value"] == "first"
    harness.reconcile()
    end(harness, deliver(harness, "second", attempt=1, pod="run-pod-retry1"), pod="run-pod-retry1")
    harness.reconcile()
    assert harness.taskrun["status"]["results"][0]["value"] == "second"
    assert RESULT_ANNOTATIONS not in json.dumps(harness.taskrun["status"])


def test_a_run_whose_pod_vanished_leaves_none():
    harness = TaskRunHarness(FLAGS)
    harness.submit()
    harness.reconcile()
    deliver(harness, "d")
    Store.delete(harness.cluster, PODS, "default", "run-pod", grace_seconds=0)
    harness.reconcile()
    assert harness.condition["status"] == "False"
    assert RESULT_ANNOTATIONS not in json.dumps(harness.taskrun["status"])


def test_a_write_of_the_pod_between_read_and_write_is_not_lost():
    """The controller's patch is conditional on the version that it read."""
    harness = TaskRunHarness(FLAGS)
    harness.submit()
    harness.reconcile()
    harness.kubelet("Running", {"step-build": harness.running(), SIDECAR: harness.running()})
    patch, met = harness.cluster.patch, []

    def racing(kind, namespace, name, change, *, subresource=""):
        if kind == TASKRUNS and not met:
            met.append(deliver(harness, "d"))
        return patch(kind, namespace, name, change, subresource=subresource)

    harness.cluster.patch = racing
    with pytest.raises(ConflictError):  # it reads again
        harness.reconcile()
    end(harness, met[0])
    harness.reconcile()
    assert harness.taskrun["status"]["results"][0]["value"] == "d"
