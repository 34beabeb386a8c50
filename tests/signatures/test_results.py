"""A run's results verify only if every one is what the pod of that attempt signed."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing_harness import (
    AT,
    DOMAIN,
    LOG,
    POD,
    REFERENCE,
    RUN,
    VALUES,
    Signed,
    arrived,
    authority,
    bundle,
    key,
    reasons,
    sha256,
    verify,
    with_value,
)

from resultsfw import ARTIFACTS, Problem, ProblemCode, ResultSpec, Step, StepResultRef
from resultsfw.signatures import Reason, expected_subjects, parse_statement, pod_identity
from resultsfw.testing.signing_ca import ca_template, new_authority, svid_template

ID = pod_identity(DOMAIN, RUN, POD)
TEMPLATE = svid_template(str(ID), at=AT)
DIGEST = (None, "digest")
TAGS = (None, "tags")


def signed(**changes):
    """What arrives if the pod signs something else."""
    return arrived(replace(Signed(), **changes).envelope())


def only_fault(extraction, **how):
    (fault,) = verify(extraction, **how).faults
    return fault


# What is right.


def test_what_the_pod_signed_verifies():
    verified = verify(arrived())
    assert verified.faults == ()
    assert verified.ok
    assert verified.spiffe_id == str(ID)
    assert verified.expires == TEMPLATE.not_after
    assert verified.results == arrived().results


@pytest.mark.parametrize("kind", ["ec-p384", "rsa-2048"])
def test_a_pod_with_another_key_and_a_chain_verifies(kind):
    issuer = authority().subordinate(ca_template(DOMAIN, at=AT, serial_number="2"))
    assert verify(signed(credential=issuer.issue(TEMPLATE, key=key(kind)))).ok


def test_values_of_any_text_verify():
    for text in ("", "\n", "ä€😀", "\x00", "x" * 100_000):
        values = tuple({**VALUES, DIGEST: text}.items())
        extraction = with_value(signed(values=values), DIGEST, text)
        assert verify(extraction).ok


def test_a_run_without_results_verifies_by_its_empty_statement():
    run = replace(RUN, results=(), steps=(), artifacts=False)
    empty = Signed(run=run, values=(), references=(), absent=())
    extraction = replace(arrived(empty.envelope()), results=())
    assert verify(extraction, run=run).ok


def test_a_run_whose_spec_is_not_known_verifies_by_the_same_digest():
    run = replace(RUN, spec=None)
    assert verify(arrived(Signed(run=run).envelope()), run=run).ok


def test_a_task_result_that_is_taken_from_a_step_is_signed_as_the_step_result():
    taken = ResultSpec(name="digest", from_step=StepResultRef("build", "digest"))
    run = replace(RUN, results=(taken,))
    assert (None, "digest") not in expected_subjects(run)
    assert ("build", "digest") in expected_subjects(run)


def test_every_result_and_all_provenance_has_a_subject():
    assert expected_subjects(RUN) == {
        (None, "digest"): "results/digest",
        (None, "tags"): "results/tags",
        (None, "image"): "results/image",
        (None, "absent"): "results/absent",
        (None, "log"): "results/log",
        (None, ARTIFACTS): "artifacts/provenance.json",
        ("build", "digest"): "steps/build/results/digest",
        ("build", ARTIFACTS): "steps/build/artifacts/provenance.json",
    }
    plain = replace(RUN, artifacts=False, steps=(Step(name="a", container="step-a"),))
    assert {name for _, name in expected_subjects(plain)} == {"digest", "tags", "image", "absent", "log"}


def test_of_two_values_the_later_counts_as_in_the_core():
    first, *others = arrived().results
    twice = replace(arrived(), results=(replace(first, value="outdated"), first, *others))
    assert verify(twice).results == arrived().results
    wrong = replace(arrived(), results=(first, *others, replace(first, value="later")))
    assert only_fault(wrong).reason == Reason.WRONG_DIGEST


def test_provenance_of_an_earlier_step_is_left_out():
    """In termination messages each Step repeats what the Task's file had when the Step ended."""
    (final,) = (value for value in arrived().results if (value.step, value.name) == (None, ARTIFACTS))
    outdated = replace(final, value='{"outputs":[{"name":"earlier"}]}')
    verified = verify(replace(arrived(), results=(outdated, *arrived().results)))
    assert verified.ok
    assert outdated not in verified.results
    assert final in verified.results


