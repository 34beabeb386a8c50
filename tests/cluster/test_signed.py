"""Results that are signed with identities of a real SPIRE, and what Steps and outages can do to them."""

import copy
import json
import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import yaml
from signing_runs import (
    NET_IMAGE,
    VERIFIED,
    WRITE,
    check_not_verified,
    check_verified,
    conditions,
    results,
    start,
    written,
)
from spire import IMAGE, needs_agent_commands
from written import a_run

from resultsfw import PODS, ExtractedResult, Extraction
from resultsfw.signatures import Reason, parse_bundles, verify_results
from resultsfw.tekton.api.kinds import CLAIMS, TASKRUNS
from resultsfw.tekton.spec.declared_results import run_of

PYTHON_OF_IMAGE = "/usr/bin/python3.11"

ASK = f"""#!{PYTHON_OF_IMAGE}
import time
from spiffe import WorkloadApiClient
answers = set()
for _ in range(15):
    try:
        with WorkloadApiClient("unix://SOCKET", default_timeout=20) as client:
            answers.update(str(svid.spiffe_id) for svid in client.fetch_x509_svids())
    except Exception as error:
        answers.add(repr(error))
    time.sleep(1)
open("$(results.digest.path)", "w").write("; ".join(sorted(answers)))
"""
"""Asks the Workload API for an identity until the signer of the pod has its own for long."""


def test_results_in_a_log_are_signed_and_verified_and_the_entry_is_removed(place, spire):
    start(place, spire)
    place.server.create(TASKRUNS, written(place, "run"))
    run = place.until_done(120)["run"]
    pod = place.server.get(PODS, place.namespace, "run-pod")
    identity = f"spiffe://{spire.domain}/ns/{place.namespace}/taskrun/run/pod/{pod['metadata']['uid']}"
    assert identity in check_verified(run)
    assert results(run) == {"digest": "sha256:0123", "images": ["a,b", "c"]}
    place.until(lambda: not spire.has_entry(pod), 30)
    place.assert_none_doubled()


def test_results_in_termination_messages_are_signed_by_a_container_of_its_own(place, spire):
    start(place, spire, backend="termination-message")
    place.server.create(TASKRUNS, written(place, "run"))
    run = place.until_done(120)["run"]
    check_verified(run)
    assert results(run) == {"digest": "sha256:0123", "images": ["a,b", "c"]}


def test_large_results_on_a_claim_are_signed_by_their_digest(place, spire):
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "",
    }
    place.server.create(CLAIMS, {"metadata": {"name": "results", "namespace": place.namespace}, "spec": spec})
    options = {"image": NET_IMAGE}
    if group := os.environ.get("RESULTSFW_CLAIM_GROUP"):
        options["fs-group"] = int(group)
    start(place, spire, backend="pvc", flags={"config.pvc": yaml.safe_dump(options)})
    script = "head -c 5000000 /dev/zero > /tmp/zeros; tr '\\0' x < /tmp/zeros > $(results.digest.path)"
    place.server.create(TASKRUNS, written(place, "run", script))
    try:
        run = place.until_done(180)["run"]
        check_verified(run)
        assert results(run)["digest"]["size"] == "5000000"
    finally:
        place.server.patch(TASKRUNS, place.namespace, "run", {"metadata": {"finalizers": None}})


@pytest.mark.skipif("RESULTSFW_API_FORWARD" not in os.environ, reason="RESULTSFW_API_FORWARD is not set")
def test_results_in_a_config_map_are_signed_and_verified(place, spire):
    start(place, spire, backend="config-map", flags={"config.config-map": f"image: {NET_IMAGE}"})
    place.server.create(TASKRUNS, written(place, "run"))
    run = place.until_done(120)["run"]
    check_verified(run)
    assert results(run) == {"digest": "sha256:0123", "images": ["a,b", "c"]}


def test_a_step_gets_no_identity_even_with_the_socket(place, spire):
    start(place, spire)
    with_socket = written(
        place, "with-socket", ASK.replace("SOCKET", "/socket/" + spire.agent.name), image=IMAGE
    )
    task = with_socket["spec"]["taskSpec"]
    task["volumes"] = [{"name": "socket", "hostPath": {"path": str(spire.agent.parent)}}]
    task["steps"][0]["volumeMounts"] = [{"name": "socket", "mountPath": "/socket"}]
    without = ASK.replace("SOCKET", "/spiffe-workload-api/" + spire.agent.name)
    place.server.create(TASKRUNS, with_socket)
    place.server.create(TASKRUNS, written(place, "without", without, image=IMAGE))
    runs = place.until_done(180)
    for name, words in (("with-socket", "no identity issued"), ("without", "")):
        check_verified(runs[name])
        answer = results(runs[name])["digest"]
        assert "spiffe://" not in answer, answer
        assert words in answer


FORGED = (
    WRITE
    + """
for name in SVID RESULT_MANIFEST digest.sig other; do printf forged > /tekton/results/$name; done
printf '{"type":"signature","envelope":"forged"}\\n'
"""
)


