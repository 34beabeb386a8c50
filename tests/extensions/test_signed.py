"""`signed`: which results count by which policy, and what the condition and the problems say."""

import base64
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from signed_pods_harness import (
    NO_LOG,
    PLAIN,
    STAMP,
    arrived_names,
    collect,
    new_core,
    other_value,
    pod_of,
    read,
)
from signing_harness import AT, DOMAIN, RUN, authority, bundle

from resultsfw import ExtractedResult, Problem, ProblemCode, ResultsManager, ResultSpec, Run, Step
from resultsfw.errors import FlagError, TooEarlyError, UnavailableError
from resultsfw.extensions import load_extensions
from resultsfw.signatures import bundles
from resultsfw.testing.signing_ca import new_authority
from resultsfw.testing.workload_api import WorkloadApi, served_svid
from resultsfw_extensions.signed import Signed

ALL = {"digest", "tags", "image", "build.digest"}
VECTORS = Path(__file__).parents[1] / "data" / "tekton-signatures" / "pods.json"
CONTROLLER = "spiffe://example.org/controller"


def identity(issuer=None, *authorities):
    issuer = issuer or authority()
    return served_svid(CONTROLLER, issuer.issue_svid(CONTROLLER, at=AT), *(authorities or [issuer]))


def wait_for_bundle(core, condition):
    """Wait until the extension has received such a bundle."""
    source = core.extensions["signed"].plugin.identity
    with source._changed:
        assert source._changed.wait_for(
            lambda: source._update is not None and condition(source._update.bundles[DOMAIN]), 30
        )


@pytest.fixture(scope="module")
def api():
    """An agent that serves the controller."""
    with WorkloadApi(svids=[identity()]) as api:
        yield api


@pytest.mark.parametrize("policy", ["fail", "mark"])
def test_results_that_verify_count_and_the_condition_names_the_signer(api, policy):
    collected = collect(api, read(), policy=policy)
    assert collected.ok
    assert arrived_names(collected) == ALL
    assert (collected.verification.status, collected.verification.reason) == (
        "True",
        "TaskRunResultsVerified",
    )
    signer = "spiffe://example.org/ns/team-a/taskrun/build-1/pod/pod-uid-1"
    assert collected.verification.message == f"6 results verified, signed by {signer}"
    assert set(collected.artifacts) == {None, "build"}


def test_a_result_that_was_changed_is_withheld_by_name_and_the_others_are_kept(api):
    collected = collect(api, other_value(read()))
    [problem] = collected.problems
    assert arrived_names(collected) == ALL - {"build.digest"}
    assert (problem.code, problem.result, problem.step) == (ProblemCode.UNVERIFIED, "digest", "build")
    assert "does not have the digest that was signed" in problem.message
    assert "do not use these results" in problem.hint
    assert collected.verification.status == "False"
    assert collected.verification.reason == "TaskRunResultsVerificationFailed"
    assert problem.message in collected.verification.message


def test_marked_results_are_kept_whatever_is_wrong_with_them(api):
    collected = collect(api, other_value(read()), policy="mark")
    assert collected.ok
    assert arrived_names(collected) == ALL
    assert collected.verification.status == "False"
    assert "does not have the digest that was signed" in collected.verification.message


def test_with_the_policy_off_nothing_is_read_or_said(api):
    collected = collect(api, read("forged"), policy="off")
    assert collected.ok
    assert (arrived_names(collected), collected.verification) == (ALL, None)


def test_each_namespace_has_its_policy(api):
    forged = other_value(read())
    outcomes = {
        policy: collect(api, forged, policy="mark", namespaces={RUN.namespace: policy})
        for policy in ("fail", "mark", "off")
    }
    assert {policy: outcome.ok for policy, outcome in outcomes.items()} == {
        "fail": False,
        "mark": True,
        "off": True,
    }
    assert outcomes["off"].verification is None