# The envelope.


def test_a_run_without_an_envelope_does_not_verify():
    fault = only_fault(arrived(""))
    assert fault.reason == Reason.NO_SIGNATURE
    assert "no signature arrived" in fault.message
    assert verify(arrived("")).results == ()
    assert verify(arrived("")).spiffe_id == ""


def test_a_signer_that_could_not_sign_says_why():
    fault = only_fault(arrived("", envelope_fault="NoIdentity: no answer\n" + "x" * 10_000))
    assert fault.reason == Reason.NO_SIGNATURE
    assert "the signer could not sign: 'NoIdentity: no answer\\n" in fault.message
    assert len(fault.message) < 400


def test_a_cut_envelope_does_not_verify():
    whole = Signed().envelope()
    for end in (1, len(whole) // 2, len(whole) - 1):
        assert reasons(arrived(whole[:end])) == [Reason.MALFORMED_ENVELOPE]


def test_an_envelope_or_a_statement_that_no_pod_of_the_run_can_need_is_refused():
    assert reasons(arrived(Signed().envelope() + " " * 100_000)) == [Reason.MALFORMED_ENVELOPE]
    large = Signed().statement()[:-1] + b',"x":"' + b"y" * 15_000 + b'"}'
    assert reasons(arrived(Signed().envelope(large))) == [Reason.MALFORMED_STATEMENT]


def test_a_payload_of_another_type_does_not_verify():
    assert reasons(signed(payload_type="application/json")) == [Reason.MALFORMED_ENVELOPE]
    assert reasons(arrived(Signed().envelope(b"{}"))) == [Reason.MALFORMED_STATEMENT]


def test_a_changed_payload_does_not_verify():
    document = json.loads(Signed().envelope())
    other = json.loads(Signed(values=()).envelope())
    assert reasons(arrived(json.dumps(document | {"payload": other["payload"]}))) == [Reason.BAD_SIGNATURE]


def test_two_signatures_do_not_verify():
    document = json.loads(Signed().envelope())
    document["signatures"] *= 2
    assert reasons(arrived(json.dumps(document))) == [Reason.MALFORMED_ENVELOPE]


# The signer.


def test_a_workload_of_another_trust_domain_does_not_verify():
    same_path = str(ID).replace(DOMAIN, "other.org")
    foreign = authority("other.org")
    for credential in (foreign.issue_svid(same_path, at=AT), foreign.issue_svid(str(ID), at=AT)):
        assert reasons(signed(credential=credential)) == [Reason.UNTRUSTED_CERTIFICATE]


@pytest.mark.parametrize(
    "path",
    [
        "/ns/team-a/taskrun/build-2/pod/pod-uid-1",
        "/ns/team-b/taskrun/build-1/pod/pod-uid-1",
        "/ns/team-a/taskrun/build-1/pod/pod-uid-2",
        "/ns/team-a/taskrun/build-1",
        "/ns/team-a/taskrun/build-1/pod/pod-uid-1/x",
        "/NS/team-a/taskrun/build-1/pod/pod-uid-1",
        "/spire/agent/k8s",
    ],
)
def test_another_workload_of_the_trust_domain_does_not_verify(path):
    credential = authority().issue_svid(f"spiffe://{DOMAIN}{path}", at=AT)
    fault = only_fault(signed(credential=credential))
    assert fault.reason == Reason.WRONG_IDENTITY
    assert f"spiffe://{DOMAIN}{path} signed, and {ID} must sign" in fault.message


def test_a_certificate_counts_only_at_the_time_of_signing():
    hour = timedelta(hours=1)
    assert reasons(arrived(), at=AT + hour) == []
    assert reasons(arrived(), at=AT + 2 * hour) == [Reason.EXPIRED_CERTIFICATE]
    assert reasons(arrived(), at=AT - hour) == [Reason.NOT_YET_VALID]


def test_a_chain_without_its_intermediate_does_not_verify():
    issuer = authority().subordinate(ca_template(DOMAIN, at=AT, serial_number="2"))
    credential = issuer.issue(TEMPLATE)
    assert reasons(signed(credential=credential)) == []
    assert reasons(signed(credential=replace(credential, intermediates=()))) == [Reason.UNTRUSTED_CERTIFICATE]


@pytest.mark.parametrize(
    "changes",
    [
        {"ca": True},
        {"usages": ("digital_signature", "key_cert_sign")},
        {"uris": (str(ID), "spiffe://example.org/other")},
        {"uris": (str(ID).replace("example", "EXAMPLE"),)},
    ],
    ids=str,
)
def test_a_certificate_that_is_not_an_svid_does_not_verify(changes):
    assert reasons(signed(credential=authority().issue(replace(TEMPLATE, **changes)))) == [
        Reason.INVALID_CERTIFICATE
    ]


def test_a_weak_key_does_not_verify():
    credential = authority().issue(TEMPLATE, key=key("rsa-1024"))
    assert reasons(signed(credential=credential)) == [Reason.INVALID_CERTIFICATE]


def test_an_authority_that_left_the_bundle_does_not_verify():
    trusted = bundle(new_authority(DOMAIN, at=AT))
    assert reasons(arrived(), trusted=trusted) == [Reason.UNTRUSTED_CERTIFICATE]


# Replays: an envelope that is genuine, about something else.


def test_the_envelope_of_another_attempt_does_not_verify():
    """The identity does not name the attempt: a pod's uid does, and the statement."""
    fault = only_fault(signed(run=replace(RUN, attempt=0)))
    assert fault.reason == Reason.WRONG_ATTEMPT
    assert fault.message == "the results of attempt 0 were signed, not of attempt 1"


def test_the_envelope_of_another_pod_does_not_verify():
    assert reasons(signed(pod="pod-uid-2")) == [Reason.WRONG_IDENTITY]
    own = authority().issue(TEMPLATE)
    fault = only_fault(signed(pod="pod-uid-2", credential=own))
    assert fault.reason == Reason.WRONG_POD
    assert "of uid 'pod-uid-2', not pod-uid-1" in fault.message


@pytest.mark.parametrize(
    "changes", [{"uid": "run-uid-0"}, {"name": "build-0"}, {"namespace": "team-b"}], ids=str
)
def test_the_envelope_of_another_run_does_not_verify(changes):
    """A run that was deleted and created again has the same name."""
    own = authority().issue(TEMPLATE)
    fault = only_fault(signed(run=replace(RUN, **changes), credential=own))
    assert fault.reason == Reason.WRONG_RUN
    assert "build-1 with uid run-uid-1" in fault.message


def test_the_envelope_of_another_spec_does_not_verify():
    fault = only_fault(signed(run=replace(RUN, spec={"steps": []})))
    assert fault.reason == Reason.WRONG_SPEC
    assert only_fault(arrived(), run=replace(RUN, spec=None)).reason == Reason.WRONG_SPEC


def test_every_difference_of_a_replay_is_named_and_no_result_counts():
    other = replace(RUN, uid="run-uid-0", attempt=3, spec=None)
    verified = verify(signed(run=other, pod="pod-uid-0", credential=authority().issue(TEMPLATE)))
    assert [fault.reason for fault in verified.faults] == [
        Reason.WRONG_RUN,
        Reason.WRONG_ATTEMPT,
        Reason.WRONG_POD,
        Reason.WRONG_SPEC,
    ]
    assert all(fault.result is None for fault in verified.faults)
    assert verified.results == ()


# Results.


def test_a_changed_value_does_not_verify_and_the_others_count():
    extraction = with_value(arrived(), DIGEST, "sha256:3")
    verified = verify(extraction)
    (fault,) = verified.faults
    assert (fault.reason, fault.result, fault.step) == (Reason.WRONG_DIGEST, "digest", None)
    assert fault.message == (
        'result "digest" does not have the digest that was signed: 8 bytes with '
        f"sha256:{sha256(b'sha256:1')} were signed, 8 bytes with sha256:{sha256(b'sha256:3')} arrived"
    )
    assert len(verified.results) == len(extraction.results) - 1
    assert all((value.step, value.name) != DIGEST for value in verified.results)


def test_two_swapped_values_do_not_verify():
    step_digest = ("build", "digest")
    first = with_value(arrived(), DIGEST, VALUES[step_digest])
    faults = verify(with_value(first, step_digest, VALUES[DIGEST])).faults
    assert {(fault.reason, fault.step, fault.result) for fault in faults} == {
        (Reason.WRONG_DIGEST, None, "digest"),
        (Reason.WRONG_DIGEST, "build", "digest"),
    }
    assert 'result "digest" of Step "build"' in faults[1].message


def test_an_array_is_signed_as_its_text_and_not_as_its_joined_elements():
    assert only_fault(with_value(arrived(), TAGS, '["a,b"]')).reason == Reason.WRONG_DIGEST
    assert only_fault(with_value(arrived(), TAGS, '["a", "b"]')).reason == Reason.WRONG_DIGEST


def test_a_value_that_was_signed_as_of_another_type_does_not_verify():
    text = replace(RUN, results=tuple(replace(result, type="string") for result in RUN.results))
    faults = verify(arrived(replace(Signed(run=text)).envelope())).faults
    assert {(fault.reason, fault.result) for fault in faults} == {
        (Reason.WRONG_TYPE, "tags"),
        (Reason.WRONG_TYPE, "image"),
    }
    assert 'result "tags" is declared as "array" and was signed as "string"' in [f.message for f in faults]


def test_a_result_that_was_signed_as_artifacts_does_not_verify():
    payload = Signed().statement().replace(b'"type":"array"', b'"type":"artifacts"')
    assert reasons(arrived(Signed().envelope(payload))) == [Reason.WRONG_TYPE]


def test_a_size_that_differs_does_not_verify():
    payload = Signed().statement().replace(b'"bytes":9', b'"bytes":8')
    assert reasons(arrived(Signed().envelope(payload))) == [Reason.WRONG_DIGEST]


def test_a_stripped_result_does_not_verify():
    fault = only_fault(arrived(without=[DIGEST]))
    assert (fault.reason, fault.result) == (Reason.LOST_RESULT, "digest")
    assert fault.message == 'result "digest" was signed, and neither its value nor a problem of it arrived'


def test_stripped_artifacts_do_not_verify():
    fault = only_fault(arrived(without=[("build", ARTIFACTS)]))
    assert (fault.reason, fault.result, fault.step) == (Reason.LOST_RESULT, ARTIFACTS, "build")
    assert 'artifacts of Step "build"' in fault.message


def test_all_results_stripped_do_not_verify():
    faults = verify(replace(arrived(), results=())).faults
    assert {fault.reason for fault in faults} == {Reason.LOST_RESULT}
    assert len(faults) == len(VALUES) + 1


@pytest.mark.parametrize(
    "problem",
    [
        Problem(code=ProblemCode.RESULT_TOO_LARGE, message="", result="digest"),
        Problem(code=ProblemCode.TRANSPORT_CORRUPT, message=""),
        Problem(code=ProblemCode.TRANSPORT_CUT, message="", result="tags"),
        Problem(code=ProblemCode.RUN_TOO_LARGE, message="", result="tags"),
    ],
    ids=str,
)
def test_a_result_whose_loss_has_a_problem_is_no_fault(problem):
    """The run fails for that problem."""
    assert reasons(arrived(without=[DIGEST], problems=(problem,))) == []


@pytest.mark.parametrize(
    "problem",
    [
        Problem(code=ProblemCode.RESULT_TOO_LARGE, message="", result="tags"),
        Problem(code=ProblemCode.RESULT_TOO_LARGE, message="", result="digest", step="build"),
    ],
    ids=str,
)
def test_the_problem_of_another_result_explains_no_loss(problem):
    assert reasons(arrived(without=[DIGEST], problems=(problem,))) == [Reason.LOST_RESULT]


def test_a_value_that_was_signed_as_absent_does_not_verify():
    fault = only_fault(with_value(arrived(), (None, "absent"), "here"))
    assert (fault.reason, fault.result) == (Reason.FORGED_RESULT, "absent")
    assert fault.message == 'result "absent" was signed as absent, and a value arrived'


def test_an_empty_value_is_not_an_absent_one():
    assert reasons(with_value(arrived(), (None, "absent"), "")) == [Reason.FORGED_RESULT]
    values = tuple({**VALUES, (None, "absent"): ""}.items())
    assert reasons(signed(values=values, absent=())) == [Reason.LOST_RESULT]


def refused(*, value=None, problems=()):
    extraction = arrived(
        replace(Signed(), absent=(), refused=(((None, "absent"), "TooLarge"),)).envelope(), problems=problems
    )
    return extraction if value is None else with_value(extraction, (None, "absent"), value)


def test_a_refused_result_must_have_a_problem():
    problem = Problem(code=ProblemCode.RESULT_TOO_LARGE, message="", result="absent")
    assert verify(refused(problems=(problem,))).ok
    fault = only_fault(refused())
    assert (fault.reason, fault.result) == (Reason.LOST_RESULT, "absent")
    assert fault.message == 'result "absent" was refused in the pod (TooLarge), and no problem of it arrived'


def test_a_value_that_was_refused_in_the_pod_does_not_verify():
    problem = Problem(code=ProblemCode.RESULT_TOO_LARGE, message="", result="absent")
    fault = only_fault(refused(value="here", problems=(problem,)))
    assert fault.reason == Reason.FORGED_RESULT
    assert fault.message == 'result "absent" was signed as refused (TooLarge), and a value arrived'


def test_a_statement_must_be_about_every_declared_result():
    fault = only_fault(signed(absent=()))
    assert (fault.reason, fault.result) == (Reason.INCOMPLETE, "absent")
    without_tags = tuple(item for item in VALUES.items() if item[0] != TAGS)
    fault = only_fault(signed(values=without_tags))
    assert (fault.reason, fault.result) == (Reason.INCOMPLETE, "tags")
    assert verify(signed(values=without_tags)).results == tuple(
        value for value in arrived().results if value.name != "tags"
    )


def test_a_statement_must_be_about_no_other_result():
    fault = only_fault(signed(absent=((None, "absent"), (None, "extra"), ("other", "digest"))))
    assert (fault.reason, fault.result) == (Reason.UNDECLARED, None)
    assert fault.message.endswith('does not declare: "results/extra", "steps/other/results/digest"')


def test_an_undeclared_value_does_not_verify():
    for origin in [(None, "extra"), ("other", "digest"), ("build", "tags"), (None, "SVID")]:
        extraction = arrived()
        fault = only_fault(with_value(extraction, origin, "x"))
        assert (fault.reason, fault.step, fault.result) == (Reason.UNDECLARED, *origin)
        assert verify(with_value(extraction, origin, "x")).results == extraction.results


def test_provenance_that_no_step_writes_does_not_verify():
    run = replace(RUN, artifacts=False)
    values = tuple(item for item in VALUES.items() if item[0] != (None, ARTIFACTS))
    fault = only_fault(signed(run=run, values=values), run=run)
    assert (fault.reason, fault.result, fault.step) == (Reason.UNDECLARED, ARTIFACTS, None)


def test_a_text_that_is_not_utf_8_does_not_verify():
    fault = only_fault(with_value(arrived(), DIGEST, "\ud800"))
    assert fault.reason == Reason.WRONG_DIGEST
    assert "is not UTF-8" in fault.message


# References.

LOG_RESULT = (None, "log")


def test_a_reference_verifies_by_digest_and_size():
    for changes in (
        {"digest": "sha256:" + "0" * 64},
        {"digest": sha256(LOG)},
        {"digest": "sha512:" + sha256(LOG)},
        {"size": len(LOG) - 1},
    ):
        extraction = with_value(arrived(), LOG_RESULT, replace(REFERENCE, **changes))
        assert only_fault(extraction).reason == Reason.WRONG_DIGEST
    elsewhere = replace(REFERENCE, location="other/team-a/run-uid-1/log", backend="oci")
    assert verify(with_value(arrived(), LOG_RESULT, elsewhere)).ok


def test_a_reference_and_its_value_are_the_same_result():
    """A backend may keep by reference what another one's signer read."""
    assert verify(with_value(arrived(), LOG_RESULT, LOG.decode())).ok


def test_an_encrypted_value_verifies_by_the_digest_of_what_is_stored():
    encrypted = replace(REFERENCE, encryption="key-1")
    extraction = signed(references=((LOG_RESULT, encrypted),))
    assert verify(with_value(extraction, LOG_RESULT, encrypted)).ok
    fault = only_fault(extraction)
    assert fault.reason == Reason.WRONG_DIGEST
    assert "was signed encrypted and arrived not encrypted" in fault.message
    fault = only_fault(with_value(arrived(), LOG_RESULT, encrypted))
    assert "was signed not encrypted and arrived encrypted" in fault.message
    assert only_fault(with_value(extraction, LOG_RESULT, LOG.decode())).reason == Reason.WRONG_DIGEST


# Anything else.


def test_names_that_are_hostile_are_escaped_and_shortened_in_messages():
    hostile = "a\n\x1b[31m" + "b" * 1000
    (fault,) = verify(with_value(arrived(), (None, hostile), "x")).faults
    assert fault.result == hostile
    assert "\n" not in fault.message
    assert "\x1b" not in fault.message
    assert len(fault.message) < 400
    many = ((None, f"{hostile}{number}") for number in range(9))
    fault = only_fault(signed(absent=((None, "absent"), *many)))
    assert fault.message.isprintable()
    assert len(fault.message) < 3000


ORIGINS = st.sampled_from([*VALUES, LOG_RESULT, (None, "absent"), (None, "extra"), ("other", "x")])
TEXTS = st.sampled_from([*VALUES.values(), "", "x"]) | st.text(max_size=5) | st.just(REFERENCE)


@given(st.lists(st.tuples(ORIGINS, TEXTS), max_size=4), st.lists(ORIGINS, max_size=3))
def test_whatever_arrives_only_what_was_signed_counts(added, stripped):
    extraction = arrived(ENVELOPE, without=stripped)
    for origin, value in added:
        extraction = with_value(extraction, origin, value)
    verified = verify(extraction)
    genuine = {(value.step, value.name): value.value for value in arrived(ENVELOPE).results}
    for value in verified.results:
        expected = genuine[value.step, value.name]
        assert value.value == expected or (expected, value.value) == (REFERENCE, LOG.decode())
    same = {(value.step, value.name): value.value for value in extraction.results} == genuine
    assert verified.ok == same


ENVELOPE = Signed().envelope()


def test_a_statement_of_the_signer_is_the_one_that_is_compared():
    parsed = parse_statement(Signed().statement(), limit=100_000)
    assert parsed.subjects == set(expected_subjects(RUN).values())
