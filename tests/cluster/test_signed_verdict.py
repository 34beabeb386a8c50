"""A verdict verifies on what the API server stored, whatever it made of the status, and after a restart.

Tekton's webhook rewrites each status that is written: where it runs, this is what it left.
"""

import copy
import json
import os
import signal
from pathlib import Path

import pytest
from written import a_run

from resultsfw.signatures import Reason, parse_bundles, verify_taskrun
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

BUNDLE = "RESULTSFW_SPIRE_BUNDLE"

WRITE = """
printf 'a < b & "c"\\n\\342\\200\\250' > $(results.text.path)
printf '["a,b","","c"]' > $(results.list.path)
printf '{"url":"x","empty":""}' > $(results.map.path)
printf '' > $(results.empty.path)
"""
FAIL_FIRST = "test $(context.task.retry-count) -gt 0 || exit 3"
TYPES = {"text": "string", "list": "array", "map": "object", "empty": "string", "none": "string"}


def written(place, name, script=WRITE, **more):
    """A run with results of every type, and with fields that Go writes in more than one way."""
    run = a_run(place, name, script, TYPES, **more)
    task = run["spec"]["taskSpec"]
    for result in task["results"]:
        result["type"] = TYPES[result["name"]]
        if result["type"] == "object":
            result["properties"] = {"url": {"type": "string"}, "empty": {}}
    task["volumes"] = [{"name": "scratch", "emptyDir": {"sizeLimit": "1024Mi"}}]
    step = task["steps"][0]
    step["computeResources"] = {"limits": {"cpu": "1000m", "memory": "128Mi"}, "requests": {"cpu": "0.01"}}
    step["env"] = [{"name": "EMPTY", "value": ""}]
    step["timeout"] = "90m"
    step["results"] = [{"name": "own", "type": "string"}]
    step["script"] += "\nprintf own > $(step.results.own.path)\n"
    step["securityContext"] = {"allowPrivilegeEscalation": False}
    return run


def pipelinerun(place):
    """A PipelineRun whose second Task takes a result of the first."""
    step = {"name": "one", "image": "busybox:1", "script": "#!/bin/sh\nprintf x > $(results.out.path)"}
    task = {"results": [{"name": "out"}], "steps": [step]}
    taking = {"params": [{"name": "value"}], **task}
    tasks = [
        {"name": "first", "taskSpec": task},
        {
            "name": "second",
            "taskSpec": taking,
            "params": [{"name": "value", "value": "$(tasks.first.results.out)"}],
        },
    ]
    spec = {"managedBy": place.managed_by, "pipelineSpec": {"tasks": tasks}}
    if user := os.environ.get("RESULTSFW_RUN_AS_USER"):
        spec["taskRunTemplate"] = {"podTemplate": {"securityContext": {"runAsUser": int(user)}}}
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "pipeline", "namespace": place.namespace},
        "spec": spec,
    }


@pytest.mark.skipif(BUNDLE not in os.environ, reason=f"{BUNDLE} is not set")
def test_a_verdict_verifies_on_what_the_api_server_stored(place, spire):
    place.flags(**{"results-from": "sidecar-logs", **spire.options()})
    first = place.start("--no-leader-elect", sidecar=False, prefix=spire.command)
    runs = {
        "whole": written(place, "whole"),
        "failed": written(place, "failed", WRITE + "exit 3"),
        "retried": written(place, "retried", WRITE + FAIL_FIRST, retries=1),
        "timeout": written(place, "timeout", WRITE + "sleep 300"),
        "cancelled": written(place, "cancelled", WRITE + "sleep 300"),
        "plain": a_run(place, "plain", "true", []),
    }
    runs["timeout"]["spec"]["timeout"] = "25s"
    for run in runs.values():
        place.server.create(TASKRUNS, run)
    place.server.create(PIPELINERUNS, pipelinerun(place))

    def cancel(run):
        if run["metadata"]["name"] == "cancelled" and "running" in str(run.get("status", {}).get("steps")):
            place.server.patch(
                TASKRUNS, place.namespace, "cancelled", {"spec": {"status": "TaskRunCancelled"}}
            )

    place.until(
        lambda: (
            is_done(place.server.get(PIPELINERUNS, place.namespace, "pipeline"))
            and place.until_done(1000, cancel)
        ),
        400,
    )
    stored = place.runs()
    if folder := os.environ.get("RESULTSFW_KEEP_RUNS"):
        Path(folder).write_text("\n".join(map(json.dumps, stored.values())))
    check(stored, spire)
    touch_as_others_do(place, stored["whole"])
    first.signal(signal.SIGKILL)
    place.start("--no-leader-elect", sidecar=False, prefix=spire.command)
    place.server.create(TASKRUNS, written(place, "later"))
    later = place.until_done(120)
    check(later, spire)
    assert later["whole"]["status"]["conditions"][-1]["type"] == "Scanned"
    for name in stored.keys() - {"whole"}:
        assert later[name]["status"] == stored[name]["status"], name


def touch_as_others_do(place, run):
    """Add an annotation, as Tekton Chains does, and a condition and an annotation to the status."""
    name = run["metadata"]["name"]
    scanned = {**run["status"]["conditions"][0], "type": "Scanned", "status": "True", "reason": "Clean"}
    annotations = {"chains.tekton.dev/signed": "true"}
    place.server.patch(TASKRUNS, place.namespace, name, {"metadata": {"annotations": annotations}})
    status = {"conditions": [*run["status"]["conditions"], scanned], "annotations": annotations}
    place.server.patch(TASKRUNS, place.namespace, name, {"status": status}, subresource="status")


def check(runs, spire):
    bundles = parse_bundles(Path(os.environ[BUNDLE]).read_text(), trust_domain=spire.domain)
    for name, run in runs.items():
        verified = verify_taskrun(run, bundles[spire.domain])
        # A pod that was stopped early may have got no identity in time: the verdict says so.
        early = {Reason.UNVERIFIED} if name in {"timeout", "cancelled"} else set()
        assert {fault.reason for fault in verified.faults} <= early, name
        assert "tekton.dev/status-hash" in run["status"]["annotations"]
        changed = copy.deepcopy(run)
        changed["status"]["podName"] += "x"
        assert not verify_taskrun(changed, bundles[spire.domain]).ok
    assert len(runs) >= 8
