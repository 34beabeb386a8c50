"""A result of 20 MB through a real S3 server: from a pod, by reference, to a person, and gone with its run.

RESULTSFW_S3_HOST is an address of this machine that pods reach; the S3 server of the test listens on it.
RESULTSFW_STORE_SIDECAR_IMAGE is the sidecar's image with the library in it.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from s3_store import HOST, SECRETS, create_secret, options_of
from situations import check_all_by_reference

from resultsfw import ResultsManager, read_reference
from resultsfw.errors import NotFoundError
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS, TASKS

sys.path += [str(Path(__file__).parents[1] / name) for name in ("object_store", "encryption")]

from operatorkeys import add_key
from s3server import KEY, SECRET

from resultsfw_backends._encryption import SECRET_TYPE
from resultsfw_transports.store import Store

SIZE = 24_000_000

pytestmark = pytest.mark.skipif(not HOST, reason="RESULTSFW_S3_HOST is not set")

SCRIPT = f"""#!/bin/sh
head -c {SIZE} /dev/zero | tr '\\0' x > $(results.big.path)
printf small > $(results.small.path)
env | grep -c AWS_ > $(results.seen.path) || true
"""


def taskrun(place):
    names = ("big", "small", "seen")
    return {
        "apiVersion": TASKRUNS.api_version,
        "kind": TASKRUNS.kind,
        "metadata": {"name": "big", "namespace": place.namespace},
        "spec": {
            "managedBy": place.managed_by,
            "taskSpec": {
                "results": [{"name": name, "type": "string"} for name in names],
                "steps": [{"name": "one", "image": "busybox:1", "script": SCRIPT}],
            },
        },
    }


def test_a_secret_that_is_not_there_ends_the_run(held, s3):
    place = held
    place.flags(results_from="object-store", **{"config.object-store": yaml.safe_dump(options_of(s3))})
    place.start(sidecar=False)
    place.server.create(TASKRUNS, taskrun(place))
    [condition] = place.until_done(120)["big"]["status"]["conditions"]
    assert condition["status"] == "False"
    assert 'secret "store" not found' in condition["message"]


def test_a_result_of_24_megabytes(held, s3, tell, tmp_path):
    place = held
    config = options_of(s3)
    flags = {"results-from": "object-store", "config.object-store": yaml.safe_dump(config)}
    create_secret(place, s3)
    place.flags(**flags)
    controller = place.start(sidecar=False)
    place.server.create(TASKRUNS, taskrun(place))
    run = place.until_done(120)["big"]
    [condition] = run["status"]["conditions"]
    assert condition["status"] == "True", condition
    values = {result["name"]: result["value"] for result in run["status"]["results"]}
    assert (values["small"], values["seen"]) == ("small", "0\n")  # the Step saw no credentials
    reference = values["big"]
    assert (reference["size"], reference["backend"]) == (str(SIZE), "object-store")
    [pod] = place.pods().values()
    for words in (KEY, SECRET):
        assert words not in json.dumps([run, pod]) + "".join(controller.lines)

    saved, out = tmp_path / "run.json", tmp_path / "value"
    saved.write_text(json.dumps({"apiVersion": "tekton.dev/v1", "kind": "TaskRun", **run}))
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "feature-flags"}, "data": flags}
    (tmp_path / "flags.json").write_text(json.dumps(manifest))
    command = [sys.executable, "-m", "resultsfw.cli", "value", "-f", str(saved), "big", "-o", str(out)]
    subprocess.run([*command, "--feature-flags", str(tmp_path / "flags.json")], check=True, timeout=60)
    assert out.stat().st_size == SIZE

    store = Store(config["url"], config["options"], patience=5)
    path = reference["location"].removeprefix(config["url"] + "/")
    assert store.size(path) == SIZE
    place.server.delete(TASKRUNS, place.namespace, "big")

    def gone():
        try:
            place.server.get(TASKRUNS, place.namespace, "big")
        except NotFoundError:
            return True
        return False

    place.until(gone, 60)
    assert store.size(path) is None
    tell(_timed(pod, run))


def test_24_megabytes_from_task_to_task(held, s3):
    values = passed_on(held, s3, options_of(s3))
    assert values["big"]["digest"] == f"sha256:{values['sum']}"
    assert values["big"]["size"] == str(SIZE)


def test_24_encrypted_megabytes_from_task_to_task(held, s3, tmp_path):
    """RESULTSFW_ENCRYPTING_SIDECAR_IMAGE is the sidecar's image with the library for encryption, too."""
    image = os.environ.get("RESULTSFW_ENCRYPTING_SIDECAR_IMAGE")
    if not image:
        pytest.skip("RESULTSFW_ENCRYPTING_SIDECAR_IMAGE is not set")
    add_key(tmp_path, "2026-11")
    config = {**options_of(s3), "image": image, "encryption": {"options": {"folder": str(tmp_path)}}}
    values = passed_on(held, s3, config)
    flags = {"results-from": "object-store", "config.object-store": yaml.safe_dump(config)}
    core = ResultsManager.from_flags(flags)
    big, summed = (
        b"".join(core.dereference(read_reference(values[name]), None, namespace=held.namespace))
        for name in ("big", "sum")
    )
    # The Task got the value itself as a file.
    assert (len(big), hashlib.sha256(big).hexdigest()) == (SIZE, summed.decode())
    assert values["big"]["digest"] != f"sha256:{summed.decode()}"

    store = Store(config["url"], config["options"], patience=5)
    path = values["big"]["location"].removeprefix(config["url"] + "/")
    assert b"xxxxxxxx" not in b"".join(store.pieces(path, store.size(path)))
    pods = held.pods()
    for name, pod in pods.items():
        log = b"".join(held.server.read_log(held.namespace, name, RESULTS_SIDECAR, limit=100_000))
        assert b"xxxxxxxx" not in log
        assert summed not in log
        for container in pod["spec"]["containers"]:
            assert "KEYS" not in json.dumps(container)
    [secret] = [found for found in held.server.list(SECRETS, held.namespace) if found["type"] == SECRET_TYPE]
    [owner] = secret["metadata"]["ownerReferences"]
    assert (owner["kind"], secret["immutable"]) == ("TaskRun", True)


