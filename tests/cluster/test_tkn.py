"""``tkn`` reads our PipelineRuns as it reads Tekton's: RESULTSFW_TKN names the program.

What is expected was read off runs of the same Pipelines under Tekton's own controller.
"""

import os
import re
import subprocess
from collections import Counter

import pytest

from resultsfw.cluster import EVENTS
from resultsfw.errors import ClusterError
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import PIPELINERUNS

TKN = os.environ.get("RESULTSFW_TKN", "")

pytestmark = pytest.mark.skipif(not TKN, reason="RESULTSFW_TKN is not set")


def task(name, script, *results, **fields):
    declared = {"results": [{"name": one, "type": "string"} for one in results]} if results else {}
    step = {"name": "s", "image": "busybox:1", "script": f"#!/bin/sh\n{script}"}
    return {"name": name, "taskSpec": {"steps": [step], **declared}, **fields}


HELLO = "echo hello"
NEVER = [{"input": "x", "operator": "in", "values": ["y"]}]
LAST = [task("last", HELLO)]

RUNS = {
    "ok": {
        "tasks": [task("a", "printf abc > $(results.r.path)", "r"), task("b", HELLO, runAfter=["a"])],
        "results": [{"name": "out", "value": "$(tasks.a.results.r)"}],
        "finally": LAST,
    },
    "fails": {"tasks": [task("a", "echo oh no; exit 3"), task("b", HELLO, runAfter=["a"])], "finally": LAST},
    "when": {"tasks": [task("a", HELLO), task("b", HELLO, when=NEVER)]},
    "cancel": {"tasks": [task("a", "sleep 60"), task("b", HELLO, runAfter=["a"])], "finally": LAST},
    "late": {"tasks": [task("a", "sleep 60")]},
    "retries": {"tasks": [task("a", "exit 3", retries=1, onError="continue"), task("b", HELLO)]},
}

STATUS = {
    "ok": "Succeeded",
    "fails": "Failed",
    "when": "Succeeded",
    "cancel": "Cancelled",
    "late": "Failed(PipelineRunTimeout)",
    "retries": "Succeeded",
}

TASKS = {
    "ok": {"last": "Succeeded", "b": "Succeeded", "a": "Succeeded"},
    "fails": {"last": "Succeeded", "a": "Failed(StepFailed)"},
    "when": {"a": "Succeeded"},
    "cancel": {"a": "Cancelled(TaskRunCancelled)"},
    "late": {"a": "Cancelled(TaskRunCancelled)"},
    "retries": {"b": "Succeeded", "a": "Failed(FailureIgnored)"},
}

LOGS = {
    "ok": ["[b : s] hello", "[last : s] hello"],
    "fails": ["[a : s] oh no", "[last : s] hello"],
    "when": ["[a : s] hello"],
    "retries": ["[b : s] hello"],
}

ENDED = {
    "ok": "Normal Succeeded Tasks Completed: 3 (Failed: 0, Cancelled 0), Skipped: 0",
    "fails": "Warning Failed Tasks Completed: 2 (Failed: 1, Cancelled 0), Skipped: 1",
    "when": "Normal Succeeded Tasks Completed: 1 (Failed: 0, Cancelled 0), Skipped: 1",
    "cancel": 'Warning Failed PipelineRun "cancel" was cancelled',
    "late": 'Warning Failed PipelineRun "late" failed to finish within "12s"',
    "retries": "Normal Succeeded Tasks Completed: 2 (Failed: 1 (Ignored: 1), Cancelled 0), Skipped: 0",
}


@pytest.fixture
def ended(place):
    """A place in which all runs are over, and their names."""
    names = []
    place.flags()
    place.start("--no-leader-elect")
    for name, spec in RUNS.items():
        body = {"pipelineSpec": spec, "managedBy": place.managed_by}
        if name == "late":
            body["timeouts"] = {"pipeline": "12s"}
        metadata = {"name": name, "namespace": place.namespace}
        run = {"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": metadata, "spec": body}
        try:
            place.server.create(PIPELINERUNS, run)
        except ClusterError as error:
            # Tekton's webhook, where there is one, takes no Task with both.
            if name != "retries" or "admission webhook" not in error.message:
                raise
        else:
            names.append(name)
    asked = []

    def over():
        steps = place.runs().get("cancel-a", {}).get("status", {}).get("steps") or ()
        if not asked and any("running" in one for one in steps):
            patch = {"spec": {"status": "Cancelled"}}
            asked.append(place.server.patch(PIPELINERUNS, place.namespace, "cancel", patch))
        runs = place.server.list(PIPELINERUNS, place.namespace)
        return all(map(is_done, runs)) and all(map(is_done, place.runs().values()))

    place.until(over, 180)
    return place, names


def tkn(place, *command):
    kubeconfig = ("--kubeconfig", os.environ["RESULTSFW_KUBECONFIG"])
    told = subprocess.run(
        [TKN, *command, "-n", place.namespace, *kubeconfig],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return told.stdout


def rows(text, heading):
    """The cells of the table below a heading, without its head."""
    table = text.split(f"\n{heading}\n")[1].lstrip("\n").split("\n\n")[0].splitlines()[1:]
    return [re.split(r"\s{2,}", line.strip()) for line in table]


def test_tkn_reads_our_pipelineruns_and_each_stage_is_told_once(ended):
    ended, names = ended
    for name in names:
        said = tkn(ended, "pipelinerun", "describe", name)
        assert f"Labels:\n tekton.dev/pipeline={name}\n" in said
        ((*_, duration, status),) = rows(said, "Status")
        assert (status, bool(re.fullmatch(r"([0-9]+m)?[0-9]+s", duration))) == (STATUS[name], True), said
        assert {one[1]: one[-1] for one in rows(said, "Taskruns")} == TASKS[name], said
        if name in LOGS:
            logs = tkn(ended, "pipelinerun", "logs", name).splitlines()
            assert sorted(line for line in logs if line.startswith("[")) == LOGS[name]
        for which, state in TASKS[name].items():
            said = tkn(ended, "taskrun", "describe", f"{name}-{which}")
            assert rows(said, "Status")[0][-1] == state
            step = {"Succeeded": "Completed", "Cancelled(TaskRunCancelled)": "TaskRunCancelled"}
            if name != "late":  # its Step may not have begun in that time
                assert rows(said, "Steps") == [["s", step.get(state, "Error")]]
    assert rows(tkn(ended, "pipelinerun", "describe", "ok"), "Results") == [["out", "abc"]]
    assert [one[0] for one in rows(tkn(ended, "pipelinerun", "describe", "when"), "Skipped Tasks")] == ["b"]
    assert "hello" in tkn(ended, "taskrun", "logs", "ok-b")
    assert "oh no" in tkn(ended, "taskrun", "logs", "fails-a")
    told = Counter()
    for one in ended.server.list(EVENTS, ended.namespace):
        if (about := one["involvedObject"])["kind"] == "PipelineRun":
            line = f"{one['type']} {one['reason']} {one.get('message', '')}".strip()
            told[about["name"], line] += one["count"]
            assert one["source"]["component"] == "resultsfw-controller", "nobody else looks at our runs"
    assert set(told.values()) == {1}
    for name in names:
        lines = [line for which, line in told if which == name]
        assert {"Normal Started", ENDED[name]} < set(lines)
        assert any(line.startswith("Normal Running Tasks Completed: 0 ") for line in lines)
