"""Signatures of Tekton's entrypoint: what its own code signed verifies, and what was changed does not."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tekton_signatures import signed_entries

from resultsfw import ExtractedResult, Extraction, Problem, ProblemCode, ResultSpec, Run
from resultsfw.messages import TASK_RESULT, read_message
from resultsfw.signatures import Reason, TrustBundle, bundle_from_der
from resultsfw.signatures.tekton_results import StepMessage, verify_tekton_results
from resultsfw.testing.signing_ca import ca_template, new_authority, svid_template
from resultsfw_signing.statement import run_spiffe_id
from resultsfw_signing.tekton_format import is_signature_key, signed_text
from resultsfw_signing.tekton_keys import make_keys

DATA = Path(__file__).parents[1] / "data" / "tekton-signatures"
RESULTS = json.loads((DATA / "results.json").read_text())
PODS = json.loads((DATA / "pods.json").read_text())
OURS = json.loads((DATA / "ours.json").read_text())
TAMPERED = {tampered["name"]: tampered for vector in RESULTS for tampered in vector.get("tampered", ())}
TYPES = {"list": "array", "split": "array", "object": "object"}
RUN = Run(
    namespace="build",
    name="release",
    uid="1-2-3",
    results=tuple(ResultSpec(name=name, type=TYPES.get(name, "string")) for name, _ in RESULTS[0]["written"]),
)
NOW = datetime.now(UTC)
AUTHORITY = new_authority("example.org")
BUNDLE = TrustBundle("example.org", (AUTHORITY.certificate,))
ID = run_spiffe_id("example.org", "build", "release")
SVID = AUTHORITY.issue_svid(ID)


def bundle_of(vector):
    return bundle_from_der("example.org", map(base64.b64decode, vector["bundle"]))


def at(vector):
    return datetime.fromisoformat(vector["at"])


def message(entries, *, signs=True, container="step-a", time=NOW):
    return StepMessage(container=container, entries=tuple(map(tuple, entries)), signs=signs, at=time)


def signed(values, *, svid=SVID, names=None):
    return signed_entries(values, svid, names=names)


def verify(*messages, bundle=BUNDLE, run=RUN):
    return verify_tekton_results(run, messages, bundle)


def reasons(verified):
    return [(fault.reason, fault.result) for fault in verified.faults]


@pytest.mark.parametrize("vector", RESULTS[:3], ids=lambda vector: vector["name"])
def test_what_tektons_code_signed_verifies_as_it_does_in_tekton(vector):
    verified = verify(
        message(vector["written"] + vector["signed"], time=at(vector)), bundle=bundle_of(vector)
    )
    assert verified.faults == ()
    assert verified.values == dict(vector["written"])
    assert verified.spiffe_id == ID
    assert vector["tekton"] == ""


def test_a_certificate_of_an_intermediate_is_not_trusted_as_in_tekton():
    vector = RESULTS[3]
    verified = verify(
        message(vector["written"] + vector["signed"], time=at(vector)), bundle=bundle_of(vector)
    )
    assert reasons(verified) == [(Reason.UNTRUSTED_CERTIFICATE, None)]
    assert "Tekton's format leaves intermediate certificates out" in verified.faults[0].message
    assert vector["tekton"] == "cert cannot be verified by provided roots"


@pytest.mark.parametrize("vector", OURS, ids=lambda vector: vector["name"])
def test_what_our_signer_made_verifies_here_as_it_did_in_tekton(vector):
    run = replace(RUN, name=vector["run"])
    verified = verify(message(vector["results"], time=at(vector)), bundle=bundle_of(vector), run=run)
    assert (verified.faults == ()) is (vector["tekton"] == "")
    recorded = dict(vector["results"])
    digests = {name: b"" for name in recorded if not is_signature_key(name)}
    made = make_keys(digests, lambda digest: digest, recorded["SVID"])
    assert made.keys() == recorded.keys() - digests.keys()
    assert made["RESULT_MANIFEST"] == recorded["RESULT_MANIFEST"]


def verify_tampered(name):
    vector, tampered = RESULTS[0], TAMPERED[name]
    whole = dict(vector["written"] + vector["signed"]) | tampered["set"]
    entries = [(key, value) for key, value in whole.items() if key not in tampered["remove"]]
    return verify(message(entries, time=at(vector)), bundle=bundle_of(vector))


REFUSED = {
    "value changed": (Reason.BAD_SIGNATURE, "digest"),
    "result and signature removed": (Reason.LOST_RESULT, "digest"),
    "signature removed": (Reason.BAD_SIGNATURE, "digest"),
    "manifest removed": (Reason.NO_SIGNATURE, None),
    "manifest's signature removed": (Reason.NO_SIGNATURE, None),
    "SVID removed": (Reason.NO_SIGNATURE, None),
    "all keys removed": (Reason.NO_SIGNATURE, None),
    "SVID of another run with the same key": (Reason.WRONG_IDENTITY, None),
    "manifest emptied": (Reason.FORGED_RESULT, "digest"),
    "result added with the signature of another": (Reason.NO_SIGNATURE, None),
}
LEFT_OPEN = {
    "values and signatures of two results swapped": 'which value belongs to which name: "digest", "commit"',
    "array joined otherwise": 'where the items of an array or object begin and end: "list", "split"',
    "array as string": "where the items of an array or object begin and end",
    "object as string": "where the items of an array or object begin and end",
}


def test_every_vector_of_tektons_code_is_decided_here():
    assert REFUSED.keys() | LEFT_OPEN.keys() == TAMPERED.keys()


@pytest.mark.parametrize("name", REFUSED)
def test_what_was_changed_does_not_verify(name):
    assert REFUSED[name] in reasons(verify_tampered(name))


@pytest.mark.parametrize("name", LEFT_OPEN)
def test_what_the_format_leaves_open_is_named(name):
    verified = verify_tampered(name)
    assert verified.faults == ()
    assert any(phrase.startswith(LEFT_OPEN[name]) for phrase in verified.unbound)
    assert TAMPERED[name]["tekton"] == ""


def test_two_changes_that_tekton_takes_are_refused():
    taken = {name for name, tampered in TAMPERED.items() if not tampered["tekton"]}
    assert taken - LEFT_OPEN.keys() == {"manifest emptied", "result added with the signature of another"}


@pytest.mark.parametrize("pod", PODS, ids=lambda pod: pod["name"])
def test_messages_of_tektons_entrypoint_verify_and_the_last_step_counts(pod):
    messages = []
    for container, text in pod["messages"].items():
        entries = read_message(text, 4096).entries
        task = [(entry["key"], entry["value"]) for entry in entries if entry["type"] == TASK_RESULT]
        messages.append(message(task, container=container, time=at(pod)))
    verified = verify(*messages, bundle=bundle_of(pod))
    assert verified.faults == ()
    assert verified.values == {"digest": "second", "list": '["x","y"]'}


def test_a_value_of_an_earlier_step_that_does_not_verify_is_a_fault():
    forged = message([("digest", "x"), *signed({"digest": "y"})[1:]])
    verified = verify(forged, message(signed({"digest": "z"}), container="step-b"))
    assert reasons(verified) == [(Reason.BAD_SIGNATURE, "digest")]
    assert 'container "step-a"' in verified.faults[0].message


def test_a_step_that_ran_must_have_signed_and_one_that_did_not_run_need_not():
    assert reasons(verify(message([]))) == [(Reason.NO_SIGNATURE, None)]
    assert verify(message([], signs=False)).faults == ()
    assert verify(message(signed({}))).faults == ()


@pytest.mark.parametrize(
    ("svid", "reason"),
    [
        (AUTHORITY.issue_svid(run_spiffe_id("example.org", "build", "other")), Reason.WRONG_IDENTITY),
        (AUTHORITY.issue_svid(ID + "/pod/1"), Reason.WRONG_IDENTITY),
        (new_authority("example.org").issue_svid(ID), Reason.UNTRUSTED_CERTIFICATE),
        (new_authority("evil.org").issue_svid(ID.replace("example", "evil")), Reason.UNTRUSTED_CERTIFICATE),
        (AUTHORITY.issue(replace(svid_template(ID), ca=True)), Reason.INVALID_CERTIFICATE),
        (AUTHORITY.subordinate(ca_template("example.org")).issue_svid(ID), Reason.UNTRUSTED_CERTIFICATE),
    ],
)
def test_another_signer_is_refused(svid, reason):
    verified = verify(message(signed({"digest": "x"}, svid=svid)))
    assert reasons(verified) == [(reason, None)]
    assert (verified.values, verified.spiffe_id) == ({}, "")


def test_a_certificate_counts_at_the_time_at_which_its_step_ended():
    late = verify(message(signed({"digest": "x"}), time=NOW + timedelta(hours=2)))
    assert reasons(late) == [(Reason.EXPIRED_CERTIFICATE, None)]
    early = message(signed({"digest": "x"}))
    after = AUTHORITY.issue_svid(ID, at=NOW + timedelta(hours=2))
    last = message(signed({"digest": "y"}, svid=after), container="step-b", time=NOW + timedelta(hours=2.5))
    assert verify(early, last).values == {"digest": "y"}


@pytest.mark.parametrize(
    ("values", "names", "expected"),
    [
        ({"digest": "x"}, ["digest", "commit"], (Reason.LOST_RESULT, "commit")),
        ({"digest": "x", "commit": "y"}, ["digest"], (Reason.FORGED_RESULT, "commit")),
    ],
)
def test_the_list_must_name_exactly_the_values_that_are_there(values, names, expected):
    verified = verify(message(signed(values, names=names)))
    assert reasons(verified) == [expected]
    assert verified.values == {"digest": "x"}


def test_a_list_that_was_shortened_with_its_results_does_not_verify():
    entries = [
        (key, "digest" if key == "RESULT_MANIFEST" else value)
        for key, value in signed({"digest": "x", "commit": "y"})
        if not key.startswith("commit")
    ]
    assert reasons(verify(message(entries))) == [(Reason.BAD_SIGNATURE, None)]


def test_a_list_of_very_many_names_costs_little():
    names = [f"r{index}" for index in range(20_000)]
    verified = verify(message(signed({"digest": "x"}, names=names)))
    assert len(verified.faults) == 101
    assert reasons(verified)[-1] == (Reason.FORGED_RESULT, "digest")


def test_a_certificate_that_does_not_count_is_reported_once_and_no_value_beside_it():
    foreign = new_authority("example.org").issue_svid(ID, at=NOW)
    entries = signed({"digest": "x"}, svid=foreign)
    verified = verify(message(entries), message(entries, container="step-b"))
    assert reasons(verified) == [(Reason.UNTRUSTED_CERTIFICATE, None)]
    compared = verified.compare(arrived((None, "digest", "x")))
    assert (compared.faults, compared.results) == (verified.faults, ())


@pytest.mark.parametrize(
    "extra", [("digest", "y"), ("SVID", "x"), ("note", "x"), ("note.sig", "x"), ("RESULT_MANIFEST", "")]
)
@pytest.mark.parametrize("before", [False, True])
def test_an_entry_that_no_entrypoint_writes_is_a_fault(extra, before):
    entries = signed({"digest": "x"})
    entries.insert(0 if before else len(entries), extra)
    assert verify(message(entries)).faults != ()


@pytest.mark.parametrize(
    "change",
    [
        lambda _: "",
        lambda _: "x",
        lambda pem: pem * 2,
        lambda pem: "x" + pem,
        lambda pem: pem[:60],
        lambda _: "\ud800",
        lambda pem: pem + "\ud800",
    ],
    ids=range(7),
)
def test_what_is_no_certificate_is_refused(change):
    entries = [(key, change(value) if key == "SVID" else value) for key, value in signed({"digest": "x"})]
    assert reasons(verify(message(entries))) == [(Reason.INVALID_CERTIFICATE, None)]


def open_about(value, declared, name="r"):
    run = replace(RUN, results=(ResultSpec(name=name, type=declared),))
    return [
        phrase for phrase in verify(message(signed({name: value})), run=run).unbound if f'"{name}"' in phrase
    ]


@pytest.mark.parametrize(
    ("value", "declared", "count"),
    [
        ('["a"]', "array", 0),
        ("[]", "array", 1),
        ('[""]', "array", 1),
        ('["a","b"]', "array", 1),
        ('["a,b"]', "array", 1),
        ('{"a":"1"}', "object", 0),
        ('{"a":"1,2"}', "object", 1),
        ("{}", "object", 0),
        ("a,b", "string", 1),
    ],
)
def test_values_that_share_a_signature_are_named(value, declared, count):
    assert len(open_about(value, declared)) == count


@given(
    st.lists(st.text("ab,", max_size=3), max_size=3),
    st.lists(st.text("ab,", max_size=3), max_size=3),
)
def test_two_arrays_with_one_signature_are_both_called_ambiguous(first, second):
    texts = [json.dumps(items) for items in (first, second)]
    if first != second and signed_text(texts[0]) == signed_text(texts[1]):
        assert all(open_about(text, "array") for text in texts)


def arrived(*values, problems=()):
    results = tuple(
        ExtractedResult(name=name, value=value, step=step, source="message") for step, name, value in values
    )
    return Extraction(results=results, problems=problems)


def test_what_arrived_is_compared_with_what_was_signed():
    verified = verify(message(signed({"digest": "x", "commit": "y"})))
    whole = arrived(
        (None, "SVID", "s"), (None, "digest", "old"), (None, "digest", "x"), (None, "commit", "y")
    )
    compared = verified.compare(whole)
    assert compared.ok
    assert [result.name for result in compared.results] == ["digest", "commit"]
    changed = verified.compare(arrived((None, "digest", "z"), (None, "commit", "y")))
    assert reasons(changed) == [(Reason.WRONG_DIGEST, "digest")]
    assert [result.name for result in changed.results] == ["commit"]
    lost = arrived((None, "digest", "x"))
    assert reasons(verified.compare(lost)) == [(Reason.LOST_RESULT, "commit")]
    explained = replace(lost, problems=(Problem(code=ProblemCode.TRANSPORT_CUT, message="cut"),))
    assert verified.compare(explained).ok


def test_results_of_steps_and_artifacts_are_not_signed():
    compared = verify(message(signed({}))).compare(
        arrived(("build", "digest", "x"), (None, "artifacts/provenance.json", "{}"), ("a", "x.sig", "y"))
    )
    assert reasons(compared) == [
        (Reason.NO_SIGNATURE, "digest"),
        (Reason.NO_SIGNATURE, "artifacts/provenance.json"),
        (Reason.NO_SIGNATURE, "x.sig"),
    ]
    assert 'result "digest" of Step "build" is not signed' in compared.faults[0].message


KEYS = st.sampled_from(["a", "b", "SVID", "RESULT_MANIFEST", "RESULT_MANIFEST.sig", "a.sig"]) | st.text()
VALUES = st.sampled_from([value for _, value in signed({"a": "b"})]) | st.text()


@given(st.lists(st.tuples(KEYS, VALUES), max_size=12))
def test_whatever_a_message_has_only_signed_values_verify(entries):
    verified = verify(message(entries))
    assert all(signed_text(value) in ("b", "a") for value in verified.values.values())
    assert not any(map(is_signature_key, verified.values))
    verified.compare(arrived(*((None, key, value) for key, value in entries)))
