"""Tekton's entrypoint signs, and what it signed is verified: pods, room in messages, and its own messages."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from taskrun_harness import TaskRunHarness
from tekton_signatures import message_of, signed_entries

from resultsfw import PODS, ProblemCode, ResultSpec, Run, Step
from resultsfw.errors import InputError
from resultsfw.local.admission import problems_of
from resultsfw.messages import message_budget
from resultsfw.signatures import Reason, bundle_from_der
from resultsfw.tekton.spec.declared_results import run_of
from resultsfw.testing.signing_ca import new_authority
from resultsfw.testing.workload_api import WorkloadApi, served_svid
from resultsfw_backends import termination_message
from resultsfw_extensions._signed_config import SignedConfig
from resultsfw_extensions._signed_entrypoint import (
    ended_at,
    is_for_entrypoint,
    let_entrypoint_sign,
    signs_in_steps,
    verify_entrypoint,
)
from resultsfw_extensions._signed_message_room import describe_room, least_pem, least_room
from resultsfw_signing.statement import run_spiffe_id

DATA = Path(__file__).parents[1] / "data" / "tekton-signatures"
SIZES = json.loads((DATA / "sizes.json").read_text())
MESSAGES = {pod["name"]: pod for pod in json.loads((DATA / "pods.json").read_text())}
VOLUME = {"name": "spiffe-workload-api", "csi": {"driver": "csi.spiffe.io", "readOnly": True}}
MOUNT = {"name": "spiffe-workload-api", "mountPath": "/spiffe-workload-api", "readOnly": True}
RESULTS = [{"name": "digest", "type": "string"}, {"name": "list", "type": "array"}]


def prepared(*, flags=None, sidecars=None, **task):
    """A run and its pod, as the backend prepared it."""
    harness = TaskRunHarness({"results-from": "termination-message"} | (flags or {}))
    steps = [{"name": name, "image": "i", "script": "#!/bin/sh\ntrue"} for name in ("a", "b")]
    task_spec = {"results": RESULTS, "steps": steps} | ({"sidecars": sidecars} if sidecars else {}) | task
    harness.submit(taskSpec=task_spec)
    harness.reconcile()
    (pod,) = harness.cluster.list(PODS)
    return run_of(harness.taskrun, task_spec, attempt=0), pod


def sign(run, pod, **options):
    let_entrypoint_sign(run, pod, SignedConfig(trust_domain="example.org", **options))
    return pod


def test_steps_and_init_containers_get_what_tekton_gives_them():
    sidecar = {"name": "db", "image": "i", "command": ["x"]}
    run, pod = prepared(sidecars=[sidecar])
    native = {"name": "sidecar-native", "image": "i", "restartPolicy": "Always", "volumeMounts": []}
    pod["spec"]["initContainers"].append(native)
    before = json.loads(json.dumps(pod))
    assert not signs_in_steps(run, pod)
    sign(run, pod)
    assert signs_in_steps(run, pod)
    assert VOLUME in pod["spec"]["volumes"]
    assert pod["metadata"]["annotations"]["resultsfw.dev/signed"] == "entrypoint"
    mounted = {
        container["name"]
        for kind in ("containers", "initContainers")
        for container in pod["spec"][kind]
        if MOUNT in container.get("volumeMounts", ())
    }
    assert {"step-a", "step-b", "prepare"} <= mounted
    assert {"sidecar-db", "sidecar-native"}.isdisjoint(mounted)
    for container, earlier in zip(pod["spec"]["containers"], before["spec"]["containers"], strict=True):
        if container["name"] == "sidecar-db":
            continue
        arguments = container["args"]
        place = arguments.index("-enable_spire")
        assert arguments[place - 2] == "-step_metadata_dir"
        assert arguments[:place] + arguments[place + 1 :] == earlier["args"]


def test_another_socket_is_an_argument_of_the_entrypoint():
    run, pod = prepared()
    arguments = sign(run, pod, socket_file="api.sock")["spec"]["containers"][0]["args"]
    place = arguments.index("-spire_socket_path")
    assert arguments[place + 1] == "unix:///spiffe-workload-api/api.sock"


def test_a_local_engine_refuses_the_pod_by_name():
    run, pod = prepared()
    (problem,) = problems_of(sign(run, pod))
    assert "set the option termination-message of config.signed to signer" in problem


def test_the_entrypoint_signs_only_where_it_writes_the_results():
    config = SignedConfig(trust_domain="example.org", termination_message="entrypoint")
    run, pod = prepared()
    assert is_for_entrypoint(run, pod, config, "termination-message")
    assert not is_for_entrypoint(run, pod, config, "sidecar-logs")
    assert not is_for_entrypoint(run, pod, SignedConfig(trust_domain="a"), "termination-message")
    plain = {"spec": {"containers": [{"name": "step-a"}]}}
    assert not is_for_entrypoint(run_with("digest"), plain, config, "termination-message")


def test_a_step_that_has_something_else_in_the_sockets_place_is_refused():
    run, pod = prepared()
    pod["spec"]["containers"][1]["volumeMounts"].append({"name": "x", "mountPath": "/spiffe-workload-api/"})
    with pytest.raises(InputError, match='container "step-b" mounts volume "x" at /spiffe-workload-api'):
        sign(run, pod)
    run, pod = prepared()
    pod["spec"]["volumes"].append({"name": "spiffe-workload-api", "emptyDir": {}})
    with pytest.raises(InputError, match="spiffe-workload-api"):
        sign(run, pod)


def test_what_the_entrypoint_does_not_sign_is_refused_where_all_must_be_signed():
    step = {"name": "a", "image": "i", "script": "x", "results": [{"name": "own"}]}
    run, pod = prepared(steps=[step])
    with pytest.raises(InputError, match="signs neither results of Steps nor artifacts"):
        sign(run, pod)
    assert signs_in_steps(run, sign(run, pod, namespaces={"default": "mark"}))
    run, pod = prepared()
    for wanting in (
        replace(run, artifacts=True),
        replace(run, steps=(*run.steps[:1], replace(run.steps[1], artifacts=True))),
    ):
        with pytest.raises(InputError, match="nor artifacts"):
            sign(wanting, pod)


def many(count):
    return [{"name": f"result-{index}", "type": "string"} for index in range(count)]


def test_signatures_that_cannot_fit_are_refused_with_both_numbers():
    run, pod = prepared(results=many(10))
    room = least_room(run, sign(run, pod), "example.org")
    assert room.budget == message_budget(pod) == 3072
    assert 0 < room.left < 300
    phrase = describe_room(run, pod, "example.org")
    assert f"at most {room.left} of 3072 bytes are left for values" in phrase
    assert 'termination message of container "step-a"' in phrase
    run, pod = prepared(results=many(14))
    with pytest.raises(InputError, match="14 results do not fit") as caught:
        sign(run, pod)
    assert str(least_room(run, pod, "example.org").needed) in caught.value.message
    assert "3072 bytes" in caught.value.message


def test_a_compressed_message_holds_more_and_not_anything():
    compress = {"enable-termination-message-compression": "true"}
    run, pod = prepared(results=many(14), flags=compress)
    assert least_room(run, sign(run, pod), "example.org").left > 0
    run, pod = prepared(results=many(40), flags=compress)
    with pytest.raises(InputError, match="40 results do not fit"):
        sign(run, pod)


def test_without_results_nothing_is_signed_and_no_room_is_named():
    run, pod = prepared(results=[])
    assert describe_room(run, sign(run, pod), "example.org") == ""


def run_with(*names):
    results = tuple(ResultSpec(name=name) for name in names)
    return Run(
        namespace="build",
        name="release",
        uid="1",
        results=results,
        steps=(Step(name="a", container="step-a"),),
    )


POD = {"spec": {"containers": [{"name": "step-a", "args": []}]}}


@pytest.mark.parametrize("key", SIZES)
def test_the_room_is_never_less_than_what_tekton_leaves(key):
    started = len(',{"key":"StartedAt","value":"2026-11-28T12:07:53.000Z","type":3}')
    for names, measured in ((["r"], "first"), (["r", "s"], "two")):
        assert least_room(run_with(*names), POD, "example.org").needed <= SIZES[key][measured] + started
    smallest = least_room(run_with("r"), POD, "example.org").needed
    assert key != "P-256" or SIZES[key]["first"] + started - smallest < 80


@pytest.mark.parametrize("length", [1, 2, 3, 40, 63])
def test_the_assumed_certificate_is_never_larger_than_a_real_one(length):
    identity = run_spiffe_id("example.org", "build", "x" * length)
    real = new_authority("example.org").issue_svid(identity).pem
    assert 0 <= len(json.dumps(real)) - len(json.dumps(least_pem(identity))) < 40


def finished(pod, vector, **changed):
    """The pod, ended with the messages that Tekton's entrypoint wrote."""
    messages = vector["messages"] | changed
    end = {"exitCode": 0, "reason": "Completed", "finishedAt": vector["at"]}
    pod["status"] = {
        "phase": "Succeeded",
        "containerStatuses": [
            {"name": name, "state": {"terminated": end | {"message": text}}}
            for name, text in messages.items()
        ],
    }
    return pod