@pytest.mark.parametrize(
    ("extraction", "words"),
    [
        (read(envelope="", envelope_fault="NoIdentity: none came"), "NoIdentity: none came"),
        (read(envelope=""), "no signature arrived"),
        (read(envelope="{}"), "the envelope with the signature cannot be read"),
        (read(PLAIN.envelope()[:-9]), "the envelope with the signature cannot be read"),
        (read(replace(PLAIN, run=replace(RUN, attempt=0)).envelope()), "attempt 0"),
        (
            read(
                replace(PLAIN, credential=authority().issue_svid("spiffe://example.org/x", at=AT)).envelope()
            ),
            "spiffe://example.org/x",
        ),
    ],
)
def test_without_a_valid_signature_no_result_counts(api, extraction, words):
    collected = collect(api, extraction)
    [problem] = collected.problems
    assert arrived_names(collected) == set()
    assert (problem.code, problem.result) == (ProblemCode.UNVERIFIED, None)
    assert words in problem.message
    assert problem.hint
    assert collected.verification.status == "False"
    assert arrived_names(collect(api, extraction, policy="mark")) == ALL


def test_a_pod_that_was_made_without_the_extension_is_unsigned(api):
    collected = collect(api, read(envelope=""), pod_of(""))
    assert "made while it was loaded" in collected.problems[0].hint
    assert collected.verification.status == "False"


def test_the_backends_own_problems_come_first(api):
    cut = Problem(code=ProblemCode.TRANSPORT_CUT, message="cut", result="digest")
    collected = collect(api, replace(other_value(read()), problems=(cut,)))
    codes = [problem.code for problem in collected.problems]
    assert codes == [ProblemCode.TRANSPORT_CUT, ProblemCode.UNVERIFIED]


@pytest.mark.parametrize("policy", ["fail", "mark"])
@pytest.mark.parametrize("name", ["SVID", "RESULT_MANIFEST", "digest.sig"])
def test_what_has_the_name_of_a_signature_is_no_result(api, policy, name):
    extraction = read()
    forged = ExtractedResult(name=name, value="forged", source="a Step")
    collected = collect(api, replace(extraction, results=(*extraction.results, forged)), policy=policy)
    assert collected.ok
    assert (collected.verification.status, collected.ignored) == ("True", ())


def test_a_certificate_counts_at_the_time_at_which_the_signer_ended(api):
    # It has expired for months.
    assert collect(api, read()).ok
    running = pod_of(state={"running": {}})
    collected = collect(api, read(), running)
    assert "expired at 2026-06-01T13:00:00Z" in collected.problems[0].message


@pytest.mark.parametrize("finished", [None, "", "soon", "2026-06-01T12:00:00", 7, "9999-12-31T23:59:59Z"])
def test_a_time_that_the_signer_cannot_have_ended_at_is_now(api, finished):
    pod = pod_of(state={"terminated": {"exitCode": 0, "finishedAt": finished}})
    assert "expired at 2026-06-01T13:00:00Z" in collect(api, read(), pod).problems[0].message


@pytest.mark.parametrize("foreign", [[], [b"junk"], [authority("a.org").der, authority("b.org").der]])
def test_a_foreign_trust_domain_cannot_keep_results_of_ours_from_being_verified(foreign, caplog, monkeypatch):
    monkeypatch.setattr(bundles, "_AUTHORITIES", 1)
    with WorkloadApi(svids=[identity()], bundles={"foreign.org": foreign}) as api:
        assert collect(api, read()).ok
        assert "foreign.org is left out" in caplog.text
        with pytest.raises(UnavailableError, match=r'no trust bundle of "foreign\.org"'):
            collect(api, read(), **{"trust-domain": "foreign.org"})


def test_an_incomplete_read_is_repeated_whatever_verifies(api):
    with pytest.raises(TooEarlyError):
        collect(api, read(too_early=True))
    with pytest.raises(UnavailableError, match="the backend's"):
        collect(api, read(envelope="", read_error=UnavailableError("the backend's")))


def test_what_the_backend_raises_is_raised(api):
    with new_core(api, read()) as core:
        core._plugins._registered["mine"].error = UnavailableError("away")
        with pytest.raises(UnavailableError, match="away"):
            core.collect(RUN, pod_of(), NO_LOG, stamp=STAMP)


