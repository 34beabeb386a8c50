"""What a pod gets from outside its Task: credentials of its account, and the commands of its images."""

import json
import os
from pathlib import Path

import pytest

from resultsfw.tekton.api.conditions import succeeded
from resultsfw.tekton.api.kinds import SECRETS, SERVICE_ACCOUNTS, TASKRUNS

CREDENTIALS = json.loads(
    (Path(__file__).parents[1] / "data" / "tekton" / "credentials.json").read_text(encoding="utf-8")
)
SHELL = os.environ.get("RESULTSFW_SHELL_IMAGE", "busybox:1")
PULLED = os.environ.get("RESULTSFW_COMMAND_IMAGE", "")


def under_both(place, spec, seconds=120):
    """Run a TaskRun under this controller and under Tekton's; both, ended, and their pods."""
    for name, fields in (("ours", {"managedBy": place.managed_by}), ("tektons", {})):
        metadata = {"name": name, "namespace": place.namespace}
        run = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": metadata}
        place.server.create(TASKRUNS, {**run, "spec": {**spec, **fields}})
    runs = place.until_done(seconds)
    pods = place.pods()
    return [(runs[name], pods.get(f"{name}-pod")) for name in ("ours", "tektons")]


@pytest.fixture
def controlled(place):
    place.flags(results_from="termination-message")
    place.start(sidecar=False)
    return place


def test_steps_get_the_files_that_tekton_gives_them(controlled):
    namespace = {"namespace": controlled.namespace}
    for secret in CREDENTIALS["secrets"]:
        controlled.server.create(SECRETS, {**secret, "metadata": {**secret["metadata"], **namespace}})
    account = CREDENTIALS["account"]
    controlled.server.create(SERVICE_ACCOUNTS, {**account, "metadata": {**account["metadata"], **namespace}})
    spec = json.loads(json.dumps(CREDENTIALS["taskrun"]["spec"]).replace("busybox:1", SHELL))
    for run, pod in under_both(controlled, spec):
        assert succeeded(run)["status"] == "True", succeeded(run)
        files = {result["name"]: result["value"] for result in run["status"]["results"]}
        assert files == CREDENTIALS["files"]
        assert [v["name"] for v in pod["spec"]["volumes"] if "secret" in v] == [
            volume["name"] for volume in CREDENTIALS["pod"]["volumes"] if "secret" in volume
        ]


@pytest.mark.skipif(not PULLED, reason="RESULTSFW_COMMAND_IMAGE is not set")
def test_a_step_runs_the_command_of_its_image(controlled):
    step = {"name": "s", "image": PULLED, "imagePullPolicy": "IfNotPresent"}
    (ours, our_pod), (tektons, their_pod) = under_both(controlled, {"taskSpec": {"steps": [step]}})
    assert succeeded(ours)["status"] == succeeded(tektons)["status"] == "True"
    (made,), (expected,) = our_pod["spec"]["containers"], their_pod["spec"]["containers"]
    assert "@sha256:" in made["image"]
    for field in ("image", "command", "args", "env"):
        assert made[field] == expected[field]


def test_a_registry_that_is_not_there_ends_the_run_as_in_tekton(controlled):
    step = {"name": "s", "image": "127.0.0.1:1/team/image:1"}
    (ours, _), (tektons, _) = under_both(controlled, {"taskSpec": {"steps": [step]}})
    assert succeeded(ours)["reason"] == succeeded(tektons)["reason"] == "PodCreationFailed"
    assert 'image "127.0.0.1:1/team/image:1" could not be looked up' in succeeded(ours)["message"]
    assert controlled.pods() == {}
