"""Hermetic execution: the entrypoint is asked to take the network from each Step."""

import pytest
from pod_harness import built, container, taskrun

from resultsfw.local.admission import problems_of

ANNOTATION = "experimental.tekton.dev/execution-mode"
TASK = {
    "steps": [
        {"name": "s", "image": "i", "script": "true", "env": [{"name": "TEKTON_HERMETIC", "value": "0"}]},
        {
            "name": "t",
            "image": "i",
            "script": "true",
            "env": [{"name": "TEKTON_RESOURCE_NAME", "value": "x"}],
        },
        {"name": "u", "image": "i", "script": "true", "envFrom": [{"configMapRef": {"name": "m"}}]},
    ],
    "sidecars": [{"name": "side", "image": "i", "script": "true"}],
}


def pod_of(mode):
    run = taskrun(TASK, podTemplate={"env": [{"name": "TEKTON_HERMETIC", "value": ""}]})
    run["metadata"]["annotations"] = {ANNOTATION: mode}
    return built(run)


def variables(pod, name):
    """The environment as a kubelet makes it: the last of a name counts."""
    return {variable["name"]: variable["value"] for variable in container(pod, name).get("env", ())}


@pytest.mark.parametrize("name", ["step-s", "step-t", "step-u"])
def test_no_step_of_a_hermetic_run_can_keep_its_network(name):
    found = variables(pod_of("hermetic"), name)
    assert found["TEKTON_HERMETIC"] == "1"
    assert not found.get("TEKTON_RESOURCE_NAME")


def test_sidecars_and_other_modes_keep_the_network_as_under_tekton():
    assert "env" not in container(pod_of("hermetic"), "sidecar-side")
    assert variables(pod_of("standard"), "step-u") == {"TEKTON_HERMETIC": ""}


def test_the_local_engine_refuses_a_hermetic_pod_by_name():
    assert any("hermetic" in problem for problem in problems_of(pod_of("hermetic")))
    assert not any("hermetic" in problem for problem in problems_of(pod_of("")))
