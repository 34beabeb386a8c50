"""Changes of a TaskRun's status that a user with the right to write it can make: none verifies."""

import base64
import copy
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing_harness import AT, REFERENCE, RUN, Signed, authority
from verdict_harness import (
    CONTROLLER,
    SIGNED_AT,
    WRONG,
    condition,
    reasons,
    signed,
    signer,
    taskrun,
    verify,
)

from resultsfw import Verification
from resultsfw.signatures import controller_identity, parse_spiffe_id
from resultsfw.signatures.tekton_annotations import make_tekton_annotations
from resultsfw.signatures.verdict import ENVELOPE_ANNOTATION, VERDICT_ANNOTATION
from resultsfw.status import VERIFIED
from resultsfw.testing.signing_ca import ca_template, new_authority

TEKTON = "tekton.dev/status-hash"


def annotations(obj):
    return obj["status"]["annotations"]


def result(obj, index, value):
    obj["status"]["results"][index]["value"] = value


def own_result(obj, value):
    obj["status"]["steps"][0]["results"][0]["value"] = value


def rename(obj):
    obj["status"]["results"][0]["name"], obj["status"]["results"][1]["name"] = "tags", "digest"


def swap_reference(obj):
    obj["status"]["results"][3]["value"]["digest"] = "sha256:" + "0" * 64


def add_result(obj):
    obj["status"]["results"].append({"name": "extra", "type": "string", "value": "v"})


def remove_result(obj):
    del obj["status"]["results"][0]


def double_result(obj):
    obj["status"]["results"].append(obj["status"]["results"][0])


def set_condition(kind, **changes):
    def change(obj):
        for entry in obj["status"]["conditions"]:
            if entry["type"] == kind:
                entry.update(changes)

    return change


def remove_condition(obj):
    obj["status"]["conditions"] = obj["status"]["conditions"][:1]


def double_condition(obj):
    conditions = obj["status"]["conditions"]
    conditions.append({**conditions[0], "status": "False"})


def annotate(name, text):
    return lambda obj: annotations(obj).update({name: text})


def remove(name):
    return lambda obj: annotations(obj).pop(name)


def change_metadata(**changes):
    return lambda obj: obj["metadata"].update(changes)


def change_status(**changes):
    return lambda obj: obj["status"].update(changes)


ATTACKS = {
    "a value changed": (lambda obj: result(obj, 0, "sha256:0"), {"WrongDigest"}),
    "an array joined": (lambda obj: result(obj, 1, ["a,b"]), {"WrongDigest"}),
    "a Step's value changed": (lambda obj: own_result(obj, "x"), {"WrongDigest"}),
    "names swapped": (rename, {"WrongDigest"}),
    "a reference changed": (swap_reference, {"WrongDigest"}),
    "a result added": (add_result, {"ForgedResult"}),
    "a result removed": (remove_result, {"LostResult"}),
    "a result twice": (double_result, {"WrongStatus"}),
    "success forged": (set_condition("Succeeded", status="False"), {"WrongStatus"}),
    "the reason changed": (set_condition("Succeeded", reason="Completed"), {"WrongStatus"}),
    "the message changed": (set_condition("Succeeded", message="ask Bob"), {"WrongStatus"}),
    "the verification forged": (set_condition(VERIFIED, status="False"), {"WrongStatus"}),
    "the verification removed": (remove_condition, {"WrongStatus"}),
    "success twice": (double_condition, {"WrongStatus"}),
    "another field changed": (change_status(podName="other"), {"WrongStatus"}),
    "an attempt hidden": (change_status(retriesStatus=[]), {"WrongStatus", "WrongAttempt"}),
    "the verdict removed": (remove(VERDICT_ANNOTATION), {"NoSignature"}),
    "the verdict damaged": (annotate(VERDICT_ANNOTATION, "{}"), {"MalformedEnvelope"}),
    "the pod's envelope in its place": (
        lambda obj: annotate(VERDICT_ANNOTATION, annotations(obj)[ENVELOPE_ANNOTATION])(obj),
        {"MalformedStatement"},
    ),
    "the pod's envelope changed": (
        annotate(ENVELOPE_ANNOTATION, Signed().envelope()),
        {"BadSignature"},
    ),
    "another run of the name": (change_metadata(uid="run-uid-2"), {"WrongRun"}),
    "another run": (change_metadata(name="build-2"), {"WrongRun"}),
    "another namespace": (change_metadata(namespace="team-b"), {"WrongRun"}),
    "a run made later": (change_metadata(creationTimestamp="2026-06-01T12:06:00Z"), {"WrongRun"}),
    "no time of creation": (change_metadata(creationTimestamp=None), {"WrongRun"}),
    "Tekton's hash changed": (annotate(TEKTON, "0" * 64), {"WrongStatus", "BadSignature"}),
    "Tekton's signature removed": (remove(f"{TEKTON}-sig"), {"BadSignature"}),
    "Tekton's signature damaged": (annotate(f"{TEKTON}-sig", "?"), {"MalformedEnvelope"}),
    "Tekton's signature huge": (annotate(f"{TEKTON}-sig", "A" * 9999), {"MalformedEnvelope"}),
    "Tekton's certificate removed": (remove("tekton.dev/controller-svid"), {"MalformedEnvelope"}),
    "Tekton's certificate huge": (
        annotate("tekton.dev/controller-svid", "A" * 99_999),
        {"MalformedEnvelope"},
    ),
}


