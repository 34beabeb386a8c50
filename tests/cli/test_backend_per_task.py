"""The Tasks of one Pipeline, each with the backend that it chooses."""

import pytest
import yaml

RESULT = {"name": "r", "type": "string"}
WRITES = {
    "name": "s",
    "image": "i",
    "script": "head -c $(params.n) /dev/zero | tr '\\0' 'q' > $(results.r.path)",
}
CHOICE = {"annotations": {"resultsfw.dev/results-from": "sidecar-logs"}}


def documents():
    task = {"params": [{"name": "n"}], "results": [RESULT], "steps": [WRITES]}
    named = {
        "apiVersion": "tekton.dev/v1",
        "kind": "Task",
        "metadata": {"name": "large", **CHOICE},
        "spec": task,
    }
    tasks = [
        {"name": "named", "taskRef": {"name": "large"}, "params": [{"name": "n", "value": "20000"}]},
        {
            "name": "embedded",
            "taskSpec": {**task, "metadata": CHOICE},
            "params": [{"name": "n", "value": "20000"}],
        },
        {"name": "plain", "taskSpec": task, "params": [{"name": "n", "value": "20"}]},
    ]
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "p"},
        "spec": {"pipelineSpec": {"tasks": tasks}},
    }
    flags = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "feature-flags"},
        "data": {
            "results-from": "termination-message",
            "allowed-results-from": "termination-message, sidecar-logs",
            "max-result-size": "30000",
        },
    }
    return yaml.safe_dump_all([flags, named, run])


@pytest.mark.slow
def test_large_results_come_by_the_backend_of_their_task_alone(cli, write):
    ran = cli("run", write("p.yaml", documents()), "-o", "json")
    assert ran.status == 0, ran.err
    found = {
        taskrun["metadata"]["name"]: (
            taskrun["status"]["provenance"]["featureFlags"]["resultExtractionMethod"],
            len(taskrun["status"]["results"][0]["value"]),
        )
        for taskrun in ran.items[1:]
    }
    assert found == {
        "p-named": ("sidecar-logs", 20000),
        "p-embedded": ("sidecar-logs", 20000),
        "p-plain": ("termination-message", 20),
    }
