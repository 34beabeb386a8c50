"""Runs by ConfigMap under a controller that is killed anywhere: objects made before the pod, read, purged."""

import copy
import json

import pytest
from world import SIDECAR, KilledError, World

from resultsfw import CONFIG_MAPS, PODS
from resultsfw.local.rbac import ROLE_BINDINGS, ROLES
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw_sidecar import wire
from resultsfw_transports.config_map import RECORDS, proof

FLAGS = {"results-from": "config-map"}


def deliver(world, value="d"):
    """What the sidecar writes when the Steps have ended; returns its termination message."""
    uid = world.pod()["metadata"]["uid"]
    lines = [
        wire.start_line(uid, wire.WATCH_POLL),
        wire.kept_line("digest", value.encode(), wire.TYPE_TASK, "digest"),
    ]
    digest = proof(b"".join(lines)).removeprefix("sha256:")
    records = b"".join([*lines, wire.end_line(uid, 2, digest, wire.WHY_STEPS_DONE)])
    name = f"resultsfw-{world.taskrun['metadata']['uid']}-0"
    metadata = {"annotations": {RECORDS: records.decode()}}
    patch = {"metadata": metadata, "data": {"digest": value}, "immutable": True}
    Store.patch(world.cluster, CONFIG_MAPS, "default", name, patch)
    return proof(records)


def finish(world):
    message = deliver(world)
    ended = {"step-build": world.ended(), SIDECAR: world.ended(message=message)}
    world.kubelet("Succeeded", ended)


def drive(world):
    """Take a run to its end, starting the controller anew each time it is killed."""
    world.submit()
    for _ in range(40):
        try:
            world.step()
        except KilledError:
            world.start()
            continue
        if is_done(world.taskrun):
            return
        pods = world.cluster.list(PODS)
        if pods and world.taskrun.get("status", {}).get("podName"):
            if pods[0]["metadata"].get("annotations", {}).get("tekton.dev/ready"):
                if pods[0]["status"]["phase"] == "Running":
                    finish(world)
            else:
                world.kubelet("Running", {"step-build": world.running(), SIDECAR: world.running()})
    raise AssertionError("no end")


def told(world):
    """The status without the digest: the pod's uid, which is another each time, is in what it is of."""
    status = copy.deepcopy(world.taskrun["status"])
    assert status["sidecars"][0]["terminated"].pop("message").startswith("sha256:")
    return status


def left(world):
    return [one for kind in (CONFIG_MAPS, ROLES, ROLE_BINDINGS) for one in world.cluster.list(kind)]


@pytest.mark.slow
def test_killed_at_any_call_and_started_again_it_comes_to_the_same_end():
    """Guarantee 4: no second pod, the same status, and nothing left when the run is looked at once more."""
    whole = World(FLAGS)
    drive(whole)
    wanted = told(whole)
    assert whole.condition["status"] == "True"
    assert wanted["results"] == [{"name": "digest", "type": "string", "value": "d"}]
    assert left(whole) == []
    calls = list(whole.cluster.calls)
    assert ("create", "RoleBinding") in calls
    for call in range(1, len(calls) + 1):
        world = World(FLAGS)
        world.clock.now = whole.clock.now
        world.cluster.fail_at = call
        drive(world)
        assert told(world) == wanted, f"killed at call {call}, {calls[call - 1]}"
        assert len(world.cluster.list(PODS)) == 1
        world.step()
        assert left(world) == [], f"killed at call {call}, {calls[call - 1]}"


def test_a_run_with_somebody_elses_config_map_in_its_way_ends_by_name_without_a_pod():
    world = World(FLAGS)
    world.submit()
    name = f"resultsfw-{world.taskrun['metadata']['uid']}-0"
    Store.create(world.cluster, CONFIG_MAPS, {"metadata": {"name": name, "namespace": "default"}})
    world.step()
    assert world.condition["status"] == "False"
    assert f"ConfigMap default/{name} exists and is not of this run" in world.condition["message"]
    assert world.cluster.list(PODS) == []


def test_a_task_of_too_many_results_ends_by_name_without_a_pod():
    world = World(FLAGS)
    results = [{"name": f"result-{number}", "type": "string"} for number in range(1000)]
    steps = [{"name": "build", "image": "i", "script": "true"}]
    world.submit(taskSpec={"results": results, "steps": steps})
    world.step()
    assert world.condition["status"] == "False"
    assert "declares 1000 results" in world.condition["message"]
    assert left(world) == []


def test_a_flag_flipped_while_the_pod_runs_changes_nothing_of_how_it_is_read_and_purged():
    world = World(FLAGS)
    world.submit()
    world.step()
    world.flags = {"results-from": "termination-message"}
    world.start()
    finish(world)
    world.step()
    assert world.taskrun["status"]["results"][0]["value"] == "d"
    assert left(world) == []


def test_the_values_of_a_run_are_in_no_object_but_its_config_map_and_its_status():
    world = World(FLAGS)
    world.submit()
    world.step()
    deliver(world, "a-secret")
    assert "a-secret" not in json.dumps([world.cluster.list(PODS), world.taskrun])
