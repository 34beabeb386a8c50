"""Pipelines in Pipelines on the engine: results up and down, and a child that ends with its parent."""

from pathlib import Path
from typing import Any

import pytest

from resultsfw import Object, ResultsManager
from resultsfw.local.engine import Engine
from resultsfw.tekton.api.kinds import PIPELINERUNS
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.taskrun.reconciler import Reconciler

pytestmark = pytest.mark.slow


def task(name: str, script: str, *params: str, results: tuple[str, ...] = (), **fields: Any) -> Object:
    spec = {
        "params": [{"name": param} for param in params],
        "results": [{"name": result} for result in results],
        "steps": [{"name": "s", "image": "i", "script": f"#!/bin/sh\n{script}"}],
    }
    return {"name": name, "taskSpec": spec, **fields}


def given(**values: str) -> list[Object]:
    return [{"name": name, "value": value} for name, value in values.items()]


def test_a_result_goes_down_to_a_child_and_up_again_and_a_hung_child_ends_with_its_run(
    tmp_path: Path,
) -> None:
    say = task("say", 'printf "%s!" "$(params.v)" > $(results.out.path)', "v", results=("out",))
    inner = {
        "params": [{"name": "v"}],
        "results": [{"name": "said", "value": "$(tasks.say.results.out)"}],
        "tasks": [{**say, "params": given(v="$(params.v)")}],
    }
    tasks = [
        task("first", "printf hello > $(results.r.path)", results=("r",)),
        {"name": "child", "pipelineSpec": inner, "params": given(v="$(tasks.first.results.r)")},
        task("last", 'test "$(params.v)" = "hello!"', "v", params=given(v="$(tasks.child.results.said)")),
        {"name": "hung", "runAfter": ["last"], "pipelineSpec": {"tasks": [task("hangs", "sleep 600")]}},
    ]
    core = ResultsManager.from_flags({"results-from": "termination-message"})
    asked = False

    def cancel_once(change: str, obj: Object) -> None:
        nonlocal asked
        if not asked and change != "DELETED" and obj["metadata"]["name"] == "p-hung-hangs-pod":
            asked = True
            engine.store.patch(PIPELINERUNS, "default", "p", {"spec": {"status": "Cancelled"}})

    with Engine(
        lambda cluster: Reconciler(core, cluster),
        workdir=tmp_path,
        on_event=cancel_once,
        pipelines=lambda cluster: PipelineReconciler(core, cluster, custom_tasks=False),
    ) as engine:
        metadata = {"name": "p", "namespace": "default"}
        run = {"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": metadata}
        engine.submit({**run, "spec": {"pipelineSpec": {"tasks": tasks}}})
        (final,) = engine.run_until_done(timeout=60)
        child = engine.store.get(PIPELINERUNS, "default", "p-child")
        hung = engine.store.get(PIPELINERUNS, "default", "p-hung")
    assert child["status"]["results"] == [{"name": "said", "value": "hello!"}]
    assert [ref["name"] for ref in final["status"]["childReferences"]] == [
        "p-first",
        "p-child",
        "p-last",
        "p-hung",
    ]
    assert final["status"]["conditions"][0]["reason"] == "Cancelled"
    assert hung["spec"]["status"] == "Cancelled"
