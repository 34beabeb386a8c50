"""Results through container registries: from a pod, to the next Task, to a person, and gone with their run.

Pods reach the registries of these tests on this machine at RESULTSFW_NODE_ADDRESS. The sidecar's image is
RESULTSFW_SIDECAR_NET_IMAGE.
"""

import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from situations import check_all_by_reference

from resultsfw import Kind
from resultsfw.errors import NotFoundError
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import PIPELINERUNS, SERVICE_ACCOUNTS, TASKRUNS, TASKS
from resultsfw_transports.registry import Registry

sys.path.append(str(Path(__file__).parents[1] / "oci"))

from registryserver import PASSWORD, PROGRAM, RealRegistry, RegistryServer, digest_of

SECRETS = Kind("", "v1", "secrets", "Secret")
ADDRESS = os.environ.get("RESULTSFW_NODE_ADDRESS", "")
SIZE = 200_000_000
MEGABYTE = 1_000_000

pytestmark = pytest.mark.skipif(not ADDRESS, reason="RESULTSFW_NODE_ADDRESS is not set")


@pytest.fixture
def real_registry(tmp_path):
    if PROGRAM is None:
        pytest.skip("there is no program docker-registry here (Debian: apt-get install docker-registry)")
    registry = RealRegistry(tmp_path / "registry", listen=ADDRESS)
    yield registry
    registry.close()


@pytest.fixture
def registry():
    registry = RegistryServer(listen=ADDRESS, login="bearer")
    yield registry
    registry.close()


def flags_of(registry, **more):
    config = {"repository": f"{registry.host}/results", "plain-http": True, **more}
    if image := os.environ.get("RESULTSFW_SIDECAR_NET_IMAGE"):
        config["image"] = image
    return {"results-from": "oci", "config.oci": yaml.safe_dump(config)}


def a_task(script, *results, params=()):
    return {
        "params": [{"name": name, "type": "string"} for name in params],
        "results": [{"name": name, "type": "string"} for name in results],
        "steps": [{"name": "s", "image": "busybox:1", "script": f"#!/bin/sh\n{script}"}],
    }


def gone(place, name):
    try:
        place.server.get(TASKRUNS, place.namespace, name)
    except NotFoundError:
        return True
    return False


class Peak:
    """The peak memory of the results sidecar and of the controller, which are processes of this machine."""

    def __init__(self, mark, controller):
        self._mark, self._controller, self.sidecar = mark.encode(), controller, 0.0

    def look(self):
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark in (process / "environ").read_bytes():
                    self.sidecar = max(self.sidecar, _peak(process))
            except OSError:
                continue

    @property
    def controller(self):
        return _peak(Path("/proc") / str(self._controller.process.pid))


def _peak(process):
    lines = (process / "status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def test_200_megabytes_from_task_to_task_to_a_person(held, real_registry, tell, tmp_path):
    place = held
    flags = flags_of(real_registry)
    place.flags(**flags)
    controller = place.start(sidecar=False)
    script = "sha256sum < /tekton/params/big | cut -c1-64 | tr -d '\\n' > $(results.sum.path)"
    use = a_task(script, "sum", params=["big"])
    # Tekton's webhook compares a TaskRun's parameters with an embedded Task, and knows no references.
    named = {"metadata": {"name": "use", "namespace": place.namespace}, "spec": use}
    place.server.create(TASKS, {"apiVersion": TASKS.api_version, "kind": TASKS.kind, **named})
    big = {"name": "big", "value": "$(tasks.make.results.big)"}
    tasks = [
        {
            "name": "make",
            "taskSpec": a_task(f"head -c {SIZE} /dev/zero | tr '\\0' x > $(results.big.path)", "big"),
        },
        {"name": "use", "taskRef": {"name": "use"}, "params": [big]},
    ]
    results = [{"name": "sum", "value": "$(tasks.use.results.sum)"}, big]
    place.server.create(
        PIPELINERUNS,
        {
            "apiVersion": PIPELINERUNS.api_version,
            "kind": PIPELINERUNS.kind,
            "metadata": {"name": "p", "namespace": place.namespace},
            "spec": {"managedBy": place.managed_by, "pipelineSpec": {"tasks": tasks, "results": results}},
        },
    )
    peak = Peak(f"RESULTSFW_OCI_REGISTRY={real_registry.host}\0", controller)

    def over():
        peak.look()
        return is_done(place.server.get(PIPELINERUNS, place.namespace, "p"))

    place.until(over, 300)
    run = place.server.get(PIPELINERUNS, place.namespace, "p")
    [condition] = run["status"]["conditions"]
    assert condition["status"] == "True", [condition, place.runs()]
    values = {result["name"]: result["value"] for result in run["status"]["results"]}
    assert values["big"]["digest"] == f"sha256:{values['sum']}"
    assert values["big"]["size"] == str(SIZE)
    assert 0 < peak.sidecar < 64
    assert peak.controller < 256
    label = "tekton.dev/pipelineTask"
    make = next(run for run in place.runs().values() if run["metadata"]["labels"][label] == "make")

    saved, out = tmp_path / "run.json", tmp_path / "value"
    saved.write_text(json.dumps({**make, "apiVersion": TASKRUNS.api_version, "kind": TASKRUNS.kind}))
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "feature-flags"}, "data": flags}
    (tmp_path / "flags.json").write_text(json.dumps(manifest))
    command = [sys.executable, "-m", "resultsfw.cli", "value", "-f", str(saved), "big", "-o", str(out)]
    began = time.monotonic()
    subprocess.run([*command, "--feature-flags", str(tmp_path / "flags.json")], check=True, timeout=120)
    took = time.monotonic() - began
    assert out.stat().st_size == SIZE

    client = Registry(real_registry.host, login=lambda _: None, plain=True, patience=5)
    tag = f"{make['metadata']['uid']}-0-0"
    repository = f"results/{place.namespace}"
    assert client.digest_of(repository, tag) == values["big"]["location"].rpartition("/")[2]
    place.server.delete(TASKRUNS, place.namespace, make["metadata"]["name"])
    place.until(lambda: gone(place, make["metadata"]["name"]), 60)
    assert client.digest_of(repository, tag) is None
    [step] = make["status"]["steps"]
    user = next(pod for pod in place.pods().values() if pod["metadata"]["labels"][label] == "use")
    [fetch] = [
        status["state"]["terminated"]
        for status in user["status"]["initContainerStatuses"]
        if status["name"] == "fetch-results-oci"
    ]
    tell(
        f"{SIZE} bytes; Step ended {step['terminated']['finishedAt']}, run complete "
        f"{make['status']['completionTime']}; peak of the sidecar {peak.sidecar:.0f} MB, of the controller "
        f"{peak.controller:.0f} MB; to the next Task's file {fetch['startedAt']} to {fetch['finishedAt']}; "
        f"to a file of a person {took:.1f} s"
    )


