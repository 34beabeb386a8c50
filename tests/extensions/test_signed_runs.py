"""Whole runs on the local engine whose pods sign: real processes, a real stream of the Workload API."""

import pytest

from resultsfw.testing.signing_harness import SignedHarness

pytestmark = pytest.mark.slow

FIRST = """#!/bin/sh
printf early > $(results.text.path)
printf mine > $(step.results.own.path)
"""
SECOND = """#!/bin/sh
printf late > $(results.text.path)
printf '["a,b"]' > $(results.list.path)
"""
TASK = {
    "results": [
        {"name": "text"},
        {"name": "list", "type": "array"},
        {"name": "taken", "value": "$(steps.one.results.own)"},
        {"name": "absent"},
    ],
    "steps": [
        {"name": "one", "image": "busybox:1", "results": [{"name": "own"}], "script": FIRST},
        {"name": "two", "image": "busybox:1", "script": SECOND},
    ],
}


@pytest.mark.parametrize("backend", ["sidecar-logs", "termination-message"])
def test_results_of_a_run_are_signed_in_its_pod_and_verify(backend):
    with SignedHarness(backend, {}) as harness:
        taskrun = harness.reconcile(TASK)
    status = taskrun["status"]
    conditions = {condition["type"]: condition for condition in status["conditions"]}
    assert conditions["Succeeded"]["status"] == "True", conditions
    assert conditions["SignedResultsVerified"]["reason"] == "TaskRunResultsVerified", conditions
    assert "3 results verified" in conditions["SignedResultsVerified"]["message"]
    values = {result["name"]: result["value"] for result in status["results"]}
    assert values == {"text": "late", "list": ["a,b"], "taken": "mine"}
