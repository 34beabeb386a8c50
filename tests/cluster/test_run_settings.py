"""What surrounds a run: config-defaults, the backend that a Task chooses, breakpoints, hermetic execution."""

import os

import pytest

from resultsfw.cluster import CONFIG_MAPS
from resultsfw.tekton.api.conditions import succeeded
from resultsfw.tekton.api.kinds import TASKRUNS, TASKS
from resultsfw.tekton.api.times import parse_time

IMAGE = os.environ.get("RESULTSFW_SHELL_IMAGE", "busybox:1")
# The timeout is written by the webhook, from the ConfigMap of its own namespace.
DEFAULTS = {
    "default-pod-template": "env: [{name: A, value: default}, {name: B, value: default}]",
    "default-imagepullbackoff-timeout": "20s",
    "default-container-resource-requirements": "default: {requests: {memory: 3Mi}}",
}


def step(script, **fields):
    return {"name": "s", "image": IMAGE, "imagePullPolicy": "IfNotPresent", "script": script, **fields}


def task(*steps):
    return {"results": [{"name": "r"}], "steps": list(steps)}


@pytest.fixture
def controlled(place):
    """A controller with two backends to choose from."""
    place.flags(
        results_from="termination-message",
        allowed_results_from="sidecar-logs",
        max_result_size="100000",
    )
    metadata = {"name": "config-defaults", "namespace": place.namespace}
    place.server.create(CONFIG_MAPS, {"metadata": metadata, "data": DEFAULTS})
    place.start()
    return place


def submit(place, name, annotations=None, **spec):
    metadata = {"name": name, "namespace": place.namespace, "annotations": annotations or {}}
    kind = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun"}
    body = {"managedBy": place.managed_by, **spec}
    place.server.create(TASKRUNS, {**kind, "metadata": metadata, "spec": body})


def result(run):
    assert succeeded(run)["status"] == "True", succeeded(run)
    (found,) = run["status"]["results"]
    return found["value"]


def test_runs_have_the_defaults_and_a_task_its_backend(controlled):
    """A Task of large results chooses a backend for its runs, beside runs that use the flag's."""
    metadata = {
        "name": "large",
        "namespace": controlled.namespace,
        "annotations": {"resultsfw.dev/results-from": "sidecar-logs"},
    }
    large = task(step("head -c 50000 /dev/zero | tr '\\0' q > $(results.r.path)"))
    kind = {"apiVersion": "tekton.dev/v1", "kind": "Task"}
    controlled.server.create(TASKS, {**kind, "metadata": metadata, "spec": large})
    submit(controlled, "large", taskRef={"name": "large"})
    submit(
        controlled,
        "default",
        taskSpec=task(step("printf $A-$B > $(results.r.path)")),
        podTemplate={"env": [{"name": "A", "value": "own"}]},
    )
    submit(
        controlled,
        "hermetic",
        {"experimental.tekton.dev/execution-mode": "hermetic"},
        taskSpec=task(step("grep -c : /proc/net/dev | tr -d '\\n' > $(results.r.path)")),
    )
    runs = controlled.until_done(120)
    assert len(result(runs["large"])) == 50000
    assert result(runs["default"]) == "own-default"
    assert result(runs["hermetic"]) == "1"  # the loopback device only
    methods = {
        name: run["status"]["provenance"]["featureFlags"]["resultExtractionMethod"]
        for name, run in runs.items()
    }
    assert methods == {
        "large": "sidecar-logs",
        "default": "termination-message",
        "hermetic": "termination-message",
    }
    pod = controlled.pods()["default-pod"]
    assert pod["spec"]["containers"][0]["resources"] == {"requests": {"memory": "3Mi"}}


def test_a_run_waits_at_its_breakpoints_until_its_timeout(controlled):
    """A Step that failed waits; the results that it wrote before are there when the run is out of time."""
    submit(
        controlled,
        "waits",
        taskSpec=task(step("printf early > $(results.r.path); exit 1")),
        debug={"breakpoints": {"onFailure": "enabled"}},
        timeout="45s",
    )
    run = controlled.until_done(120)["waits"]
    assert succeeded(run)["reason"] == "TaskRunTimeout"
    assert [found["value"] for found in run["status"].get("results", ())] == ["early"]


def test_an_image_that_cannot_be_pulled_is_waited_for_as_long_as_config_defaults_say(controlled):
    submit(controlled, "absent", taskSpec={"steps": [{"image": "127.0.0.1:1/absent:1", "command": ["c"]}]})
    run = controlled.until_done(120)["absent"]
    assert succeeded(run)["reason"] == "TaskRunImagePullFailed"
    pod = controlled.pods()["absent-pod"]
    (ready,) = [one for one in pod["status"]["conditions"] if one["type"] == "Initialized"]
    waited = parse_time(run["status"]["completionTime"]) - parse_time(ready["lastTransitionTime"])
    assert waited.total_seconds() >= 20
