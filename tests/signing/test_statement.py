"""The statement: what it says of each result, and how large it and its envelope may become."""

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from resultsfw_sidecar import wire
from resultsfw_signing import dsse, statement
from resultsfw_signing.statement import RunIdentity, Statement

RUN = RunIdentity("ns", "build", "run-uid", 1)
SPEC = hashlib.sha256(b"spec").hexdigest()
DIGEST = hashlib.sha256(b"value").hexdigest()

names = st.text(st.characters(codec=None, exclude_characters="/\0"), min_size=1, max_size=255)
"""Also lone surrogates, quotation marks and control characters."""
subjects = st.lists(
    st.builds(statement.result_subject, names, st.none() | names), unique=True, max_size=12
) | st.just([statement.artifacts_subject(), statement.artifacts_subject("build")])
outcomes = st.sampled_from(
    ["value", "encrypted", "absent", "TooLarge", 'hostile","reason', "x" * 500, "é" * 64]
)
fields = st.text(max_size=statement.MAX_FIELD)


def made(outcome_of, run=RUN, pod="pod-uid", **options):
    signed = Statement(run, pod, **options)
    for subject, outcome in outcome_of.items():
        if outcome in ("value", "encrypted"):
            signed.deliver(subject, digest=DIGEST, size=2**63 - 1, encrypted=outcome == "encrypted")
        elif outcome == "absent":
            signed.leave_out(subject)
        else:
            signed.refuse(subject, outcome)
    return signed


def test_a_statement_names_run_and_pod_and_what_became_of_each_result():
    digest, image = statement.result_subject("digest"), statement.result_subject("image", "build")
    signed = Statement(RUN, "pod-uid", spec_digest=SPEC, types={image: statement.ARRAY}, version=2)
    signed.deliver(digest, digest=DIGEST, size=5)
    signed.deliver(image, digest=DIGEST, size=7, encrypted=True)
    signed.deliver(statement.artifacts_subject("build"), digest=DIGEST, size=2)
    signed.leave_out(statement.artifacts_subject())
    signed.refuse(statement.result_subject("large"), wire.TOO_LARGE)
    payload = signed.payload()
    assert payload.isascii()
    assert b" " not in payload
    assert json.loads(payload) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [
            {"name": "task-spec", "digest": {"sha256": SPEC}},
            {
                "name": "results/digest",
                "digest": {"sha256": DIGEST},
                "annotations": {"type": "string", "bytes": 5},
            },
            {
                "name": "steps/build/results/image",
                "digest": {"sha256": DIGEST},
                "annotations": {"type": "array", "bytes": 7, "encrypted": True},
            },
            {
                "name": "steps/build/artifacts/provenance.json",
                "digest": {"sha256": DIGEST},
                "annotations": {"type": "artifacts", "bytes": 2},
            },
        ],
        "predicateType": "https://resultsfw.dev/results/v1",
        "predicate": {
            "run": {"namespace": "ns", "name": "build", "uid": "run-uid", "attempt": 1},
            "pod": {"uid": "pod-uid"},
            "wire": 2,
            "absent": ["artifacts/provenance.json"],
            "refused": {"results/large": "TooLarge"},
        },
    }
    assert all(subject in signed for subject in (digest, image, "results/large"))
    assert "results/other" not in signed


def test_without_a_digest_of_the_spec_the_first_subject_has_that_of_no_bytes():
    [spec] = json.loads(Statement(RUN, "pod-uid").payload())["subject"]
    assert spec == {"name": "task-spec", "digest": {"sha256": hashlib.sha256(b"").hexdigest()}}


@given(subjects, st.data(), fields, fields, fields)
def test_whatever_names_say_the_statement_is_json_with_exactly_these_names(found, data, namespace, name, uid):
    outcome_of = {subject: data.draw(outcomes) for subject in found}
    run = RunIdentity(namespace, name, uid, 2**31)
    payload = made(outcome_of, run, pod=uid, spec_digest=SPEC).payload()
    parsed = json.loads(payload)
    predicate = parsed["predicate"]
    kinds = {"value": [], "encrypted": [], "absent": [], "refused": []}
    for subject, outcome in outcome_of.items():
        kinds.get(outcome, kinds["refused"]).append(subject)
    assert [entry["name"] for entry in parsed["subject"][1:]] == [
        subject for subject in found if outcome_of[subject] in ("value", "encrypted")
    ]
    assert predicate["absent"] == kinds["absent"]
    assert list(predicate["refused"]) == kinds["refused"]
    assert set(predicate["refused"].values()) <= {"TooLarge", wire.INTERNAL}
    assert predicate["run"] == {"namespace": namespace, "name": name, "uid": uid, "attempt": 2**31}
    assert len(payload) <= statement.longest_payload(found)


@given(subjects, st.data())
def test_no_record_is_longer_than_the_room_that_was_computed_for_it(found, data):
    payload = made({subject: data.draw(outcomes) for subject in found}).payload()
    certificates = [bytes(statement.MAX_CERTIFICATE_BYTES // statement.MAX_CERTIFICATES)] * (
        statement.MAX_CERTIFICATES
    )
    signature = bytes(statement.MAX_SIGNATURE_BYTES)
    envelope = dsse.format_envelope(
        statement.PAYLOAD_TYPE,
        payload,
        key_id="x" * statement.MAX_SPIFFE_ID,
        signature=signature,
        certificate=certificates[0],
        intermediates=certificates[1:],
    )
    assert len(envelope) <= statement.longest_envelope(found)
    signed = {statement.ANNOTATION: statement.SIGNED}
    assert len(wire.signature_line(envelope)) <= statement.record_room(signed, found)
    assert len(wire.signature_fault_line("\0" * 9999)) <= statement.record_room(signed, found)
    text = "A" * (len(signature) * 4 // 3 + 4)
    tekton = {"SVID": "A" * (statement.MAX_CERTIFICATE_BYTES * 17 // 12), "RESULT_MANIFEST": ",".join(found)}
    tekton |= {f"{subject}.sig": text for subject in (*found, "RESULT_MANIFEST")}
    with_keys = {statement.ANNOTATION: statement.SIGNED_WITH_TEKTON_KEYS}
    assert len(wire.signature_line(envelope, tekton)) <= statement.record_room(with_keys, found)
    assert statement.record_room({}, found) == 0
