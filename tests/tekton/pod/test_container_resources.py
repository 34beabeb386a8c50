"""Resources of ``config-defaults`` for containers that have none."""

import pytest

from resultsfw.errors import FlagError
from resultsfw.tekton.pod.container_resources import container_resources_of, with_container_resources

KEY = "default-container-resource-requirements"


def memory(amount):
    return {"limits": {"memory": amount}}


ENTRIES = container_resources_of(
    {
        KEY: """
        place-scripts: {limits: {memory: 1Mi}}
        prefix-sidecar: {limits: {memory: 2Mi}}
        prefix-sidecar-big: {limits: {memory: 3Mi}}
        default: {limits: {memory: 4Mi}}
        step-none: {}
        """
    }
)


def test_a_name_comes_before_a_prefix_and_both_before_the_default():
    pod = {
        "spec": {
            "initContainers": [{"name": "prepare"}, {"name": "place-scripts", "resources": {}}],
            "containers": [
                {"name": "step-own", "resources": {"requests": {"cpu": "1"}}},
                {"name": "step-none", "resources": {"requests": {}}},
                {"name": "sidecar-a"},
                {"name": "sidecar-big-b"},
                {"name": "sidecar-tekton-log-results", "resources": memory("9Mi")},
            ],
            "volumes": [],
        }
    }
    filled = with_container_resources(pod, ENTRIES)
    found = {
        container["name"]: container["resources"]
        for container in (*filled["spec"]["initContainers"], *filled["spec"]["containers"])
    }
    assert found == {
        "prepare": memory("4Mi"),
        "place-scripts": memory("1Mi"),
        "step-own": {"requests": {"cpu": "1"}},
        "step-none": memory("4Mi"),
        "sidecar-a": memory("2Mi"),
        "sidecar-big-b": memory("3Mi"),
        "sidecar-tekton-log-results": memory("9Mi"),
    }
    assert "resources" not in pod["spec"]["initContainers"][0]
    assert with_container_resources(pod, {}) is pod


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("default: [a]", "must be a mapping"),
        ("default: {limits: {memory: lots}}", "limits.memory: no quantity"),
        ("default: {requests: {cpu: {}}}", "requests.cpu: no quantity"),
        ("a", "not a mapping"),
    ],
)
def test_an_invalid_entry_is_refused_by_the_key(text, words):
    with pytest.raises(FlagError, match=words) as caught:
        container_resources_of({KEY: text})
    assert caught.value.subject == KEY