def test_a_status_as_its_controller_wrote_it_verifies():
    verified = verify(signed())
    assert verified.faults == ()
    assert verified.ok
    assert {checked.state for checked in verified.results} == {"verified"}
    assert (verified.signer, verified.time) == (str(CONTROLLER), SIGNED_AT)
    assert verified.pod == "spiffe://example.org/ns/team-a/taskrun/build-1/pod/pod-uid-1"
    assert verified.succeeded["status"] == "True"


@pytest.mark.parametrize("name", ATTACKS)
def test_a_changed_status_does_not_verify(name):
    change, expected = ATTACKS[name]
    obj = signed()
    change(obj)
    # Tekton's own hash covers the same fields: it is named, too.
    assert expected <= set(reasons(verify(obj))) <= expected | {"WrongStatus"}


def test_a_fault_names_the_result():
    obj = signed()
    own_result(obj, "x")
    fault = verify(obj).faults[0]
    assert (fault.step, fault.result) == ("build", "digest")
    assert "steps/build/results/digest" in fault.message


def test_each_change_of_an_annotation_of_another_run_is_found():
    first, second = signed(), signed(run=replace(RUN, name="build-2", uid="run-uid-2"))
    first["status"]["annotations"] = copy.deepcopy(annotations(second))
    assert set(reasons(verify(first))) == {"WrongRun"}


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        (lambda: signer("spiffe://example.org/ns/team-a/taskrun/build-1/pod/pod-uid-1"), "WrongIdentity"),
        (lambda: signer("spiffe://example.org/ns/resultsfw/sa/default"), "WrongIdentity"),
        (lambda: signer(issuer=new_authority("example.org", at=AT)), "UntrustedCertificate"),
        (
            lambda: signer(str(controller_identity("other.org")), issuer=authority("other.org")),
            "UntrustedCertificate",
        ),
        (lambda: replace(signer(), key=signer().key), "BadSignature"),
        (
            lambda: signer(
                issuer=authority().subordinate(ca_template("example.org", at=AT, serial_number="2")),
            ),
            "",
        ),
        (
            lambda: replace(
                made := signer(
                    issuer=authority().subordinate(ca_template("example.org", at=AT, serial_number="2"))
                ),
                chain=made.chain[:1],
            ),
            "UntrustedCertificate",
        ),
    ],
    ids=["a pod", "another account", "an authority of that name", "another domain", "another key",
         "an intermediate", "a missing intermediate"],
)  # fmt: skip
def test_a_verdict_of_another_signer_does_not_verify(by, reason):
    verified = verify(signed(by=by()))
    assert reasons(verified)[:1] == ([reason] if reason else [])
    if reason == "UntrustedCertificate" and "other.org" not in verified.faults[0].message:
        assert "the bundle that was archived then" in verified.faults[0].message


