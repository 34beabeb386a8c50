"""Results through the results server on a real cluster: real tokens, real reviews, a server on this machine.

Pods reach this machine at RESULTSFW_NODE_ADDRESS. The sidecar's image is RESULTSFW_SIDECAR_NET_IMAGE: one
that can speak TLS.
"""

import os
import signal
import statistics
import threading
import time

import pytest
import yaml
from results_servers import ADDRESS, AUDIENCE
from situations import ENDS, cancel_when_the_second_step_runs, check, submit, taskrun

from resultsfw import PODS
from resultsfw.tekton.api.kinds import TASKRUNS

IMAGE = os.environ.get("RESULTSFW_SIDECAR_NET_IMAGE", "docker.io/resultsfw/sidecar-net:0.1.0")
FINALIZER = "resultsfw.dev/purge-http"
TOO_LARGE = "TaskRunResultLargerThanAllowedLimit"
CEILING = 1_572_864
LIMIT = 200_000
"""Bytes of a delivery, less than the values of a run may have."""

pytestmark = pytest.mark.skipif(not ADDRESS, reason="RESULTSFW_NODE_ADDRESS is not set")


def fill(name, count, char="x"):
    return f"head -c {count} /dev/zero | tr '\\0' '{char}' > $(results.{name}.path)"


def a_run(place, name, script, results=("a",), **spec):
    script = script if script.startswith("#!") else f"#!/bin/sh\n{script}"
    steps = [{"name": "one", "image": "busybox:1", "script": script}]
    task = {"results": [{"name": result, "type": "string"} for result in results], "steps": steps}
    user = os.environ.get("RESULTSFW_RUN_AS_USER")
    pod = {"podTemplate": {"securityContext": {"runAsUser": int(user)}}} if user else {}
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {"name": name, "namespace": place.namespace},
        "spec": {"managedBy": place.managed_by, "taskSpec": task, **pod, **spec},
    }


@pytest.fixture
def started(place, accounts, results_server, tmp_path):
    """Starts a controller with the flags of the backend."""

    def start(**flags):
        reader = tmp_path / "reader"
        reader.write_text(accounts.token("controller", {"audiences": [AUDIENCE]}))
        config = {
            "url": f"https://{ADDRESS}:{results_server.port}",
            "ca": results_server.ca.cert_pem.bytes().decode(),
            "token-file": str(reader),
            "image": IMAGE,
            **flags.pop("config", {}),
        }
        place.flags(**{"results-from": "http", "config.http": yaml.safe_dump(config), **flags})
        return place.start("--no-leader-elect", "--kubeconfig", str(accounts.kubeconfig("controller")))

    return start


def verdict_of(run):
    (verdict,) = [condition for condition in run["status"]["conditions"] if condition["type"] == "Succeeded"]
    return verdict


def values_of(run):
    return {result["name"]: result["value"] for result in run["status"].get("results", [])}


@pytest.mark.parametrize("sidecar", ["native", "plain"])
def test_everything_arrives_or_is_named_and_nothing_is_left(place, started, results_server, sidecar):
    started(max_result_size=str(CEILING), config={"sidecar": sidecar})
    half = (CEILING - 30_000) // 2  # an object needs some for itself
    runs = {
        "whole": (f"{fill('a', half)}\n{fill('b', half, 'y')}", "ab"),
        "exact": (fill("a", 2 * half), "a"),
        "over": (fill("a", CEILING + 1), "a"),
        "control": (fill("a", 200_000, "\\001"), "a"),
    }
    for name, (script, results) in runs.items():
        place.server.create(TASKRUNS, a_run(place, name, script, results))
    left_out = ("sl-crd-overflow", "sl-oversize")
    situations = [end for end in ENDS if end.startswith("sl-") and end not in left_out]
    situations = [
        situation
        for situation in situations
        if submit(place.server, situation, taskrun(situation, place.namespace, situation, place.managed_by))
    ]

    def cancel(run):
        if run["metadata"]["name"] == "sl-cancelled":
            cancel_when_the_second_step_runs(place.server, run)

    finals = place.until_done(400, cancel)
    for situation in situations:
        check(situation, finals[situation])
    assert values_of(finals["whole"]) == {"a": "x" * half, "b": "y" * half}
    assert values_of(finals["exact"]) == {"a": "x" * (2 * half)}
    assert values_of(finals["control"]) == {"a": "\1" * 200_000}
    over = verdict_of(finals["over"])
    assert over["reason"] == TOO_LARGE
    assert f"{CEILING + 1} bytes" in over["message"]
    place.until(lambda: not results_server.kept(), 60)
    place.assert_none_doubled()


