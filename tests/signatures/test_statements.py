"""A statement is read as `resultsfw_signing` writes it, and nothing else is."""

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing_harness import LOG, POD, RUN, VALUES, Signed, sha256, with_part

from resultsfw import ARTIFACTS
from resultsfw.errors import SignatureError
from resultsfw.signatures import Reason, SignedResult, expected_subjects, parse_statement
from resultsfw_signing import statement

LIMIT = statement.longest_payload(expected_subjects(RUN).values())
SIGNED = replace(Signed(), refused=(((None, "big"), "TooLarge"),))
PAYLOAD = SIGNED.statement()


def changed(path, value):
    """The statement with one part replaced, or removed by ``...``."""
    return with_part(PAYLOAD, path, value).encode()


def test_a_statement_has_what_the_signer_put_into_it():
    signed = parse_statement(PAYLOAD, limit=LIMIT)
    assert (signed.namespace, signed.name, signed.uid) == ("team-a", "build-1", "run-uid-1")
    assert signed.attempt == 1
    assert signed.pod_uid == POD
    assert signed.spec_digest == RUN.spec_digest
    text = VALUES[None, "tags"].encode()
    assert signed.results["results/tags"] == SignedResult(digest=sha256(text), size=len(text), type="array")
    assert signed.results["results/log"] == SignedResult(digest=sha256(LOG), size=len(LOG), type="string")
    assert signed.results["steps/build/results/digest"].type == "string"
    assert signed.results[ARTIFACTS].type == "artifacts"
    assert signed.results["steps/build/" + ARTIFACTS].type == "artifacts"
    assert signed.absent == {"results/absent"}
    assert signed.refused == {"results/big": "TooLarge"}
    assert signed.subjects == {*expected_subjects(RUN).values(), "results/big"}


def test_fields_that_are_not_known_are_ignored():
    assert parse_statement(changed(("x",), []), limit=LIMIT)
    assert parse_statement(changed(("predicate", "x"), 1), limit=LIMIT)
    assert parse_statement(changed(("subject", 0, "x"), 1), limit=LIMIT)
    assert parse_statement(changed(("subject", 1, "annotations", "x"), 1), limit=LIMIT)


TWICE = json.loads(PAYLOAD)["subject"]


@pytest.mark.parametrize(
    ("payload", "match"),
    [
        (b"", "it is not JSON"),
        (b"\xff{}", "it is not JSON"),
        (PAYLOAD.decode().encode("utf-16"), "it is not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"_type":"a","_type":"a"}', "a key twice"),
        (b"[" * 9000, "it is not JSON"),
        (changed(("_type",), "https://in-toto.io/Statement/v0.1"), "not of type"),
        (changed(("_type",), ...), "not of type"),
        (changed(("predicateType",), "https://resultsfw.dev/verdict/v1"), "not of type"),
        (changed(("predicate",), []), 'its "predicate" is not'),
        (changed(("predicate", "run"), ...), 'its "run" is not'),
        (changed(("predicate", "run", "uid"), None), 'its "uid" is not'),
        (changed(("predicate", "run", "name"), 1), 'its "name" is not'),
        (changed(("predicate", "run", "namespace"), ...), 'its "namespace" is not'),
        (changed(("predicate", "run", "attempt"), True), 'its "attempt" is not'),
        (changed(("predicate", "run", "attempt"), "1"), 'its "attempt" is not'),
        (changed(("predicate", "run", "attempt"), -1), 'its "attempt" is not'),
        (changed(("predicate", "run", "attempt"), 2**63), 'its "attempt" is not'),
        (changed(("predicate", "run", "attempt"), 1.0), "not a whole number"),
        (changed(("predicate", "pod"), "x"), 'its "pod" is not'),
        (changed(("predicate", "pod", "uid"), ...), 'its "uid" is not'),
        (changed(("predicate", "absent"), ...), 'its "absent" is not'),
        (changed(("predicate", "absent"), [1]), "is not named by a text"),
        (changed(("predicate", "absent"), [[]]), "is not named by a text"),
        (changed(("predicate", "absent"), ["results/a", "results/a"]), "a result twice"),
        (changed(("predicate", "absent"), ["results/big"]), "a result twice"),
        (changed(("predicate", "absent"), ["results/tags"]), "a result twice"),
        (changed(("predicate", "refused"), []), 'its "refused" is not'),
        (changed(("predicate", "refused"), {"results/a": 1}), "is not named by a text"),
        (changed(("predicate", "refused"), {"results/tags": "TooLarge"}), "a result twice"),
        (changed(("subject",), {}), 'its "subject" is not'),
        (changed(("subject",), []), 'no subject "task-spec"'),
        (changed(("subject",), TWICE[1:]), 'no subject "task-spec"'),
        (changed(("subject",), [*TWICE, TWICE[0]]), "a subject twice"),
        (changed(("subject",), [*TWICE, TWICE[1]]), "a subject twice"),
        (changed(("subject",), ["task-spec"]), "one of its subjects is not an object"),
        (changed(("subject", 1, "name"), 1), 'its "name" is not'),
        (changed(("subject", 0, "digest"), ...), 'its "digest" is not'),
        (changed(("subject", 0, "digest", "sha256"), "A" * 64), "'task-spec' has no SHA-256 digest"),
        (changed(("subject", 1, "digest", "sha256"), "a" * 63), "has no SHA-256 digest"),
        (changed(("subject", 1, "digest", "sha256"), "a" * 64 + "\n"), "has no SHA-256 digest"),
        (changed(("subject", 1, "digest"), {"sha512": "a" * 64}), "has no SHA-256 digest"),
        (changed(("subject", 1, "annotations"), ...), 'its "annotations" is not'),
        (changed(("subject", 1, "annotations", "type"), "number"), "not those of a result"),
        (changed(("subject", 1, "annotations", "type"), []), "not those of a result"),
        (changed(("subject", 1, "annotations", "encrypted"), 1), "not those of a result"),
        (changed(("subject", 1, "annotations", "bytes"), -1), 'its "bytes" is not'),
        (changed(("subject", 1, "annotations", "bytes"), ...), 'its "bytes" is not'),
    ],
)
def test_a_payload_that_is_not_a_statement_is_refused(payload, match):
    with pytest.raises(SignatureError, match=match) as caught:
        parse_statement(payload, limit=LIMIT)
    assert caught.value.reason == Reason.MALFORMED_STATEMENT
    assert len(caught.value.message) < 1000


@pytest.mark.parametrize(
    "payload", [b"{" + b" " * 10_000 + b"}", PAYLOAD + b" " * 20_000, "ä".encode() * 600]
)
def test_a_payload_above_its_limit_is_refused_before_it_is_parsed(payload):
    with pytest.raises(SignatureError, match="more than the 1001 that it can need"):
        parse_statement(payload, limit=1001)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("a" * 64),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("name", "digest", "sha256", "bytes", "uid"), inner)
        )
    ),
    max_leaves=8,
)
PATHS = [
    ("subject",),
    ("subject", 0),
    ("subject", 1, "digest"),
    ("subject", 1, "annotations"),
    ("predicate",),
    ("predicate", "run"),
    ("predicate", "pod"),
    ("predicate", "absent"),
    ("predicate", "refused"),
]


@given(st.sampled_from(PATHS), JSONS)
def test_any_json_is_a_statement_or_a_signature_error(path, value):
    with contextlib.suppress(SignatureError):
        parse_statement(changed(path, value), limit=LIMIT)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_statement_or_a_signature_error(payload):
    with pytest.raises(SignatureError):
        parse_statement(payload, limit=LIMIT)