def test_what_a_step_forges_is_no_result_and_no_task_may_declare_it(place, spire):
    start(place, spire)
    place.server.create(TASKRUNS, written(place, "forged", FORGED))
    for number, name in enumerate(("SVID", "RESULT_MANIFEST", "digest.sig")):
        place.server.create(TASKRUNS, a_run(place, f"declared-{number}", "true", [name]))
    runs = place.until_done(120)
    check_verified(runs.pop("forged"))
    for run in runs.values():
        assert conditions(run)["Succeeded"]["status"] == "False"
        assert "results" not in run["status"]
    assert set(place.pods()) == {"forged-pod"}


def test_a_saved_run_verifies_and_neither_a_change_nor_what_another_run_has_does(place, spire, tmp_path):
    start(place, spire)
    for name in ("run", "other"):
        place.server.create(TASKRUNS, written(place, name))
    runs = place.until_done(120)
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(spire.bundle())

    def verify(run):
        saved = tmp_path / "run.json"
        saved.write_text(json.dumps({"apiVersion": "tekton.dev/v1", "kind": "TaskRun", **run}))
        command = [sys.executable, "-m", "resultsfw.cli", "verify", "-f", str(saved), "--bundle", str(bundle)]
        command += ["--trust-domain", spire.domain]
        done = subprocess.run(command, check=False, timeout=60, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    for run in runs.values():
        check_verified(run)
        status, words = verify(run)
        assert status == 0, words
    changed = copy.deepcopy(runs["run"])
    changed["status"]["results"][0]["value"] = "sha256:4567"
    status, words = verify(changed)
    assert (status, "digest" in words) == (1, True), words
    replayed = copy.deepcopy(runs["run"])
    replayed["status"]["annotations"] = runs["other"]["status"]["annotations"]
    status, words = verify(replayed)
    assert status == 1, words
    # The same, as the controller sees it: what another pod signed arrives from this one.
    authorities = parse_bundles(bundle.read_text(), trust_domain=spire.domain)[spire.domain]
    for signer, reasons in (("run", []), ("other", [Reason.WRONG_IDENTITY])):
        extraction = Extraction(
            results=tuple(
                ExtractedResult(name=name, value=text, source="the log")
                for name, text in (("digest", "sha256:0123"), ("images", '["a,b","c"]'))
            ),
            envelope=runs[signer]["status"]["annotations"]["resultsfw.dev/envelope"],
        )
        run = run_of(runs["run"], runs["run"]["status"]["taskSpec"], attempt=0)
        uid = place.server.get(PODS, place.namespace, "run-pod")["metadata"]["uid"]
        verified = verify_results(run, uid, extraction, authorities, at=datetime.now(UTC))
        assert [fault.reason for fault in verified.faults] == reasons, verified.faults


@needs_agent_commands
def test_an_agent_that_comes_back_delays_a_run_and_one_that_does_not_ends_it(place, spire):
    start(place, spire, wait=20)
    place.server.create(TASKRUNS, written(place, "before"))
    check_verified(place.until_done(120)["before"])
    spire.stop_agent()
    try:
        place.server.create(TASKRUNS, written(place, "never"))
        check_not_verified(place.until_done(180)["never"], "could not sign", "NoAgent")
        place.server.create(TASKRUNS, written(place, "later"))

        def steps_ended():
            pod = place.pods().get("later-pod", {})
            found = pod.get("status", {}).get("containerStatuses", [])
            return found and all("terminated" in status["state"] for status in found)

        place.until(steps_ended, 60)
    finally:
        spire.start_agent()
    check_verified(place.until_done(120)["later"])


def test_tektons_entrypoint_signs_and_the_condition_says_what_its_format_leaves_open(place, spire):
    """Where SPIRE's own authority is in the bundle; otherwise that its format lacks the intermediates."""
    flags = {"enforce-nonfalsifiability": "spire"}
    options = {"policy": "mark", "termination-message": "entrypoint"}
    start(place, spire, backend="termination-message", flags=flags, **options)
    place.server.create(TASKRUNS, written(place, "run"))
    run = place.until_done(120)["run"]
    assert results(run) == {"digest": "sha256:0123", "images": ["a,b", "c"]}
    assert run["status"]["provenance"]["featureFlags"]["enforceNonfalsifiability"] == "spire"
    verified = conditions(run)[VERIFIED]
    identity = f"spiffe://{spire.domain}/ns/{place.namespace}/taskrun/run"
    assert identity in verified["message"]
    if verified["status"] == "True":
        assert 'where the items of an array or object begin and end: "images"' in verified["message"]
    else:
        assert "leaves intermediate certificates out" in verified["message"]
    pod = place.server.get(PODS, place.namespace, "run-pod")
    assert not [
        container["name"]
        for container in pod["spec"].get("initContainers", [])
        if container.get("restartPolicy") == "Always"
    ]
    place.until(lambda: not spire.has_entry(pod), 30)