def verified(name, *, steps=None, **changed):
    task = {} if steps is None else {"steps": steps}
    run, pod = prepared(**task)
    run = replace(run, namespace="build", name="release")
    vector = MESSAGES[name]
    finished(pod, vector, **changed)
    bundle = bundle_from_der("example.org", map(base64.b64decode, vector["bundle"]))
    extraction = termination_message.extract(run=run, pod=pod, wire=0)
    return (*verify_entrypoint(run, pod, extraction, bundle), extraction)


@pytest.mark.parametrize("name", ["plain", "compressed"])
def test_messages_of_tektons_entrypoint_verify(name):
    found, caveat, extraction = verified(name)
    assert found.ok
    assert extraction.problems == ()
    assert {result.name: result.value for result in found.results} == {
        "digest": "second",
        "list": '["x","y"]',
    }
    assert found.spiffe_id == "spiffe://example.org/ns/build/taskrun/release"
    assert caveat.startswith("signatures of Tekton's entrypoint leave open which pod and attempt")
    assert 'where the items of an array or object begin and end: "list"' in caveat


def test_results_of_steps_do_not_verify():
    steps = [{"name": name, "image": "i", "script": "x", "results": [{"name": "own"}]} for name in "ab"]
    found, _, _ = verified("step-results", steps=steps)
    assert [(fault.reason, fault.step, fault.result) for fault in found.faults] == [
        (Reason.NO_SIGNATURE, "a", "own"),
        (Reason.NO_SIGNATURE, "b", "own"),
    ]
    assert [result.name for result in found.results] == ["digest", "list"]


