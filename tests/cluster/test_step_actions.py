"""Steps that refer to StepActions, and conditions in CEL, live: as Tekton ended the same runs."""

import json
import os
from pathlib import Path

import pytest

from resultsfw.tekton.api.conditions import is_done, succeeded
from resultsfw.tekton.api.kinds import PIPELINERUNS, STEP_ACTIONS, TASKRUNS
from resultsfw.tekton.api.v1beta1 import convert_to_v1

DATA = Path(__file__).parents[1] / "data" / "tekton"
CAPTURED = json.loads((DATA / "step-actions.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("backend", ["termination-message", "sidecar-logs"])
def test_captured_runs_with_step_actions_end_as_under_tekton(place, backend):
    place.flags(results_from=backend)
    image = os.environ.get("RESULTSFW_WORKINGDIRINIT_IMAGE", "tekton/workingdirinit:1")
    place.start("--no-leader-elect", "--workingdirinit-image", image)
    for action in CAPTURED["actions"]:
        metadata = {**action["metadata"], "namespace": place.namespace}
        place.server.create(STEP_ACTIONS, {**convert_to_v1(action).document, "metadata": metadata})
    for run in CAPTURED["runs"]:
        metadata = {"name": run["about"], "namespace": place.namespace}
        spec = {**run["spec"], "managedBy": place.managed_by}
        made = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": metadata, "spec": spec}
        place.server.create(TASKRUNS, made)
    finals = place.until_done(240)
    for run in CAPTURED["runs"]:
        final = finals[run["about"]]
        ended = succeeded(final)
        assert (ended["status"], ended["reason"]) == (run["status"], run["reason"]), ended
        assert ended["message"].endswith(run["message"])
        found = {result["name"]: result["value"] for result in final["status"].get("results") or ()}
        assert found == {result["name"]: result["value"] for result in run.get("results") or ()}


def test_conditions_in_cel_decide(place):
    place.flags(results_from="termination-message", enable_cel_in_whenexpression="true")
    place.start("--no-leader-elect")
    step = {"name": "s", "image": "busybox:1", "command": ["true"]}
    writes = {
        "name": "w",
        "image": "busybox:1",
        "script": "printf two > $(results.r.path)",
        "when": [{"cel": "'$(params.p)'.startsWith('yes')"}],
    }
    tasks = [
        {"name": "a", "taskSpec": {"results": [{"name": "r"}], "steps": [writes]}},
        {
            "name": "b",
            "when": [{"cel": "'$(tasks.a.results.r)' in ['one', 'two']"}],
            "taskSpec": {"steps": [step]},
        },
        {"name": "c", "when": [{"cel": "size('$(tasks.a.results.r)') > 3"}], "taskSpec": {"steps": [step]}},
    ]
    spec = {"params": [{"name": "p", "value": "yes"}], "pipelineSpec": {"tasks": tasks}}
    run = {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "cel", "namespace": place.namespace},
        "spec": {**spec, "managedBy": place.managed_by},
    }
    place.server.create(PIPELINERUNS, run)
    place.until(lambda: is_done(place.server.get(PIPELINERUNS, place.namespace, "cel")), 120)
    final = place.server.get(PIPELINERUNS, place.namespace, "cel")
    assert succeeded(final)["reason"] == "Completed"
    assert [task["name"] for task in final["status"]["skippedTasks"]] == ["c"]
    assert final["status"]["skippedTasks"][0]["whenExpressions"] == [{"cel": "size('two') > 3"}]
