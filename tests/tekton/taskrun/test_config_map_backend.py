"""Runs by ConfigMap under a controller that is killed anywhere: objects made before the pod, read, purged."""

import copy
import json

import pytest
from taskrun_harness import SIDECAR, TaskRunHarness

from resultsfw import CONFIG_MAPS, PODS
from resultsfw.local.rbac import ROLE_BINDINGS, ROLES
from resultsfw.local.store import Store
from resultsfw_sidecar import wire
from resultsfw_transports.config_map import RECORDS, proof

FLAGS = {"results-from": "config-map"}


def deliver(harness, value="d"):
    """What the sidecar writes when the Steps have ended; returns its termination message."""
    uid = harness.pod()["metadata"]["uid"]
    lines = [
        wire.start_line(uid, wire.WATCH_POLL),
        wire.kept_line("digest", value.encode(), wire.TYPE_TASK, "digest"),
    ]
    digest = proof(b"".join(lines)).removeprefix("sha256:")
    records = b"".join([*lines, wire.end_line(uid, 2, digest, wire.WHY_STEPS_DONE)])
    name = f"resultsfw-{harness.taskrun['metadata']['uid']}-0"
    metadata = {"annotations": {RECORDS: records.decode()}}
    patch = {"metadata": metadata, "data": {"digest": value}, "immutable": True}
    Store.patch(harness.cluster, CONFIG_MAPS, "default", name, patch)
    return proof(records)


def finish(harness):
    message = deliver(harness)
    ended = {"step-build": harness.ended(), SIDECAR: harness.ended(message=message)}
    harness.kubelet("Succeeded", ended)


def told(harness):
    """The status without the digest: the pod's uid, which is another each time, is in what it is of."""
    status = copy.deepcopy(harness.taskrun["status"])
    assert status["sidecars"][0]["terminated"].pop("message").startswith("sha256:")
    return status


def left(harness):
    return [one for kind in (CONFIG_MAPS, ROLES, ROLE_BINDINGS) for one in harness.cluster.list(kind)]


@pytest.mark.slow
def test_killed_at_any_call_and_started_again_it_comes_to_the_same_end():
    """Guarantee 4: no second pod, the same status, and nothing left when the run is looked at once more."""
    whole = TaskRunHarness(FLAGS)
    whole.submit()
    whole.drive(finish)
    wanted = told(whole)
    assert whole.condition["status"] == "True"
    assert wanted["results"] == [{"name": "digest", "type": "string", "value": "d"}]
    assert left(whole) == []
    calls = list(whole.cluster.calls)
    assert ("create", "RoleBinding") in calls
    for call in range(1, len(calls) + 1):
        harness = TaskRunHarness(FLAGS)
        harness.clock.now = whole.clock.now
        harness.cluster.fail_at = call
        harness.submit()
        harness.drive(finish)
        assert told(harness) == wanted, f"killed at call {call}, {calls[call - 1]}"
        assert len(harness.cluster.list(PODS)) == 1
        harness.reconcile()
        assert left(harness) == [], f"killed at call {call}, {calls[call - 1]}"


def test_a_run_with_somebody_elses_config_map_in_its_way_ends_by_name_without_a_pod():
    harness = TaskRunHarness(FLAGS)
    harness.submit()
    name = f"resultsfw-{harness.taskrun['metadata']['uid']}-0"
    Store.create(harness.cluster, CONFIG_MAPS, {"metadata": {"name": name, "namespace": "default"}})
    harness.reconcile()
    assert harness.condition["status"] == "False"
    assert f"ConfigMap default/{name} exists and is not of this run" in harness.condition["message"]
    assert harness.cluster.list(PODS) == []


def test_a_task_of_too_many_results_ends_by_name_without_a_pod():
    harness = TaskRunHarness(FLAGS)
    results = [{"name": f"result-{number}", "type": "string"} for number in range(1000)]
    steps = [{"name": "build", "image": "i", "script": "true"}]
    harness.submit(taskSpec={"results": results, "steps": steps})
    harness.reconcile()
    assert harness.condition["status"] == "False"
    assert "declares 1000 results" in harness.condition["message"]
    assert left(harness) == []


def test_a_flag_flipped_while_the_pod_runs_changes_nothing_of_how_it_is_read_and_purged():
    harness = TaskRunHarness(FLAGS)
    harness.submit()
    harness.reconcile()
    harness.flags = {"results-from": "termination-message"}
    harness.restart()
    finish(harness)
    harness.reconcile()
    assert harness.taskrun["status"]["results"][0]["value"] == "d"
    assert left(harness) == []


def test_the_values_of_a_run_are_in_no_object_but_its_config_map_and_its_status():
    harness = TaskRunHarness(FLAGS)
    harness.submit()
    harness.reconcile()
    deliver(harness, "a-secret")
    assert "a-secret" not in json.dumps([harness.cluster.list(PODS), harness.taskrun])