def test_a_value_that_was_changed_in_the_status_does_not_count():
    text = MESSAGES["plain"]["messages"]["step-b"].replace("second", "third", 1)
    found, _, _ = verified("plain", **{"step-b": text})
    assert (found.faults[0].reason, found.faults[0].result) == (Reason.BAD_SIGNATURE, "digest")
    assert [result.name for result in found.results] == ["list"]


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        ("", False),
        ('[{"key":"StartedAt","value":"2026-11-28T12:07:53.000Z","type":3}]', False),
        ('[{"key":"Reason","value":"Skipped","type":3}]', True),
        ('[{"key":"digest","value":"forged","type":1},{"key":"Reason","value":"Skipped","type":3}]', False),
        ("not JSON", False),
    ],
)
def test_a_step_without_signatures_is_accepted_only_if_it_was_skipped(text, ok):
    found, _, _ = verified("plain", **{"step-b": text})
    assert found.ok is ok
    if ok:
        assert [(result.name, result.value) for result in found.results] == [("digest", "first")]


def test_a_message_cut_among_its_signatures_says_so_and_nothing_of_it_counts():
    whole = MESSAGES["plain"]["messages"]["step-b"]
    padded = whole.replace('"second"', json.dumps("x" * 1800))[:3072]
    found, _, extraction = verified("plain", **{"step-b": padded})
    (problem,) = extraction.problems
    assert problem.code is ProblemCode.TRANSPORT_CUT
    assert "signatures" in problem.message
    assert problem.result is None
    assert not found.ok


def test_the_time_of_a_step_that_ended_in_the_future_or_never_is_now():
    for time in ("2126-01-01T00:00:00Z", "never", None, "2026-11-28T12:00:00"):
        run, pod = prepared()
        vector = MESSAGES["plain"] | {"at": time}
        finished(pod, vector)
        bundle = bundle_from_der("example.org", map(base64.b64decode, vector["bundle"]))
        extraction = termination_message.extract(run=run, pod=pod, wire=0)
        found, _ = verify_entrypoint(replace(run, namespace="build", name="release"), pod, extraction, bundle)
        late = datetime.now(UTC) > datetime.fromisoformat(MESSAGES["plain"]["at"]) + timedelta(hours=1)
        assert (Reason.EXPIRED_CERTIFICATE in {fault.reason for fault in found.faults}) is late