def test_the_controllers_identity_can_be_another():
    own = "spiffe://example.org/ns/tekton/sa/mine"
    obj = signed(by=signer(own))
    assert verify(obj, controller=parse_spiffe_id(own)).ok
    assert not verify(obj).ok


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_verdict_outside_of_its_certificates_validity_does_not_verify(hours):
    verified = (
        verify(signed(by=signer(at=SIGNED_AT + timedelta(hours=2)), at=SIGNED_AT)) if hours > 0 else None
    )
    if verified is None:  # an agent that was away: the extension refuses to sign
        with pytest.raises(Exception, match="expired at"):
            signed(by=signer(at=SIGNED_AT - timedelta(hours=2)))
    else:
        assert reasons(verified) == ["CertificateNotYetValid"]


def test_a_verdict_of_results_that_did_not_verify_is_no_proof_of_them():
    verified = verify(signed(WRONG))
    assert reasons(verified) == ["Unverified"]
    assert verified.signer == str(CONTROLLER)
    assert {result.state for result in verified.results} == {"unverified"}


def test_no_result_is_called_verified_by_the_verdict_of_another_run():
    obj = signed()
    obj["metadata"]["uid"] = "other"
    verified = verify(obj)
    assert "WrongRun" in reasons(verified)
    assert {result.state for result in verified.results} == {"unsigned"}


def test_results_of_a_run_without_a_verification_are_no_proof():
    obj = taskrun()
    remove_condition(obj)
    assert reasons(verify(signed(None, envelope="", obj=obj))) == ["Unverified"]


def test_a_run_without_results_verifies_by_its_status_alone():
    obj = taskrun()
    remove_condition(obj)
    obj["status"]["results"] = []
    obj["status"]["steps"][0].pop("results")
    obj = signed(None, envelope="", obj=obj)
    assert verify(obj).ok
    add_result(obj)
    assert "ForgedResult" in reasons(verify(obj))


def test_the_pods_own_signature_is_verified_if_it_is_there():
    unlike = Signed(values=(((None, "digest"), "sha256:other"),)).envelope()
    assert "WrongDigest" in reasons(verify(signed(envelope=unlike)))
    foreign = Signed(run=replace(RUN, uid="other")).envelope()
    assert "WrongRun" in reasons(verify(signed(envelope=foreign)))
    other_spec = Signed(run=replace(RUN, spec={"steps": []})).envelope()
    assert "WrongSpec" in reasons(verify(signed(envelope=other_spec)))
    absent = Signed(values=(), absent=((None, "digest"),)).envelope()
    assert "ForgedResult" in reasons(verify(signed(envelope=absent)))
    obj = signed()
    remove(ENVELOPE_ANNOTATION)(obj)
    verified = verify(obj)
    assert verified.ok
    assert "the pod's own signature is not in the status" in verified.notes[-1]


def test_a_pods_signature_by_a_foreign_authority_or_over_something_else_is_found():
    identity = "spiffe://example.org/ns/team-a/taskrun/build-1/pod/pod-uid-1"
    foreign = new_authority("example.org", at=AT).issue_svid(identity, at=AT)
    assert "UntrustedCertificate" in reasons(verify(signed(envelope=Signed(credential=foreign).envelope())))
    envelope = json.loads(Signed().envelope())
    envelope["payload"] = json.loads(Signed(pod="other").envelope())["payload"]
    assert "BadSignature" in reasons(verify(signed(envelope=json.dumps(envelope))))