def test_a_limit_of_the_server_is_reported_in_its_words(place, accounts, tmp_path, started, results_server):
    """The same port, a lower limit: what operators do."""
    results_server.signal(signal.SIGTERM)
    results_server.command += ["--limit-bytes", str(LIMIT)]
    results_server.begin()
    started(max_result_size=str(CEILING))
    place.server.create(TASKRUNS, a_run(place, "over", fill("a", LIMIT)))
    place.server.create(TASKRUNS, a_run(place, "under", fill("a", LIMIT - 1000)))
    finals = place.until_done(120)
    assert len(values_of(finals["under"]).get("a", "")) == LIMIT - 1000, verdict_of(finals["under"])
    verdict = verdict_of(finals["over"])
    assert verdict["reason"] == "TaskRunResultsIncomplete"
    assert "HTTP 413" in verdict["message"]
    assert f"over the limit of {LIMIT} bytes" in verdict["message"]


def test_a_pod_writes_its_own_once_and_reads_nothing(place, accounts, results_server):
    """With tokens bound to real pods, as the API server makes them."""
    pods = {}
    for name in ("one", "two"):
        spec = {"containers": [{"name": "c", "image": "busybox:1", "command": ["sleep", "300"]}]}
        made = place.server.create(
            PODS, {"metadata": {"name": name, "namespace": place.namespace}, "spec": spec}
        )
        pods[name] = made["metadata"]["uid"]

    def token(name, audience=AUDIENCE):
        bound = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": pods[name]}
        return accounts.token("default", {"audiences": [audience], "boundObjectRef": bound})

    def path(name, run="11111111-0000-4000-8000-000000000001"):
        return f"/v1/namespaces/{place.namespace}/runs/{run}/attempts/0/pods/{pods[name]}"

    ask = results_server.ask
    assert ask("PUT", path("one"), token("two"), b"forged")[0] == 403
    assert ask("PUT", path("one"), token("one", "https://kubernetes.default.svc"), b"x")[0] == 401
    assert ask("PUT", path("one"), accounts.token("default", {"audiences": [AUDIENCE]}), b"x")[0] == 403
    assert ask("PUT", path("one"), token("one"), b"records")[0] == 201
    assert ask("PUT", path("one"), token("one"), b"records")[0] == 200
    assert ask("PUT", path("one"), token("one"), b"others")[0] == 409
    assert ask("PUT", path("one", "other-run"), token("one"), b"records")[0] == 409
    assert ask("GET", path("one"), token("one"))[0] == 403
    assert ask("GET", path("one"), token("two"))[0] == 403
    assert ask("DELETE", path("one").rpartition("/pods/")[0], token("one"))[0] == 403
    reader = accounts.token("controller", {"audiences": [AUDIENCE]})
    assert ask("GET", path("one"), reader) == (200, b"records")
    assert ask("GET", path("one"), accounts.token("controller"))[0] == 401
    gone = token("two")
    place.server.delete(PODS, place.namespace, "two", grace_seconds=0)
    time.sleep(6)  # longer than an answer is remembered; the pod is gone by then
    assert ask("PUT", path("two"), gone, b"x")[0] == 401
    assert ask("DELETE", path("one").rpartition("/pods/")[0], reader)[0] == 204
    assert not results_server.kept()


