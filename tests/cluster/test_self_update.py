"""Results through the TaskRun's own status on a real cluster; the controller has the manifests' rights only.

The sidecar's image is RESULTSFW_SIDECAR_NET_IMAGE: one that can speak TLS. Steps that need Python take
RESULTSFW_PYTHON_IMAGE. Admission policy and the role of pods are installed, and stay.
"""

import os
import time

import pytest
from rights import as_user, bind_pods, install, least_kubeconfig, token
from situations import ENDS, cancel_when_the_second_step_runs, check, submit, taskrun
from written import a_run, check_run, written_runs

from resultsfw import PODS
from resultsfw.errors import ClusterError, ForbiddenError
from resultsfw.result_annotations import RESULT_ANNOTATIONS
from resultsfw.tekton.api.kinds import TASKRUNS

IMAGE = os.environ.get("RESULTSFW_SIDECAR_NET_IMAGE", "docker.io/resultsfw/sidecar-net:0.1.0")
PYTHON = os.environ.get("RESULTSFW_PYTHON_IMAGE", "python:3.11")
RUNS = written_runs(250)

ASK = r"""#!/usr/bin/python3
import http.client, json, os, ssl
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
where = "/apis/tekton.dev/v1/namespaces/$(context.taskRun.namespace)/taskruns/"
tls = ssl.create_default_context(cafile=f"{folder}/ca.crt")
head = {"Authorization": "Bearer " + open(f"{folder}/token").read()}
head["Content-Type"] = "application/merge-patch+json"
def ask(method, path, body=None):
    server = http.client.HTTPSConnection(os.environ["KUBERNETES_SERVICE_HOST"], context=tls)
    server.request(method, where + path, None if body is None else json.dumps(body), head)
    answer = server.getresponse()
    print(method, path, answer.status, answer.read().decode()[:300], flush=True)
    return answer.status
own = "$(context.taskRun.name)"
annotations = {"results.resultsfw.dev/0.records": "{}", "results.resultsfw.dev/0.text.digest": "forged"}
results = [{"name": "digest", "type": "string", "value": "forged"}]
"""
HOSTILE = (
    ASK
    + r"""
assert ask("GET", own) == 403
assert ask("PATCH", own, {"metadata": {"labels": {"a": "b"}}}) == 403
assert ask("PATCH", "first/status", {}) == 403
assert ask("PATCH", "first/status", {"status": {"annotations": annotations}}) == 403
assert ask("PATCH", own + "/status", {"status": {"results": results}}) == 422
assert ask("PATCH", own + "/status", {"status": {"annotations": {"a": "b"}}}) == 422
assert ask("PATCH", own + "/status", {"status": {"annotations": annotations, "results": results}}) == 422
open("$(results.digest.path)", "w").write("real")
"""
)
FIRST = (
    ASK
    + r"""
assert ask("PATCH", own + "/status", {"status": {"annotations": annotations}}) == 200
open("$(results.digest.path)", "w").write("real")
"""
)
"""Steps whose own tokens are of the same pod as the sidecar's."""

AGAIN = """
printf attempt-$(context.task.retry-count) > $(results.digest.path)
[ $(context.task.retry-count) = 1 ]
"""


def log_of(place, pod):
    return b"".join(place.server.read_log(place.namespace, pod, "step-one", limit=10_000)).decode()


def test_everything_arrives_or_is_named_and_no_annotation_is_left(place, tmp_path):
    install(place.server, "self-update")
    bind_pods(place)
    place.flags(
        **{
            "results-from": "self-update",
            "max-result-size": str(1_048_576 + 10),
            "config.self-update": f"image: {IMAGE}",
        }
    )
    with least_kubeconfig(place, "self-update", tmp_path) as least:
        place.start("--no-leader-elect", "--kubeconfig", str(least))
        for name, (script, results, _) in RUNS.items():
            place.server.create(TASKRUNS, a_run(place, name, script, results))
        situations = [
            end for end in ENDS if end.startswith("sl-") and end not in ("sl-crd-overflow", "sl-oversize")
        ]
        for situation in situations:
            submit(place.server, situation, taskrun(situation, place.namespace, situation, place.managed_by))
        place.server.create(TASKRUNS, a_run(place, "again", AGAIN, ["digest"], retries=1))
        place.server.create(TASKRUNS, a_run(place, "first", FIRST, ["digest"], image=PYTHON))
        place.server.create(TASKRUNS, a_run(place, "hostile", HOSTILE, ["digest"], image=PYTHON))

        def cancel(run):
            if run["metadata"]["name"] == "sl-cancelled":
                cancel_when_the_second_step_runs(place.server, run)

        finals = place.until_done(400, cancel)
    for name, final in finals.items():
        if name in RUNS:
            check_run(RUNS[name], final)
        elif name in ENDS:
            check(name, final)
        assert RESULT_ANNOTATIONS not in str(final["status"].get("annotations")), name
        assert RESULT_ANNOTATIONS not in str(final["status"].get("retriesStatus")), name
    (verdict,) = finals["hostile"]["status"]["conditions"]
    assert verdict["status"] == "True", log_of(place, "hostile-pod")
    assert finals["hostile"]["status"]["results"][0]["value"] == "real"
    assert finals["again"]["status"]["results"][0]["value"] == "attempt-1"
    (earlier,) = finals["again"]["status"]["retriesStatus"]
    assert earlier["results"][0]["value"] == "attempt-0"
    (verdict,) = finals["first"]["status"]["conditions"]
    assert verdict["reason"] == "TaskRunResultsIncomplete"
    for words in ("have been written and cannot be changed", '"digest"', "TaskRun"):
        assert words in verdict["message"]
    assert "results" not in finals["first"]["status"]
    place.assert_none_doubled()