def test_a_reference_that_the_pod_did_not_sign_is_found():
    other = replace(REFERENCE, digest="sha256:" + "0" * 64)
    envelope = Signed(references=(((None, "log"), other),)).envelope()
    [fault] = verify(signed(envelope=envelope)).faults
    assert (fault.reason, fault.result) == ("WrongDigest", "log")


def test_results_that_were_all_withheld_are_not_verified():
    obj = taskrun(WRONG)
    obj["status"]["results"] = []
    obj["status"]["steps"] = []
    assert reasons(verify(signed(WRONG, obj=obj))) == ["Unverified"]


def test_a_run_that_was_signed_in_tektons_format_says_so():
    verified = verify(signed(envelope=""))
    assert verified.ok
    assert verified.pod == ""
    assert "Tekton's format" in verified.notes[-1]


def test_tektons_annotations_of_another_workload_do_not_verify():
    obj = signed()
    annotations(obj).update(make_tekton_annotations(obj, signer("spiffe://example.org/other")))
    assert reasons(verify(obj)) == ["WrongIdentity"]


def test_a_pod_whose_certificate_expired_before_the_controller_came_back_verifies():
    obj = signed(by=signer(at=AT + timedelta(hours=9)), at=AT + timedelta(hours=9))
    assert verify(obj).ok


def test_conditions_and_annotations_of_others_do_not_matter():
    obj = signed()
    annotations(obj)["chains.tekton.dev/signed"] = "true"
    obj["status"]["conditions"].append(
        condition("Scanned", Verification(status="False", reason="Bad", message=""))
    )
    obj["metadata"]["annotations"] = {"a": "b"}
    obj["status"]["conditions"][0]["lastTransitionTime"] = "2027-01-01T00:00:00Z"
    assert verify(obj).ok


@given(st.floats(0, 1, exclude_max=True), st.sampled_from('aA0_{}[]",:\\ \u00e9'))
def test_no_single_changed_character_of_a_verdict_verifies_as_something_else(where, letter):
    obj = signed()
    text = annotations(obj)[VERDICT_ANNOTATION]
    at = int(where * len(text))
    annotations(obj)[VERDICT_ANNOTATION] = text[:at] + letter + text[at + 1 :]
    verified = verify(obj)
    if verified.ok:  # a key that is a hint, or the letter itself
        before, after = json.loads(text), json.loads(annotations(obj)[VERDICT_ANNOTATION])
        assert before["payload"] == after["payload"]
        assert verified.signer == str(CONTROLLER)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "metadata",
                    "status",
                    "annotations",
                    "conditions",
                    "type",
                    "results",
                    "name",
                    "value",
                    "steps",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["metadata", "status", "spec"]), JSON))
def test_no_object_raises_an_exception(obj):
    assert not verify(obj).ok


@given(st.sampled_from(["conditions", "results", "steps", "retriesStatus", "taskSpec", "podName"]), JSON)
def test_no_status_raises_an_exception(field, value):
    obj = signed()
    obj["status"][field] = value
    assert not verify(obj).ok


def test_a_deeply_nested_object_does_not_verify():
    obj = signed()
    for _ in range(2000):
        obj["status"]["taskSpec"] = {"a": obj["status"]["taskSpec"]}
    assert reasons(verify(obj)) == ["WrongStatus"]


def test_the_payload_is_what_in_toto_reads():
    envelope = json.loads(annotations(signed())[VERDICT_ANNOTATION])
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    statement = json.loads(base64.b64decode(envelope["payload"]))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"][0]["name"] == "status"
    assert all(len(subject["digest"]["sha256"]) == 64 for subject in statement["subject"])


@pytest.mark.parametrize("value", [{1: "a", "b": "c"}, b"x", 2**64])
@pytest.mark.parametrize("place", ["taskSpec", "extra", "podName"])
def test_what_is_not_json_is_a_fault_and_raises_nothing(place, value):
    obj = signed()
    obj["status"][place] = value
    assert reasons(verify(obj)) == ["WrongStatus"]