def test_while_no_agent_was_ever_there_the_read_is_repeated_and_then_says_so(tmp_path):
    class Nowhere:
        address = f"unix://{tmp_path}/agent.sock"

    with pytest.raises(UnavailableError, match=r"agent.sock cannot be used.*enable-signing"):
        collect(Nowhere, read())
    collected = collect(Nowhere, read(), final=True)
    [problem] = collected.problems
    assert problem.code is ProblemCode.UNVERIFIED
    assert "cannot be verified" in problem.message
    assert (arrived_names(collected), collected.verification.status) == (set(), "False")
    marked = collect(Nowhere, read(), final=True, policy="mark")
    assert (marked.ok, arrived_names(marked), marked.verification.status) == (True, ALL, "False")


def test_an_agent_that_goes_away_leaves_its_bundles_and_a_new_one_is_taken_when_it_is_back():
    old, new = authority(), new_authority(DOMAIN, at=AT)
    signed_anew = replace(
        PLAIN,
        credential=new.issue_svid("spiffe://example.org/ns/team-a/taskrun/build-1/pod/pod-uid-1", at=AT),
    )
    with WorkloadApi(svids=[identity()]) as api, new_core(api, read()) as core:
        backend = core._plugins._registered["mine"]

        def verdict(extraction):
            backend.extraction = extraction
            return core.collect(RUN, pod_of(), NO_LOG, stamp=STAMP).verification.status

        assert verdict(read()) == "True"
        assert verdict(read(signed_anew.envelope())) == "False"
        api.stop()
        assert verdict(read()) == "True"
        api.serve(identity(new, old, new))
        api.start()
        api.wait_for_streams(1)
        wait_for_bundle(core, lambda bundle: len(bundle.authorities) == 2)
        assert verdict(read(signed_anew.envelope())) == "True"
        assert verdict(read()) == "True"
        api.serve(identity(new))
        wait_for_bundle(core, lambda bundle: len(bundle.authorities) == 1)
        assert verdict(read()) == "False"


def test_a_controller_that_is_not_registered_yet_is_served_later():
    with WorkloadApi() as api, new_core(api, read()) as core:
        with pytest.raises(UnavailableError, match="PERMISSION_DENIED"):
            core.collect(RUN, pod_of(), NO_LOG, stamp=STAMP)
        api.serve(identity())
        wait_for_bundle(core, lambda _: True)
        assert core.collect(RUN, pod_of(), NO_LOG, stamp=STAMP).ok


def test_a_trust_domain_of_which_the_agent_has_no_bundle_is_named(api):
    with pytest.raises(UnavailableError, match=r'no trust bundle of "other.org" \(it has: example.org\)'):
        collect(api, read(), **{"trust-domain": "other.org"})


def test_the_bundle_of_a_federated_trust_domain_is_used():
    ours = new_authority("ours.org", at=AT)
    svid = served_svid("spiffe://ours.org/c", ours.issue_svid("spiffe://ours.org/c", at=AT), ours)
    bundles = {"ours.org": (ours.der,), DOMAIN: (authority().der,)}
    with WorkloadApi(svids=[svid], bundles=bundles) as other:
        assert collect(other, read()).ok


def test_the_controllers_own_identity_is_there_for_what_it_signs(api):
    extension = Signed(
        Signed.Config.model_validate({"trust-domain": DOMAIN, "controller-socket": api.address})
    )
    try:
        svid = extension.identity.svid()
        credentials = extension.identity.credentials(DOMAIN)
    finally:
        extension.close()
    assert svid.spiffe_id == CONTROLLER
    assert credentials.chain == svid.chain
    assert credentials.authorities == (authority().der,)
    assert bundle().authorities[0] == authority().certificate
    assert "PrivateKey" not in repr(svid)


def test_a_pod_waits_for_its_verdict_unless_it_is_not_signed(api):
    with new_core(api, read(), namespaces={"lab": "off"}) as core:
        awaited = core.pod_created(RUN, pod_of())
        assert (awaited.status, awaited.reason) == ("Unknown", "AwaitingTaskRunResults")
        assert core.pod_created(replace(RUN, namespace="lab"), pod_of()) is None


