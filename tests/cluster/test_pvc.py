"""Results on a PersistentVolumeClaim: from Task to Task, read and removed by pods, and what a claim lacks.

RESULTSFW_SIDECAR_NET_IMAGE is the sidecar's image with the transports that need no library. The cluster must
give a claim a volume to which every user may write, or RESULTSFW_CLAIM_GROUP names the group that may.
"""

import hashlib
import json
import os
import subprocess
import sys

import yaml
from situations import check_all_by_reference

from resultsfw.errors import NotFoundError
from resultsfw.references import read_reference
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import CLAIMS, PIPELINERUNS, TASKRUNS, TASKS

SIZE = 24_000_000
READ = 3_000_000
"""Bytes of a value that a reader pod prints."""


def options(**more):
    config = dict(more)
    if image := os.environ.get("RESULTSFW_SIDECAR_NET_IMAGE"):
        config["image"] = image
    if group := os.environ.get("RESULTSFW_CLAIM_GROUP"):
        config["fs-group"] = int(group)
    return config


def create_claim(place, *modes):
    spec = {"accessModes": list(modes), "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}
    place.server.create(CLAIMS, {"metadata": {"name": "results", "namespace": place.namespace}, "spec": spec})


def start(place):
    place.flags(results_from="pvc", **{"config.pvc": yaml.safe_dump(options())})
    return place.start(sidecar=False)


def writing(size):
    script = (
        f"head -c {size} /dev/zero | tr '\\0' x > $(results.big.path); printf small > $(results.small.path)"
    )
    names = ("big", "small")
    results = [{"name": name, "type": "string"} for name in names]
    return {"results": results, "steps": [{"name": "one", "image": "busybox:1", "script": script}]}


def create_run(place, name, size):
    metadata = {"name": name, "namespace": place.namespace}
    spec = {"managedBy": place.managed_by, "taskSpec": writing(size)}
    place.server.create(
        TASKRUNS, {"apiVersion": TASKRUNS.api_version, "kind": "TaskRun", "metadata": metadata, "spec": spec}
    )


def command_to_read(place, folder, run, result):
    """The command that reads a value through a pod, and the file that it writes."""
    config = {"config.pvc": yaml.safe_dump(options(**{"read-wait": 60}))}
    saved, flags, out = (folder / name for name in ("run.json", "flags.json", "value"))
    saved.write_text(json.dumps({"apiVersion": TASKRUNS.api_version, "kind": "TaskRun", **place.runs()[run]}))
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "feature-flags"},
        "data": config,
    }
    flags.write_text(json.dumps(manifest))
    command = [sys.executable, "-m", "resultsfw.cli", "value", "-f", str(saved), result, "-o", str(out)]
    command += ["--feature-flags", str(flags), "--kubeconfig", os.environ["RESULTSFW_KUBECONFIG"]]
    return command, out


def values_of(run):
    [condition] = run["status"]["conditions"]
    assert condition["status"] == "True", condition
    return {result["name"]: result["value"] for result in run["status"]["results"]}


def test_a_claim_that_is_missing_ends_the_run_by_its_name(held):
    start(held)
    create_run(held, "run", 10)
    [condition] = held.until_done(60)["run"]["status"]["conditions"]
    assert condition["status"] == "False"
    assert 'PersistentVolumeClaim "results" (claim of config.pvc)' in condition["message"]


def test_a_value_is_read_by_a_pod_and_removed_by_another(held, tmp_path):
    create_claim(held, "ReadWriteOnce")
    start(held)
    create_run(held, "run", READ)
    values = values_of(held.until_done(120)["run"])
    assert values["small"] == "small"
    reference = read_reference(values["big"])
    command, out = command_to_read(held, tmp_path, "run", "big")
    live = [*command[:4], "run", *command[6:]]  # the run itself, in place of -f and its file
    done = subprocess.run(
        [*live, "-n", held.namespace], check=True, timeout=120, capture_output=True, text=True
    )
    assert f"note: creating Pod {held.namespace}/resultsfw-" in done.stderr
    read = out.read_bytes()
    assert (len(read), f"sha256:{hashlib.sha256(read).hexdigest()}") == (READ, reference.digest)

    held.server.delete(TASKRUNS, held.namespace, "run")

    def is_gone():
        try:
            held.server.get(TASKRUNS, held.namespace, "run")
        except NotFoundError:
            return True
        return False

    held.until(is_gone, 120)
    done = subprocess.run(command, check=False, timeout=120, capture_output=True, text=True)
    assert (done.returncode, "is gone: somebody removed it" in done.stderr) == (1, True)
    held.until(lambda: not [name for name in held.pods() if name.startswith("resultsfw-")], 30)


def test_24_megabytes_from_task_to_task(held):
    place = held
    create_claim(place, "ReadWriteMany")
    start(place)
    use = {
        "params": [{"name": "big", "type": "string"}],
        "results": [{"name": "sum", "type": "string"}, {"name": "seen", "type": "string"}],
        "steps": [
            {
                "name": "one",
                "image": "busybox:1",
                "securityContext": {"runAsUser": 12345},
                "script": "sha256sum < /tekton/params/big | cut -c1-64 | tr -d '\\n' > $(results.sum.path)\n"
                "ls / | grep -c claim > $(results.seen.path) || true",
            }
        ],
    }
    # Tekton's webhook compares a TaskRun's parameters with an embedded Task, and knows no references.
    named = {"metadata": {"name": "use", "namespace": place.namespace}, "spec": use}
    place.server.create(TASKS, {"apiVersion": TASKS.api_version, "kind": TASKS.kind, **named})
    tasks = [
        {"name": "make", "taskSpec": writing(SIZE)},
        {
            "name": "use",
            "taskRef": {"name": "use"},
            "params": [{"name": "big", "value": "$(tasks.make.results.big)"}],
        },
    ]
    results = [
        {"name": name, "value": f"$(tasks.{task}.results.{name})"}
        for task, name in (("use", "sum"), ("use", "seen"), ("make", "big"))
    ]
    place.server.create(
        PIPELINERUNS,
        {
            "apiVersion": PIPELINERUNS.api_version,
            "kind": PIPELINERUNS.kind,
            "metadata": {"name": "p", "namespace": place.namespace},
            "spec": {"managedBy": place.managed_by, "pipelineSpec": {"tasks": tasks, "results": results}},
        },
    )
    place.until(lambda: is_done(place.server.get(PIPELINERUNS, place.namespace, "p")), 180)
    values = values_of(place.server.get(PIPELINERUNS, place.namespace, "p"))
    assert values["big"]["digest"] == f"sha256:{values['sum']}"
    assert (values["big"]["size"], values["seen"]) == (str(SIZE), "0\n")


def test_the_situations_end_as_with_every_backend(held, tmp_path):
    """What was captured of Tekton: a value arrives, itself or by reference, or the run says why not."""
    create_claim(held, "ReadWriteMany")
    held.flags(results_from="pvc", **{"config.pvc": yaml.safe_dump(options(**{"inline-bytes": 100}))})
    held.start(sidecar=False)

    def read(run, result, _reference):
        command, out = command_to_read(held, tmp_path, run, result)
        subprocess.run(command, check=True, timeout=120)
        return out.read_text()

    check_all_by_reference(held, read)
