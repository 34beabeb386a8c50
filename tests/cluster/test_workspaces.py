"""Workspaces on claims, in each mode of ``coschedule``: pods are placed, and what placed them is removed."""

import pytest

from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import ASSISTANT_ANNOTATION, CLAIMS, PIPELINERUNS
from resultsfw.tekton.pipelinerun.affinity_assistant import is_per_run
from resultsfw.tekton.pipelinerun.assistants import STATEFUL_SETS

CLAIM = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "16Mi"}}}}


def pipelinerun(place):
    def task(name, script, **fields):
        spec = {
            "workspaces": [{"name": "w"}],
            "results": [{"name": "r"}],
            "steps": [{"name": "s", "image": "busybox:1", "script": f"#!/bin/sh\nset -e\n{script}"}],
        }
        return {"name": name, "taskSpec": spec, "workspaces": [{"name": "w", "workspace": "made"}], **fields}

    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "PipelineRun",
        "metadata": {"name": "build", "namespace": place.namespace},
        "spec": {
            "managedBy": place.managed_by,
            "workspaces": [{"name": "made", "volumeClaimTemplate": CLAIM}],
            "pipelineSpec": {
                "workspaces": [{"name": "made"}],
                "tasks": [
                    task("clone", "printf code > $(workspaces.w.path)/f"),
                    task("build", "cat $(workspaces.w.path)/f > $(results.r.path)", runAfter=["clone"]),
                ],
                "results": [{"name": "built", "value": "$(tasks.build.results.r)"}],
            },
        },
    }


@pytest.mark.parametrize("mode", ["disabled", "workspaces", "pipelineruns", "isolate-pipelinerun"])
def test_tasks_share_a_claim_in_each_mode_of_coschedule(make_place, mode):
    place = make_place()
    place.flags(results_from="termination-message", coschedule=mode)
    place.start("--no-leader-elect")
    place.server.create(PIPELINERUNS, pipelinerun(place))
    sets = []

    def over():
        sets.extend(place.server.list(STATEFUL_SETS, place.namespace))
        return is_done(place.server.get(PIPELINERUNS, place.namespace, "build"))

    place.until(over, 120)
    final = place.server.get(PIPELINERUNS, place.namespace, "build")
    assert final["status"].get("results") == [{"name": "built", "value": "code"}], final["status"]
    names = {
        run["metadata"].get("annotations", {}).get(ASSISTANT_ANNOTATION) for run in place.runs().values()
    }
    assert {found["metadata"]["name"] for found in sets} == names - {None}
    assert len(names - {None}) == (mode != "disabled")
    place.until(lambda: not place.server.list(STATEFUL_SETS, place.namespace), 60)
    place.until(lambda: len(place.server.list(CLAIMS, place.namespace)) != is_per_run(mode), 60)
