"""Steps that leave FIFOs or never end, and parameters beyond a pod, with Tekton's own entrypoint."""

import hashlib
from typing import Any

import pytest
from place import Place

from resultsfw import CONFIG_MAPS, PODS, Object
from resultsfw.tekton.api.kinds import TASKRUNS

DEADLINE = 420  # seconds; a container that outstays its Step is given two minutes


def _step(name: str, script: str, **more: Any) -> Object:
    return {"name": name, "image": "busybox:1", "script": f"#!/bin/sh\n{script}", **more}


def _run(place: Place, name: str, task: Object, backend: str, **spec: Any) -> None:
    place.server.create(
        TASKRUNS,
        {
            "apiVersion": "tekton.dev/v1",
            "kind": "TaskRun",
            "metadata": {
                "name": name,
                "namespace": place.namespace,
                "annotations": {"resultsfw.dev/results-from": backend},
            },
            "spec": {"taskSpec": task, "managedBy": place.managed_by, "timeout": "30m", **spec},
        },
    )


def _condition(run: Object) -> Object:
    (one,) = [one for one in run["status"]["conditions"] if one["type"] == "Succeeded"]
    return one


def _values(run: Object) -> dict[str, Any]:
    return {one["name"]: one["value"] for one in run["status"].get("results") or ()}


RESULTS = [{"name": "digest", "type": "string"}, {"name": "other", "type": "string"}]
FIFO = _step("one", "printf o > $(results.other.path); mkfifo $(results.digest.path)")
NEVER_ENDS = _step("one", "printf o > $(results.other.path); touch /tekton/run/0/out; sleep 1200")
OWN = _step(
    "one",
    "printf o > $(results.other.path); mkfifo $(step.results.own.path)",
    results=[{"name": "own", "type": "string"}],
)
REFERS = {"name": "two", "image": "busybox:1", "command": ["true"], "args": ["$(steps.one.results.own)"]}
TRUE = _step("two", "true")


@pytest.mark.parametrize("form", ["native", "plain"])
def test_no_special_file_keeps_a_run_from_its_end_by_name(place, form, tell):
    """On the old code each of these was Running until its timeout."""
    place.flags(results_from="sidecar-logs", allowed_results_from="termination-message")
    sidecar = {"config.sidecar-logs": f"sidecar: {form}"}
    place.server.patch(CONFIG_MAPS, place.namespace, "feature-flags", {"data": sidecar})
    place.start()
    _run(place, "fifo", {"results": RESULTS, "steps": [FIFO]}, "sidecar-logs")
    _run(place, "never-ends", {"results": RESULTS, "steps": [NEVER_ENDS]}, "sidecar-logs")
    _run(place, "step-result", {"results": RESULTS, "steps": [OWN, REFERS]}, "sidecar-logs")
    _run(place, "by-message", {"results": RESULTS, "steps": [OWN, TRUE]}, "termination-message")
    # Nothing outside its containers tells such a run from one whose Steps work.
    task = {"results": RESULTS, "steps": [FIFO, TRUE]}
    _run(place, "out-of-time", task, "termination-message", timeout="90s")
    runs = place.until_done(DEADLINE)
    for name, run in runs.items():
        status = run["status"]
        condition = _condition(run)
        tell(f"{form} {name}: {status['startTime']} to {status['completionTime']}: {condition['reason']}")
    reasons = {name: _condition(run)["reason"] for name, run in runs.items()}
    assert reasons == {
        "fifo": "TaskRunResultRefused",
        "never-ends": "TaskRunStepNotEnded",
        "step-result": "TaskRunResultRefused",
        "by-message": "TaskRunStepNotEnded",
        "out-of-time": "TaskRunTimeout",
    }
    assert '"digest"' in _condition(runs["fifo"])["message"]
    assert '"own"' in _condition(runs["step-result"])["message"]
    assert '"step-one"' in _condition(runs["by-message"])["message"]
    assert {name: _values(runs[name]).get("other") for name in ("fifo", "never-ends", "step-result")} == {
        "fifo": "o",
        "never-ends": "o",
        "step-result": "o",
    }
    place.assert_none_doubled()


def test_parameters_beyond_what_a_pod_holds_reach_a_step_whole(place):
    place.flags(results_from="sidecar-logs", allowed_results_from="termination-message")
    place.start()
    params = {name: f"{name}\u00e9'$(x) $$ " * 42_000 for name in "abc"}
    declared = [{"name": name, "type": "string"} for name in params]
    given = [{"name": name, "value": value} for name, value in params.items()]
    named = _step(
        "one",
        "cd /tekton/params; cat a b c | sha256sum | cut -c1-64 > $(results.digest.path)",
    )
    unused = _step("one", "printf d > $(results.digest.path)")
    for backend in ("sidecar-logs", "termination-message"):
        for name, step in (("named", named), ("unused", unused)):
            task = {"params": declared, "results": RESULTS, "steps": [step]}
            _run(place, f"{name}-{backend}", task, backend, params=given)
    runs = place.until_done(DEADLINE)
    digest = hashlib.sha256("".join(params.values()).encode()).hexdigest()
    for name, run in runs.items():
        assert _condition(run)["status"] == "True", (name, _condition(run))
        assert _values(run)["digest"].strip() == (digest if name.startswith("named") else "d")
    mine = [
        one
        for one in place.server.list(CONFIG_MAPS, place.namespace)
        if one["metadata"]["name"].startswith("resultsfw-params-")
    ]
    owners = {one["metadata"]["ownerReferences"][0]["name"] for one in mine}
    assert owners == {"named-sidecar-logs", "named-termination-message"}
    assert place.server.list(PODS, place.namespace)
    place.assert_none_doubled()