def test_without_the_binding_of_its_namespace_a_run_ends_by_name(place):
    install(place.server, "self-update")
    place.flags(**{"results-from": "self-update", "config.self-update": f"image: {IMAGE}"})
    place.start("--no-leader-elect")
    place.server.create(TASKRUNS, a_run(place, "run", "printf d > $(results.digest.path)", ["digest"]))
    final = place.until_done(120)["run"]
    (verdict,) = final["status"]["conditions"]
    assert verdict["reason"] == "TaskRunResultsIncomplete"
    for words in ("HTTP 403", 'cannot patch resource "taskruns/status"', '"digest"'):
        assert words in verdict["message"]


NOW = "2026-01-01T00:00:00Z"
RUNNING = {"type": "Succeeded", "status": "Unknown", "reason": "Running", "lastTransitionTime": NOW}
DONE = {**RUNNING, "status": "True", "reason": "Succeeded"}
OURS = {f"{RESULT_ANNOTATIONS}0.records": "r", f"{RESULT_ANNOTATIONS}0.text.digest": "d"}


class User:
    """The cluster as one user sees it, and the TaskRun "r"."""

    def __init__(self, server, namespace):
        self.server = server
        self.namespace = namespace

    def write(self, **status):
        patch = {"status": status} if status else {}
        return self.server.patch(TASKRUNS, self.namespace, "r", patch, subresource="status")

    def refused(self, words, **status):
        """A write that must be refused; without a field, one whose answer would be the TaskRun."""
        with pytest.raises(ClusterError, match=words) as raised:
            self.write(**status)
        return raised.value


@pytest.fixture
def users(place):
    """An administrator, the run's pod, another pod, and a token that is bound to none."""
    server = place.server
    install(server, "self-update")
    bind_pods(place)
    pods = {}
    for name in ("mine", "theirs"):
        container = {"name": "c", "image": "busybox:1", "command": ["sleep", "600"]}
        metadata = {"name": name, "namespace": place.namespace}
        pods[name] = server.create(PODS, {"metadata": metadata, "spec": {"containers": [container]}})
    run = a_run(place, "r", "true", ["digest"])
    run["spec"]["managedBy"] = "resultsfw.dev/nobody"
    server.create(TASKRUNS, run)
    tokens = [token(server, place.namespace, "default", pod) for pod in (*pods.values(), None)]
    found = [server, *(as_user(server, text) for text in tokens)]
    admin, mine, theirs, unbound = (User(name, place.namespace) for name in found)
    _until_enforced(theirs.write)
    return admin, mine, theirs, unbound


def test_the_policy_lets_a_pod_write_its_own_results_once(users):
    """Every attempt with a real token of a pod, whose extra fields only the API server sets."""
    admin, mine, theirs, unbound = users
    mine.refused("only the pod that status", annotations=OURS)  # no pod is recorded
    admin.write(podName="mine", conditions=[RUNNING], annotations={"theirs": "kept"})  # is not limited
    mine.refused("delivers its results in another way", annotations=OURS)
    admin.write(provenance={"featureFlags": {"resultExtractionMethod": "self-update"}})
    for user in (theirs, unbound):
        assert isinstance(user.refused("only the pod that status", annotations=OURS), ForbiddenError)
        user.refused("only the pod that status")
    for _ in range(2):
        assert mine.write(annotations=OURS)["status"]["annotations"] == {**OURS, "theirs": "kept"}
    for change in ({f"{RESULT_ANNOTATIONS}0.records": "x"}, {f"{RESULT_ANNOTATIONS}1.records": "x"}):
        mine.refused("have been written and cannot be changed", annotations=change)
    mine.refused("none be removed", annotations=dict.fromkeys(OURS))
    admin.write(conditions=[DONE], completionTime=NOW, annotations=dict.fromkeys(OURS))
    mine.refused("the run has ended", annotations=OURS)


def test_the_policy_lets_a_pod_write_nothing_else(users):
    """Neither in the status nor, for want of a right, elsewhere."""
    admin, mine, *_ = users
    recorded = {"featureFlags": {"resultExtractionMethod": "self-update"}}
    kept = {"theirs": "kept"}
    admin.write(podName="mine", conditions=[RUNNING], annotations=kept, provenance=recorded)
    for fields in (
        {"results": [{"name": "digest", "type": "string", "value": "d"}]},
        {"conditions": [DONE]},
        {"completionTime": NOW},
        {"podName": "theirs"},
        {"provenance": None},
    ):
        mine.refused("no field of the status may be changed", annotations=OURS, **fields)
    for annotations in ({**OURS, "chains.tekton.dev/signed": "true"}, {**OURS, "theirs": None}):
        mine.refused("no others, and none be removed", annotations=annotations)
    for attempt in (
        lambda: mine.server.get(TASKRUNS, mine.namespace, "r"),
        lambda: mine.server.list(TASKRUNS, mine.namespace),
        lambda: mine.server.delete(TASKRUNS, mine.namespace, "r"),
        lambda: mine.server.patch(TASKRUNS, mine.namespace, "r", {"metadata": {"labels": {"a": "b"}}}),
    ):
        with pytest.raises(ForbiddenError):
            attempt()


def _until_enforced(attempt):
    """Wait until a policy, and a right, that were just installed take effect."""
    end = time.monotonic() + 30
    while True:
        try:
            attempt()
        except ForbiddenError as error:
            if "only the pod" in error.message:
                return
        assert time.monotonic() < end
        time.sleep(0.5)
