"""Results through RunResults on a real cluster, by a controller that may do what the manifests say, no more.

The sidecar's image is RESULTSFW_SIDECAR_NET_IMAGE: one that can speak TLS. Steps that need Python take
RESULTSFW_PYTHON_IMAGE. CRD, admission policy and the right of pods are installed, and stay.
"""

import os
import time

import pytest
from rights import as_user, install, least_kubeconfig, token
from situations import ENDS, cancel_when_the_second_step_runs, check, submit, taskrun
from written import a_run, check_run, written_runs

from resultsfw import PODS
from resultsfw.errors import ClusterError, ForbiddenError, NotFoundError
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw_backends.custom_resource import RUN_RESULTS

IMAGE = os.environ.get("RESULTSFW_SIDECAR_NET_IMAGE", "docker.io/resultsfw/sidecar-net:0.1.0")
PYTHON = os.environ.get("RESULTSFW_PYTHON_IMAGE", "python:3.11")
RUNS = written_runs(250)

FORGE = r"""#!/usr/bin/python3
import http.client, json, os, ssl
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
where = "/apis/resultsfw.dev/v1alpha1/namespaces/$(context.taskRun.namespace)/runresults/"
tls = ssl.create_default_context(cafile=f"{folder}/ca.crt")
head = {"Authorization": "Bearer " + open(f"{folder}/token").read()}
head["Content-Type"] = "application/merge-patch+json"
def ask(method, path, body=None):
    server = http.client.HTTPSConnection(os.environ["KUBERNETES_SERVICE_HOST"], context=tls)
    server.request(method, where + path, None if body is None else json.dumps(body), head)
    answer = server.getresponse()
    text = answer.read().decode()
    print(method, path, answer.status, text[:300], flush=True)
    return answer.status
own = "resultsfw-$(context.taskRun.uid)-0"
forged = {"status": {"podUid": "$(params.uid)", "records": "{}", "texts": {"digest": "forged"}}}
assert ask("GET", own) == 403
assert ask("PATCH", own, {"spec": {"podName": "other"}}) == 403
assert ask("PATCH", "victim/status", forged) == 403
assert ask("PATCH", "victim/status", {}) == 403
assert ask("PATCH", own + "/status", forged) == 422  # not the uid of this pod
open("$(results.digest.path)", "w").write("real")
"""
"""A Step's own token is of the same pod as the sidecar's."""

FIRST = r"""#!/usr/bin/python3
import base64, http.client, json, os, ssl
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
where = "/apis/resultsfw.dev/v1alpha1/namespaces/$(context.taskRun.namespace)/runresults/"
tls = ssl.create_default_context(cafile=f"{folder}/ca.crt")
token = open(f"{folder}/token").read()
claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
forged = {"podUid": claims["kubernetes.io"]["pod"]["uid"], "records": "{}", "texts": {"digest": "forged"}}
head = {"Authorization": f"Bearer {token}", "Content-Type": "application/merge-patch+json"}
server = http.client.HTTPSConnection(os.environ["KUBERNETES_SERVICE_HOST"], context=tls)
path = where + "resultsfw-$(context.taskRun.uid)-0/status"
server.request("PATCH", path, json.dumps({"status": forged}), head)
answer = server.getresponse()
assert answer.status == 200, (answer.status, answer.read())
open("$(results.digest.path)", "w").write("real")
"""


def run_result(place, name, pod):
    metadata = {"name": name, "namespace": place.namespace}
    kind = {"apiVersion": RUN_RESULTS.api_version, "kind": RUN_RESULTS.kind}
    return place.server.create(RUN_RESULTS, {**kind, "metadata": metadata, "spec": {"podName": pod}})


def a_pod(place, name):
    container = {"name": "c", "image": "busybox:1", "command": ["sleep", "600"]}
    metadata = {"name": name, "namespace": place.namespace}
    return place.server.create(PODS, {"metadata": metadata, "spec": {"containers": [container]}})


def log_of(place, pod):
    return b"".join(place.server.read_log(place.namespace, pod, "step-one", limit=10_000)).decode()


def test_everything_arrives_or_is_named_and_nothing_is_left(place, tmp_path):
    install(place.server, "custom-resource")
    place.flags(
        **{
            "results-from": "custom-resource",
            "max-result-size": str(1_048_576 + 10),
            "config.custom-resource": f"image: {IMAGE}",
        }
    )
    with least_kubeconfig(place, "custom-resource", tmp_path) as least:
        place.start("--no-leader-elect", "--kubeconfig", str(least))
        run_result(place, "victim", "victim-pod")
        for name, (script, results, _) in RUNS.items():
            place.server.create(TASKRUNS, a_run(place, name, script, results))
        situations = [
            end for end in ENDS if end.startswith("sl-") and end not in ("sl-crd-overflow", "sl-oversize")
        ]
        for situation in situations:
            submit(place.server, situation, taskrun(situation, place.namespace, situation, place.managed_by))
        params = [{"name": "uid", "default": "another"}]
        hostile = a_run(place, "hostile", FORGE, ["digest"], image=PYTHON, params=params)
        place.server.create(TASKRUNS, hostile)
        place.server.create(TASKRUNS, a_run(place, "first", FIRST, ["digest"], image=PYTHON))

        def cancel(run):
            if run["metadata"]["name"] == "sl-cancelled":
                cancel_when_the_second_step_runs(place.server, run)

        finals = place.until_done(400, cancel)
        for name, final in finals.items():
            if name in RUNS:
                check_run(RUNS[name], final)
            elif name in ENDS:
                check(name, final)
        (verdict,) = finals["hostile"]["status"]["conditions"]
        assert verdict["status"] == "True", log_of(place, "hostile-pod")
        assert finals["hostile"]["status"]["results"][0]["value"] == "real"
        (verdict,) = finals["first"]["status"]["conditions"]
        assert verdict["reason"] == "TaskRunResultsIncomplete"
        for words in ("has been written and cannot be changed", '"digest"', "RunResult"):
            assert words in verdict["message"]
        assert "results" not in finals["first"]["status"]

        def left():
            return [
                run_result["metadata"]["name"]
                for run_result in place.server.list(RUN_RESULTS, place.namespace)
                if run_result["metadata"]["name"] != "victim"
            ]

        place.until(lambda: not left(), 60)
        place.assert_none_doubled()