def test_a_time_in_the_future_never_counts():
    assert ended_at({"finishedAt": "9999-12-31T23:59:59Z"}) <= datetime.now(UTC)


def test_a_pod_with_a_signer_of_its_own_is_verified_by_that_alone():
    run, pod = prepared()
    sign(run, pod)["spec"]["containers"].append({"name": "resultsfw-signer"})
    assert not signs_in_steps(run, pod)


def test_a_step_that_failed_need_not_have_signed():
    run, pod = prepared()
    vector = MESSAGES["plain"]
    for status in finished(pod, vector, **{"step-b": ""})["status"]["containerStatuses"]:
        if status["name"] == "step-b":
            status["state"]["terminated"]["exitCode"] = 1
    bundle = bundle_from_der("example.org", map(base64.b64decode, vector["bundle"]))
    extraction = termination_message.extract(run=run, pod=pod, wire=0)
    found, _ = verify_entrypoint(replace(run, namespace="build", name="release"), pod, extraction, bundle)
    assert found.ok
    assert [result.value for result in found.results if result.name == "digest"] == ["first"]


AUTHORITY = new_authority("example.org")
CONTROLLER = "spiffe://example.org/controller"


@pytest.fixture(scope="module")
def api():
    """An agent that serves the controller."""
    with WorkloadApi(svids=[served_svid(CONTROLLER, AUTHORITY.issue_svid(CONTROLLER), AUTHORITY)]) as api:
        yield api


def signed_run(api, policy, change=str):
    """A run whose Step's message was changed after its entrypoint had signed, at its end."""
    options = {
        "trust-domain": "example.org",
        "policy": policy,
        "termination-message": "entrypoint",
        "controller-socket": f"unix://{api.socket}",
    }
    harness = TaskRunHarness(
        {
            "results-from": "termination-message",
            "extensions": "signed",
            "config.signed": json.dumps(options),
        }
    )
    harness.submit()
    harness.reconcile()
    waiting = verification(harness)
    svid = AUTHORITY.issue_svid(run_spiffe_id("example.org", "default", "run"))
    text = change(message_of(signed_entries({"digest": "sha256:aa"}, svid)))
    harness.kubelet("Succeeded", {"step-build": harness.ended(message=text)})
    harness.reconcile()
    harness.reconciler.core.close(10)
    return harness, waiting


def verification(harness):
    conditions = harness.taskrun["status"]["conditions"]
    return next(condition for condition in conditions if condition["type"] == "SignedResultsVerified")


def test_a_run_is_signed_by_tektons_entrypoint_and_its_condition_says_what_that_leaves_open(api):
    harness, waiting = signed_run(api, "fail")
    assert "-enable_spire" in harness.pod()["spec"]["containers"][0]["args"]
    assert waiting["status"] == "Unknown"
    assert "bytes are left for values" in waiting["message"]
    assert harness.condition["status"] == "True"
    assert harness.taskrun["status"]["results"] == [
        {"name": "digest", "type": "string", "value": "sha256:aa"}
    ]
    assert verification(harness)["status"] == "True"
    assert (
        "1 result verified, signed by spiffe://example.org/ns/default/taskrun/run"
        in (verification(harness)["message"])
    )
    assert (
        "leave open which pod and attempt, and which run of this name, signed"
        in (verification(harness)["message"])
    )
    message = harness.taskrun["status"]["steps"][0]["terminated"].get("message", "")
    assert "SVID" not in message


@pytest.mark.parametrize("policy", ["fail", "mark"])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("sha256:aa", "sha256:bb", 1),
        lambda _: message_of([("digest", "sha256:bb")]),
        lambda text: text.replace('"RESULT_MANIFEST"', '"other"'),
    ],
    ids=["another value", "without signatures", "without the list"],
)
def test_what_was_changed_after_it_was_signed_fails_the_run_or_is_marked(api, policy, change):
    harness, _ = signed_run(api, policy, change)
    assert verification(harness)["status"] == "False"
    assert harness.condition["status"] == ("False" if policy == "fail" else "True")
    if policy == "fail":
        assert harness.condition["reason"] == "TaskRunResultsVerificationFailed"
        assert "results" not in harness.taskrun["status"]
