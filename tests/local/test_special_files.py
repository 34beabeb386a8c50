"""Whole runs on the engine whose Steps leave FIFOs everywhere, and parameters beyond what a pod holds."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import pytest

from resultsfw import CONFIG_MAPS, Object, ResultsManager
from resultsfw.local.engine import Engine
from resultsfw.tekton.taskrun.reconciler import Reconciler

BACKENDS = ("termination-message", "sidecar-logs", "config-map")


def run(task: Object, tmp_path: Path, backend: str, **spec: Any) -> Object:
    """The TaskRun as it is when it is over."""
    core = ResultsManager.from_flags({"results-from": backend})
    with Engine(lambda cluster: Reconciler(core, cluster), workdir=tmp_path) as engine:
        engine.submit(
            {
                "apiVersion": "tekton.dev/v1",
                "kind": "TaskRun",
                "metadata": {"name": "run", "namespace": "default"},
                "spec": {"taskSpec": task, "timeout": "10m", **spec},
            }
        )
        (final,) = engine.run_until_done(timeout=120)
    return final


def step(script: str, name: str, **more: Any) -> Object:
    return {"name": name, "image": "busybox:1", "script": f"#!/bin/sh\n{script}", **more}


def condition(taskrun: Object) -> Object:
    (one,) = [one for one in taskrun["status"]["conditions"] if one["type"] == "Succeeded"]
    return one


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_fifo_as_result_is_refused_by_name_and_other_results_arrive(backend, tmp_path):
    task = {
        "results": [{"name": "digest", "type": "string"}, {"name": "other", "type": "string"}],
        "steps": [step("mkfifo $(results.digest.path); printf o > $(results.other.path)", "one")],
    }
    final = run(task, tmp_path, backend)
    assert condition(final)["reason"] == "TaskRunResultRefused"
    assert '"digest"' in condition(final)["message"]
    assert [one["value"] for one in final["status"]["results"]] == ["o"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reference_to_a_fifo_fails_the_run_by_name(backend, tmp_path):
    task = {
        "results": [{"name": "digest", "type": "string"}],
        "steps": [
            step("mkfifo $(step.results.own.path)", "one", results=[{"name": "own", "type": "string"}]),
            {
                "name": "two",
                "image": "busybox:1",
                "command": ["sh", "-c", "printf d > $(results.digest.path); exit 0"],
                "args": ["$(steps.one.results.own)"],
            },
        ],
    }
    final = run(task, tmp_path, backend)
    assert condition(final)["status"] == "False"
    assert '"own"' in condition(final)["message"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_fifos_in_place_of_the_entrypoints_files_do_not_block(backend, tmp_path):
    files = "/tekton/steps/step-one/exitCode /tekton/steps/step-one/artifacts/provenance.json"
    task = {
        "results": [{"name": "digest", "type": "string"}],
        "steps": [step(f"printf d > $(results.digest.path); mkfifo {files}", "one")],
    }
    final = run(task, tmp_path, backend)
    assert final["status"]["completionTime"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sidecar-logs", "termination-message"])
def test_parameters_larger_than_a_pod_arrive_whole(backend, tmp_path):
    params = {name: f"{name}\u00e9'$(x)\n" * 45_000 for name in "abc"}
    task = {
        "params": [{"name": name, "type": "string"} for name in params],
        "results": [{"name": "digest", "type": "string"}],
        "steps": [step("cat /tekton/params/* | sha256sum | cut -d' ' -f1 > $(results.digest.path)", "one")],
    }
    values = [{"name": name, "value": value} for name, value in params.items()]
    final = run(task, tmp_path, backend, params=values)
    assert condition(final)["status"] == "True", condition(final)["message"]
    digest = hashlib.sha256("".join(params.values()).encode()).hexdigest()
    assert final["status"]["results"][0]["value"] == f"{digest}\n"


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sidecar-logs", "termination-message"])
def test_large_parameters_that_nothing_uses_do_not_matter(backend, tmp_path):
    params = {name: name * 500_000 for name in "abc"}
    task = {
        "params": [{"name": name, "type": "string"} for name in params],
        "results": [{"name": "digest", "type": "string"}],
        "steps": [step("printf d > $(results.digest.path)", "one")],
    }
    values = [{"name": name, "value": value} for name, value in params.items()]
    final = run(task, tmp_path, backend, params=values)
    assert condition(final)["status"] == "True", condition(final)["message"]


class Tampered:
    """The cluster, where somebody else was first under the names of a run's ConfigMaps."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    def create(self, kind: Any, obj: Object) -> Object:
        if kind == CONFIG_MAPS:
            other = {key: base64.b64encode(b"echo pwned").decode() for key in obj["binaryData"]}
            obj = {**obj, "binaryData": other}
        return self._cluster.create(kind, obj)


def test_a_parameter_changed_on_the_way_fails_the_run_by_name(tmp_path):
    core = ResultsManager.from_flags({"results-from": "termination-message"})
    task = {
        "params": [{"name": name, "type": "string"} for name in "abc"],
        "steps": [step("sh /tekton/params/a /tekton/params/b /tekton/params/c", "one")],
    }
    with Engine(lambda cluster: Reconciler(core, Tampered(cluster)), workdir=tmp_path) as engine:
        engine.submit(
            {
                "apiVersion": "tekton.dev/v1",
                "kind": "TaskRun",
                "metadata": {"name": "run", "namespace": "default"},
                "spec": {
                    "taskSpec": task,
                    "params": [{"name": name, "value": name * 450_000} for name in "abc"],
                },
            }
        )
        (final,) = engine.run_until_done(timeout=120)
    assert condition(final)["reason"] == "InitContainerFailed"
    assert "/tekton/params/a is not the parameter as the run has it" in condition(final)["message"]
    assert not [
        one for one in final["status"].get("steps", ()) if one.get("terminated", {}).get("exitCode") == 0
    ]