def test_an_extension_that_changes_results_is_refused_beside_it():
    options = {"signed": {"trust-domain": DOMAIN}, "redact": {"patterns": {"a": "b"}}}
    with pytest.raises(FlagError, match='"signed" and "redact"'):
        load_extensions(["signed", "redact"], options)
    flags = {
        "results-from": "sidecar-logs",
        "extensions": "signed, opentelemetry",
        "config.signed": "trust-domain: a",
    }
    with ResultsManager.from_flags(flags) as core:
        assert list(core.extensions) == ["opentelemetry", "signed"]


def test_nothing_of_it_remains_when_it_is_closed(api):
    before = set(threading.enumerate())
    with new_core(api, read()) as core:
        core.collect(RUN, pod_of(), NO_LOG, stamp=STAMP)
        assert "workload-api" in {thread.name for thread in set(threading.enumerate()) - before}
    after = {thread.name for thread in set(threading.enumerate()) - before}
    assert "workload-api" not in after


def test_the_extension_is_loaded_and_closed_without_an_agent():
    loaded = load_extensions(["signed"], {"signed": {"trust-domain": DOMAIN}})["signed"]
    assert loaded.permissions[0].resource == "pods/log"
    loaded.close()


def test_an_argument_of_a_steps_own_command_does_not_choose_what_is_verified(api):
    pod, foreign = pod_of(), pod_of("")
    for each in (pod, foreign):
        each["spec"]["containers"][0]["args"] += ["-entrypoint", "x", "--", "-enable_spire"]
    assert collect(api, read(), pod).verification.status == "True"
    assert "no signature arrived" in collect(api, read(envelope=""), foreign).verification.message


def test_messages_that_tektons_entrypoint_signed_verify_and_the_condition_says_what_they_leave_open():
    vector = next(pod for pod in json.loads(VECTORS.read_text()) if pod["name"] == "plain")
    run = Run(
        namespace="build",
        name="release",
        uid="u",
        results=(ResultSpec(name="digest"), ResultSpec(name="list", type="array")),
        steps=(Step(name="a", container="step-a"), Step(name="b", container="step-b")),
    )
    steps = [
        {
            "name": step.container,
            "image": "i",
            "args": ["-step_metadata_dir", "x", "-entrypoint", "true", "--"],
        }
        for step in run.steps
    ]
    pod = {"metadata": {"name": "p", "namespace": "build", "uid": "1"}, "spec": {"containers": steps}}
    served = {DOMAIN: [base64.b64decode(certificate) for certificate in vector["bundle"]]}
    ours = new_authority("ours.org", at=AT)
    svid = served_svid("spiffe://ours.org/c", ours.issue_svid("spiffe://ours.org/c", at=AT), ours)
    options = {"trust-domain": DOMAIN, "termination-message": "entrypoint"}
    with WorkloadApi(svids=[svid], bundles=served) as api:
        options["controller-socket"] = api.address
        flags = {"extensions": "signed", "config.signed": json.dumps(options)}
        with ResultsManager.from_flags(flags) as core:
            prepared = core.prepare_pod(run, pod)
            awaited = core.pod_created(run, prepared)
            end = {"exitCode": 0, "reason": "Completed", "finishedAt": vector["at"]}
            prepared["status"] = {
                "phase": "Succeeded",
                "containerStatuses": [
                    {"name": name, "state": {"terminated": {**end, "message": message}}}
                    for name, message in vector["messages"].items()
                ],
            }
            collected = core.collect(run, prepared, NO_LOG)
            unsigned = core.collect(replace(run, name="other"), prepared, NO_LOG)
    assert all("-enable_spire" in container["args"] for container in prepared["spec"]["containers"])
    assert "bytes are left for values" in awaited.message
    assert {result.name: result.value for result in collected.results} == {
        "digest": "second",
        "list": ["x", "y"],
    }
    assert collected.verification.status == "True"
    assert "leave open which pod and attempt" in collected.verification.message
    assert unsigned.results == ()
    assert unsigned.verification.status == "False"