def test_the_login_of_the_service_account_and_an_image(held, registry):
    """Pushed with a pull secret that no Step sees, attached to the image that the Task names."""
    place = held
    image = f"{registry.host}/team/app@{registry.push_image('team/app')}"
    data = {".dockerconfigjson": base64.b64encode(registry.config_json.encode()).decode()}
    kind = "kubernetes.io/dockerconfigjson"
    metadata = {"name": "push", "namespace": place.namespace}
    place.server.create(SECRETS, {"metadata": metadata, "type": kind, "data": data})
    metadata = {"name": "builder", "namespace": place.namespace}
    place.server.create(SERVICE_ACCOUNTS, {"metadata": metadata, "imagePullSecrets": [{"name": "push"}]})
    place.flags(**flags_of(registry))
    os.environ["RESULTSFW_OCI_AUTHS_0"] = registry.config_json  # the controller's own
    try:
        controller = place.start(sidecar=False)
    finally:
        del os.environ["RESULTSFW_OCI_AUTHS_0"]
    make = a_task(
        f"head -c {MEGABYTE} /dev/zero | tr '\\0' x > $(results.big.path)\n"
        f"printf '{image}' > $(results.IMAGE.path)\n"
        f"env | grep -c RESULTSFW_OCI > $(results.seen.path) || true",
        *("big", "IMAGE", "seen"),
    )
    place.server.create(
        TASKRUNS,
        {
            "apiVersion": TASKRUNS.api_version,
            "kind": TASKRUNS.kind,
            "metadata": {
                "name": "big",
                "namespace": place.namespace,
                "annotations": {
                    "oci.resultsfw.dev/subject": "IMAGE",
                    "oci.resultsfw.dev/repository-per": "run",
                },
            },
            "spec": {"managedBy": place.managed_by, "serviceAccountName": "builder", "taskSpec": make},
        },
    )
    run = place.until_done(120)["big"]
    [condition] = run["status"]["conditions"]
    assert condition["status"] == "True", condition
    values = {result["name"]: result["value"] for result in run["status"]["results"]}
    assert values["seen"] == "0\n"
    value = b"x" * MEGABYTE
    assert values["big"]["digest"] == digest_of(value)
    repository = f"results/{place.namespace}/{run['metadata']['uid']}"
    assert registry.blobs[repository][digest_of(value)] == value
    assert registry.blobs["team/app"][digest_of(value)] == value
    [pod] = place.pods().values()
    assert PASSWORD not in json.dumps([run, pod]) + "".join(controller.lines)
    attached = len(registry.manifests["team/app"])
    place.server.delete(TASKRUNS, place.namespace, "big")
    place.until(lambda: gone(place, "big"), 60)
    assert not registry.manifests[repository]
    assert len(registry.manifests["team/app"]) == attached  # it is the image's


def test_the_situations_end_as_with_every_backend(held, registry):
    """What was captured of Tekton: a value arrives, itself or by reference, or the run says why not."""
    place = held
    registry.login = ""
    place.flags(**flags_of(registry, **{"inline-bytes": 100}))
    place.start(sidecar=False)
    repository = f"results/{place.namespace}"
    check_all_by_reference(
        place, lambda _run, _result, reference: registry.blobs[repository][reference.digest].decode()
    )
