"""Whole runs on the local engine: real Steps, the real sidecar, the real container that fetches files."""

import base64
import hashlib
import json
import threading
import time

import pytest
import yaml
from registryserver import PASSWORD, digest_of

from resultsfw import ResultsManager, read_reference
from resultsfw.errors import NotFoundError
from resultsfw.local.engine import Engine
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw_transports.logins import ENV_AUTHS

pytestmark = pytest.mark.slow

SIZE = 3_000_000
MAKE = f"head -c {SIZE} /dev/zero | tr '\\0' q > $(results.big.path); env > $(results.env.path)"
USE = "sha256sum < /tekton/params/big | cut -c1-64 | tr -d '\\n' > $(results.sum.path)"


def a_task(name, script, *results, **fields):
    step = {"name": "s", "image": "busybox:1", "script": f"#!/bin/sh\n{script}"}
    declared = [{"name": result, "type": "string"} for result in results]
    return {"name": name, "taskSpec": {"results": declared, "steps": [step]}, **fields}


def pipelinerun():
    use = a_task("use", USE, "sum", params=[{"name": "big", "value": "$(tasks.make.results.big)"}])
    use["taskSpec"]["params"] = [{"name": "big", "type": "string"}]
    results = [{"name": name, "value": f"$(tasks.use.results.{name})"} for name in ("sum",)]
    results.append({"name": "big", "value": "$(tasks.make.results.big)"})
    return {
        "apiVersion": PIPELINERUNS.api_version,
        "kind": PIPELINERUNS.kind,
        "metadata": {
            "name": "p",
            "namespace": "default",
            "annotations": {"oci.resultsfw.dev/repository-per": "run"},
        },
        "spec": {"pipelineSpec": {"tasks": [a_task("make", MAKE, "big", "env"), use], "results": results}},
    }


def test_from_task_to_task_to_a_person_to_nothing(make_registry, tmp_path, monkeypatch):
    registry = make_registry(login="bearer")
    config = {"repository": f"{registry.host}/results", "plain-http": True}
    core = ResultsManager.from_flags({"results-from": "oci", "config.oci": yaml.safe_dump(config)})
    monkeypatch.setenv(f"{ENV_AUTHS}_0", registry.config_json)
    data = {".dockerconfigjson": base64.b64encode(registry.config_json.encode()).decode()}
    metadata = {"name": "push", "namespace": "default"}
    with Engine(
        lambda cluster: Reconciler(core, cluster),
        workdir=tmp_path / "work",
        pipelines=lambda cluster: PipelineReconciler(core, cluster),
    ) as engine:
        engine.submit({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
        account = {"name": "default", "namespace": "default"}
        pulls = {"imagePullSecrets": [{"name": "push"}]}
        engine.submit({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account, **pulls})
        engine.submit(pipelinerun())
        [run] = engine.run_until_done(timeout=60)
        label = "tekton.dev/pipelineTask"
        taskruns = {found["metadata"]["labels"][label]: found for found in engine.store.list(TASKRUNS)}
        [condition] = run["status"]["conditions"]
        assert condition["status"] == "True", [condition, taskruns]
        values = {result["name"]: result["value"] for result in run["status"]["results"]}
        reference = read_reference(values["big"])
        value = b"q" * SIZE
        assert values["sum"] == hashlib.sha256(value).hexdigest()
        assert (reference.size, reference.digest) == (SIZE, digest_of(value))
        assert b"".join(core.dereference(reference, engine.store, namespace="default")) == value
        assert PASSWORD not in json.dumps([run, *taskruns.values()])
        make = taskruns["make"]
        assert "RESULTSFW_OCI" not in json.dumps(make["status"]["results"])  # the Step sees no login
        assert make["metadata"]["finalizers"] == ["resultsfw.dev/purge-oci"]
        repository = f"results/default/{make['metadata']['uid']}"
        manifest = json.loads(registry.manifests[repository][reference.location.rpartition("+")[2]][1])
        assert manifest["annotations"]["dev.resultsfw.pipelinerun"] == "p"

        name = make["metadata"]["name"]
        engine.store.delete(TASKRUNS, "default", name)
        end = time.monotonic() + 60
        while _exists(engine, name):
            assert time.monotonic() < end
            threading.Event().wait(0.02)
        assert not registry.manifests[repository]


def _exists(engine, name):
    try:
        engine.store.get(TASKRUNS, "default", name)
    except NotFoundError:
        return False
    return True