def passed_on(place, s3, config):
    """Results of a Pipeline in which one Task gets another's result as a file."""
    create_secret(place, s3)
    place.flags(**{"results-from": "object-store", "config.object-store": yaml.safe_dump(config)})
    place.start(sidecar=False)
    make = {
        "results": [{"name": "big", "type": "string"}],
        "steps": [
            {
                "name": "one",
                "image": "busybox:1",
                "script": f"head -c {SIZE} /dev/zero | tr '\\0' x > $(results.big.path)",
            }
        ],
    }
    use = {
        "params": [{"name": "big", "type": "string"}],
        "results": [{"name": "sum", "type": "string"}],
        "steps": [
            {
                "name": "one",
                "image": "busybox:1",
                "securityContext": {"runAsUser": 12345},
                "script": "sha256sum < /tekton/params/big | cut -c1-64 | tr -d '\\n' > $(results.sum.path)",
            }
        ],
    }
    big = {"name": "big", "value": "$(tasks.make.results.big)"}
    # Tekton's webhook compares a TaskRun's parameters with an embedded Task, and knows no references.
    named = {"metadata": {"name": "use", "namespace": place.namespace}, "spec": use}
    place.server.create(TASKS, {"apiVersion": TASKS.api_version, "kind": TASKS.kind, **named})
    tasks = [
        {"name": "make", "taskSpec": make},
        {"name": "use", "taskRef": {"name": "use"}, "params": [big]},
    ]
    results = [{"name": "sum", "value": "$(tasks.use.results.sum)"}, big]
    place.server.create(
        PIPELINERUNS,
        {
            "apiVersion": PIPELINERUNS.api_version,
            "kind": PIPELINERUNS.kind,
            "metadata": {"name": "p", "namespace": place.namespace},
            "spec": {
                "managedBy": place.managed_by,
                "pipelineSpec": {"tasks": tasks, "results": results},
            },
        },
    )

    place.until(lambda: is_done(place.server.get(PIPELINERUNS, place.namespace, "p")), 180)
    run = place.server.get(PIPELINERUNS, place.namespace, "p")
    [condition] = run["status"]["conditions"]
    assert condition["status"] == "True", condition
    return {result["name"]: result["value"] for result in run["status"]["results"]}


def _timed(pod, run):
    """When what happened; a Kubernetes time has seconds."""
    [step] = run["status"]["steps"]
    ended = step["terminated"]
    return (
        f"{SIZE} bytes; pod made {pod['metadata']['creationTimestamp']}, Step {ended['startedAt']} to "
        f"{ended['finishedAt']}, run complete {run['status']['completionTime']}"
    )


def test_the_situations_end_as_with_every_backend(held, s3):
    """What was captured of Tekton: a value arrives, itself or by reference, or the run says why not."""
    place = held
    config = {**options_of(s3), "inline-bytes": 100}
    create_secret(place, s3)
    place.flags(results_from="object-store", **{"config.object-store": yaml.safe_dump(config)})
    place.start(sidecar=False)
    core = ResultsManager.from_flags(
        {"results-from": "object-store", "config.object-store": yaml.safe_dump(config)}
    )

    def read(_run, _result, reference):
        pieces = core.dereference(reference, place.server, namespace=place.namespace)
        return b"".join(pieces).decode()

    check_all_by_reference(place, read)