def test_the_policy_lets_a_pod_write_its_own_once(place):
    """Every attempt with a real token of a pod, whose extra fields only the API server sets."""
    server = place.server
    install(server, "custom-resource")
    pod, other = a_pod(place, "mine"), a_pod(place, "theirs")
    run_result(place, "r", "mine")
    mine, theirs, unbound = (
        as_user(server, token(server, place.namespace, "default", name)) for name in (pod, other, None)
    )
    status = {"podUid": pod["metadata"]["uid"], "records": "r", "texts": {"a": "1"}}

    def write(user, status, **more):
        patch = {"status": status, **more}
        return user.patch(RUN_RESULTS, place.namespace, "r", patch, subresource="status")

    _until_enforced(lambda: write(server, status))
    for user in (theirs, unbound, server):
        with pytest.raises(ForbiddenError, match="only the pod that spec"):
            write(user, status)
        with pytest.raises(ForbiddenError, match="only the pod that spec"):
            # Without a change, the answer would be what another run delivered.
            user.patch(RUN_RESULTS, place.namespace, "r", {}, subresource="status")
    with pytest.raises(ClusterError, match="podUid must be the uid"):
        write(mine, {**status, "podUid": other["metadata"]["uid"]})
    with pytest.raises(ClusterError, match="Too long"):
        write(mine, {**status, "records": "x" * 150_001})
    for _ in range(2):
        written = write(mine, status, metadata={"labels": {"forged": "true"}}, spec={"podName": "theirs"})
        assert (written["status"], written["spec"]) == (status, {"podName": "mine"})
        assert "labels" not in written["metadata"]
    for user, change in ((mine, {"records": "x"}), (mine, {"texts": {"b": "2"}}), (mine, None)):
        with pytest.raises(ClusterError, match=r"cannot be changed, only deleted|podUid must be"):
            write(user, change)
    with pytest.raises(ForbiddenError):
        write(server, {"records": "x"})  # an administrator
    with pytest.raises(ClusterError, match="it cannot be changed"):
        server.patch(RUN_RESULTS, place.namespace, "r", {"spec": {"podName": "theirs"}})
    for attempt in (
        lambda: mine.get(RUN_RESULTS, place.namespace, "r"),
        lambda: mine.list(RUN_RESULTS, place.namespace),
        lambda: mine.delete(RUN_RESULTS, place.namespace, "r"),
        lambda: mine.patch(RUN_RESULTS, place.namespace, "r", {"metadata": {"labels": {"a": "b"}}}),
        lambda: run_result_of(mine, place),
    ):
        with pytest.raises(ForbiddenError):
            attempt()
    assert server.get(RUN_RESULTS, place.namespace, "r")["status"] == status
    server.delete(RUN_RESULTS, place.namespace, "r")
    with pytest.raises(NotFoundError):
        server.get(RUN_RESULTS, place.namespace, "r")


def run_result_of(user, place):
    metadata = {"name": "x", "namespace": place.namespace}
    kind = {"apiVersion": RUN_RESULTS.api_version, "kind": RUN_RESULTS.kind}
    return user.create(RUN_RESULTS, {**kind, "metadata": metadata, "spec": {"podName": "mine"}})


def test_without_the_policys_binding_no_pod_is_prepared(place):
    """The controller's own check; the objects of the cluster are not touched."""
    from resultsfw.errors import BackendError  # noqa: PLC0415
    from resultsfw_backends._policies import require_policy  # noqa: PLC0415

    install(place.server, "custom-resource")
    require_policy(place.server, "resultsfw-custom-resource", backend="custom-resource")
    with pytest.raises(BackendError, match="the cluster has no ValidatingAdmissionPolicy resultsfw-nothing"):
        require_policy(place.server, "resultsfw-nothing", backend="custom-resource")


def _until_enforced(attempt):
    """Wait until a policy that was just installed refuses what it must refuse."""
    end = time.monotonic() + 30
    while True:
        try:
            attempt()
        except ForbiddenError:
            return
        except ClusterError:
            pass
        assert time.monotonic() < end
        time.sleep(0.5)
