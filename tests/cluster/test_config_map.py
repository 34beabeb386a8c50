"""Results through ConfigMaps on a real cluster, by a controller that may do what the manifests say, no more.

The sidecar's image is RESULTSFW_SIDECAR_NET_IMAGE: one that can speak TLS. Steps that need Python take
RESULTSFW_PYTHON_IMAGE.
"""

import base64
import os
import time

import pytest
from rights import least_kubeconfig
from situations import ENDS, cancel_when_the_second_step_runs, check, submit, taskrun
from written import MiB, a_run, check_run, written_runs

from resultsfw import PODS, ResultsManager
from resultsfw.cluster import CONFIG_MAPS
from resultsfw.errors import ClusterError
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw_backends.config_map import ROLE_BINDINGS, ROLES

IMAGE = os.environ.get("RESULTSFW_SIDECAR_NET_IMAGE", "docker.io/resultsfw/sidecar-net:0.1.0")
PYTHON = os.environ.get("RESULTSFW_PYTHON_IMAGE", "python:3.11")

FORGE = r"""#!/usr/bin/python3
import http.client, json, os, ssl
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
where = "/api/v1/namespaces/$(context.taskRun.namespace)/configmaps/resultsfw-$(context.taskRun.uid)-0"
metadata = {"annotations": {"resultsfw.dev/records": "{}"}}
body = {"data": {"digest": "forged"}, "metadata": metadata, "immutable": IMMUTABLE}
tls = ssl.create_default_context(cafile=f"{folder}/ca.crt")
server = http.client.HTTPSConnection(os.environ["KUBERNETES_SERVICE_HOST"], context=tls)
token = open(f"{folder}/token").read()
head = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
server.request("PATCH", where, json.dumps(body), head)
answer = server.getresponse()
assert answer.status == 200, (answer.status, answer.read())
open("$(results.digest.path)", "w").write("real")
"""
"""A Step's own token is of the same service account as the sidecar's."""


RUNS = written_runs(300)


@pytest.fixture
def least(place, tmp_path):
    """A kubeconfig of a controller with the rights of the base and of this backend, and no more."""
    with least_kubeconfig(place, "config-map", tmp_path) as file:
        yield file


def left_of(place):
    """What is left of all runs."""
    return [
        item["metadata"]["name"]
        for kind in (CONFIG_MAPS, ROLES, ROLE_BINDINGS)
        for item in place.server.list(kind, place.namespace)
        if item["metadata"]["name"].startswith("resultsfw-")
        and place.namespace not in item["metadata"]["name"]
    ]


@pytest.mark.parametrize("sidecar", ["native", "plain"])
def test_everything_arrives_or_is_named_and_nothing_is_left(sidecar, place, least):
    place.flags(
        **{
            "results-from": "config-map",
            "max-result-size": str(MiB + 10),
            "config.config-map": f"sidecar: {sidecar}\nimage: {IMAGE}",
        }
    )
    place.start("--no-leader-elect", "--kubeconfig", str(least))
    for name, (script, results, _) in RUNS.items():
        place.server.create(TASKRUNS, a_run(place, name, script, results))
    situations = [
        end for end in ENDS if end.startswith("sl-") and end not in ("sl-crd-overflow", "sl-oversize")
    ]
    for situation in situations:
        submit(place.server, situation, taskrun(situation, place.namespace, situation, place.managed_by))
    for word in ("True", "False"):
        script = FORGE.replace("IMMUTABLE", word)
        place.server.create(
            TASKRUNS, a_run(place, f"forged-{word.lower()}", script, ["digest"], image=PYTHON)
        )

    def cancel(run):
        if run["metadata"]["name"] == "sl-cancelled":
            cancel_when_the_second_step_runs(place.server, run)

    finals = place.until_done(400, cancel)
    for name, final in finals.items():
        if name in RUNS:
            check_run(RUNS[name], final)
        elif name in ENDS:
            check(name, final)
    (verdict,) = finals["forged-true"]["status"]["conditions"]
    assert verdict["reason"] == "TaskRunResultsIncomplete"
    assert "is immutable" in verdict["message"]
    assert '"digest"' in verdict["message"]
    assert "results" not in finals["forged-true"]["status"]
    # One that may still be written, the sidecar writes: only what it says is believed.
    assert finals["forged-false"]["status"]["results"][0]["value"] == "real"
    place.until(lambda: not left_of(place), 60)
    place.assert_none_doubled()


def test_one_that_is_changed_after_the_sidecar_wrote_it_is_reported(server, options, place):
    """The pod is there, the controller was not; annotations can be changed even of what is immutable."""
    core = ResultsManager.from_flags({"results-from": "config-map", "config.config-map": f"image: {IMAGE}"})
    reconciler = Reconciler(core, server, options=options)
    server.create(TASKRUNS, a_run(place, "run", "printf real > $(results.digest.path)", ["digest"]))
    uid = server.get(TASKRUNS, place.namespace, "run")["metadata"]["uid"]
    end = time.monotonic() + 60
    while True:
        reconciler.reconcile(place.namespace, "run")
        pod = server.get(PODS, place.namespace, "run-pod")
        name = f"resultsfw-{uid}-0"
        found = server.get(CONFIG_MAPS, place.namespace, name)
        if found.get("immutable"):
            break
        assert time.monotonic() < end, pod.get("status")
        time.sleep(0.01)
    records = found["metadata"]["annotations"]["resultsfw.dev/records"]
    assert found["data"] == {"digest": "real"}
    patch = {"metadata": {"annotations": {"resultsfw.dev/records": records.replace("digest", "tigest")}}}
    server.patch(CONFIG_MAPS, place.namespace, name, patch)

    def so():
        reconciler.reconcile(place.namespace, "run")
        conditions = server.get(TASKRUNS, place.namespace, "run")["status"]["conditions"]
        return conditions[0]["status"] == "False"

    place.until(so, 60)
    (verdict,) = server.get(TASKRUNS, place.namespace, "run")["status"]["conditions"]
    assert "is not as the results sidecar wrote it" in verdict["message"]
    assert '"digest"' in verdict["message"]


def test_the_walls_of_the_server_are_those_we_count_with(server, place):
    """A mebibyte of values beside full annotations is stored; a byte more of either is refused by number."""
    letter = "resultsfw.dev/records"
    whole = {
        "metadata": {
            "name": "whole",
            "namespace": place.namespace,
            "annotations": {letter: "é" * ((262_144 - len(letter)) // 2)},
        },
        "data": {f"key-{i:0200}": "<" * (MiB // 4 // 64) for i in range(128)},
        "binaryData": {
            f"bin-{i:0200}": base64.b64encode(b"\1" * (MiB // 2 // 128)).decode() for i in range(128)
        },
        "immutable": True,
    }
    server.create(CONFIG_MAPS, whole)
    for key, more in (("data", {"more": "x"}), ("metadata", {"annotations": {letter: "x" * 262_144}})):
        over = {**whole, key: {**whole[key], **more}}
        over["metadata"] = {**over["metadata"], "name": "over"}
        with pytest.raises(ClusterError, match="Too long: may not be more than"):
            server.create(CONFIG_MAPS, over)