def test_a_server_that_is_away_for_a_while_costs_no_result(place, started, results_server):
    started()
    results_server.signal(signal.SIGKILL)
    place.server.create(TASKRUNS, a_run(place, "waits", "printf here > $(results.a.path)"))

    def back():
        place.until(lambda: _steps_ended(place, "waits-pod"), 60)
        time.sleep(5)
        results_server.begin()

    helper = threading.Thread(target=back)
    helper.start()
    finals = place.until_done(120)
    helper.join()
    assert (verdict_of(finals["waits"])["status"], values_of(finals["waits"])) == ("True", {"a": "here"})


def test_a_server_that_stays_away_is_named(place, started, results_server):
    started()
    results_server.signal(signal.SIGKILL)
    place.server.create(TASKRUNS, a_run(place, "lost", "printf here > $(results.a.path)"))
    verdict = verdict_of(place.until_done(120)["lost"])
    assert verdict["reason"] == "TaskRunResultsIncomplete"
    assert "Undelivered: PUT" in verdict["message"]
    assert "ConnectionRefusedError" in verdict["message"]
    results_server.begin()


def test_a_deleted_run_is_held_until_what_it_left_is_removed(place, started, results_server):
    started()
    script = "printf kept > $(results.a.path)\ntrap 'exit 0' TERM\nsleep 300 & wait"
    place.server.create(TASKRUNS, a_run(place, "deleted", script))
    place.until(lambda: _running(place, "deleted-pod"), 60)
    assert FINALIZER in place.runs()["deleted"]["metadata"]["finalizers"]
    place.server.delete(TASKRUNS, place.namespace, "deleted")
    place.until(lambda: "deleted" not in place.runs(), 120)
    assert not results_server.kept()


STAMP = """#!/usr/bin/python3
import time
with open("$(results.a.path)", "w") as file:
    file.write(str(time.time()))
"""


def test_how_long_it_takes(place, accounts, started, results_server, tell):
    """From a Step's last word to its run's status, beside the log's way on the same cluster."""
    image = os.environ.get("RESULTSFW_SIDECAR_IMAGE", "docker.io/resultsfw/sidecar:0.1.0")
    ways = ("http", "sidecar-logs")
    accounts.grant("enable-log-access-to-controller")
    started(**{"allowed-results-from": ", ".join(ways), "config.sidecar-logs": f"image: {image}"})
    waited = {way: [] for way in ways}
    for number in range(20):
        way = ways[number % 2]
        run = a_run(place, f"run-{number}", STAMP)
        run["spec"]["taskSpec"]["steps"][0]["image"] = os.environ.get("RESULTSFW_PYTHON_IMAGE", "python:3.11")
        run["metadata"]["annotations"] = {"resultsfw.dev/results-from": way}
        place.server.create(TASKRUNS, run)
        end = time.monotonic() + 60
        while not (found := values_of(run) if "status" in run else {}):
            assert time.monotonic() < end, (run.get("status"), place.started[0].lines[-5:])
            time.sleep(0.02)
            run = place.server.get(TASKRUNS, place.namespace, f"run-{number}")
        waited[way].append(time.time() - float(found["a"]))
    for way in ways:
        tell(f"{way}: last word of a Step to status, median of 10: {statistics.median(waited[way]):.2f} s")
    asked = [line for line in results_server.lines if '"run"' in line]
    tell(f"requests to the server a run: {len(asked) / 10:.1f}")


def _states(place, pod):
    found = place.pods().get(pod, {}).get("status", {})
    return {container["name"]: container["state"] for container in found.get("containerStatuses", [])}


def _running(place, pod):
    return "running" in _states(place, pod).get("step-one", {})


def _steps_ended(place, pod):
    return "terminated" in _states(place, pod).get("step-one", {})
