"""A verdict is equal for every form in which one status is stored, and written as it is read."""

import copy
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing_harness import AT, RUN, authority, key
from verdict_harness import signer, taskrun

from resultsfw.errors import InputError, SignatureError
from resultsfw.signatures import Signer, format_verdict, make_verdict
from resultsfw.signatures.status_digests import result_digests, status_digest
from resultsfw.signatures.verdict_statement import parse_verdict
from resultsfw.testing.signing_ca import svid_template

STATUS = taskrun()["status"]
TEXTS = st.text(max_size=6)
FACTS = st.fixed_dictionaries({"status": TEXTS, "reason": TEXTS, "messageDigest": TEXTS}) | st.just({})
VALUES = st.recursive(
    st.sampled_from([None, "", 0, False, True, 1, "a"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=5,
)


def verdict(**changes):
    return replace(make_verdict(RUN, STATUS, at=AT, pod="spiffe://example.org/x", envelope="e"), **changes)


def changed(path, value):
    status = copy.deepcopy(STATUS)
    *parents, last = path
    inner = status
    for field in parents:
        inner = inner[field]
    inner[last] = value
    return status


@given(
    namespace=TEXTS,
    attempt=st.integers(0, 99),
    results=st.none() | st.dictionaries(TEXTS.map("results/".__add__), st.just("a" * 64), max_size=3),
    succeeded=FACTS,
)
def test_a_verdict_is_read_as_it_was_written(namespace, attempt, results, succeeded):
    made = verdict(namespace=namespace, attempt=attempt, results=results, succeeded=succeeded)
    assert parse_verdict(format_verdict(made)) == made


@given(st.binary(max_size=99) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_a_payload_of_another_form_is_refused(payload):
    with pytest.raises(SignatureError):
        parse_verdict(payload)


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "x"},
        {"predicateType": "https://resultsfw.dev/results/v1"},
        {"subject": []},
        {"subject": [{"name": "status", "digest": {"sha256": "A" * 64}}]},
        {"subject": [{"name": "status", "digest": {"sha256": "a" * 64}}] * 2},
        {"subject": ["status"]},
        {"predicate": {}},
        {"predicate.listed": False},
        {"predicate.time": "2026-02-31T00:00:00Z"},
        {"predicate.time": "2026-01-01T00:00:00+00:00"},
        {"predicate.run": {"namespace": "a", "name": "b", "uid": "c", "attempt": True}},
        {"predicate.run": {"namespace": "a", "name": "b", "uid": "c", "attempt": -1}},
        {"predicate.succeeded": {"status": 1}},
        {"predicate.envelope": None},
    ],
)
def test_a_verdict_with_a_wrong_field_is_refused(change):
    document = json.loads(format_verdict(verdict()))
    for path, value in change.items():
        *parents, last = path.split(".")
        inner = document
        for field in parents:
            inner = inner[field]
        inner[last] = value
    with pytest.raises(SignatureError, match="not a verdict"):
        parse_verdict(json.dumps(document).encode())


@pytest.mark.parametrize(
    "path_and_value",
    [
        (("steps", 0, "terminated", "startedAt"), None),
        (("steps", 0, "terminated", "signal"), 0),
        (("steps", 0, "running"), {}),
        (("steps", 0, "inputs"), []),
        (("provenance",), {"featureFlags": {"enableArtifacts": False, "coschedule": ""}}),
        (("spanContext",), {}),
        (("conditions",), []),
        (("annotations",), {"chains.tekton.dev/signed": "true"}),
    ],
)
def test_what_means_the_same_has_the_same_digest(path_and_value):
    assert status_digest(changed(*path_and_value)) == status_digest(STATUS)


@pytest.mark.parametrize(
    "path_and_value",
    [
        (("steps", 0, "terminated", "exitCode"), 1),
        (("steps", 0, "terminated", "finishedAt"), "2026-06-01T12:03:01Z"),
        (("results", 0, "value"), ""),
        (("results", 2, "value"), {"url": "x", "empty": ""}),
        (("podName",), ""),
        (("taskSpec", "steps", 0, "image"), "other"),
        (("taskSpec", "stepTemplate"), {"securityContext": {"runAsUser": 0}}),
        (("taskSpec", "stepTemplate"), {}),
        (("retriesStatus",), []),
    ],
)
def test_what_means_something_else_has_another_digest(path_and_value):
    assert status_digest(changed(*path_and_value)) != status_digest(STATUS)


def is_empty(value):
    """Whether Go may leave a field with this value out."""
    return all(map(is_empty, value.values())) if isinstance(value, dict) else not value


@given(VALUES)
def test_empty_fields_and_missing_ones_are_equal_and_others_are_not(value):
    assert (status_digest({"podName": "p", "new": value}) == status_digest({"podName": "p"})) == is_empty(
        value
    )


def test_the_order_of_keys_changes_nothing():
    assert status_digest(dict(reversed(STATUS.items()))) == status_digest(STATUS)


@pytest.mark.parametrize(
    "status",
    [
        {"results": {}},
        {"results": {"name": "a"}},
        {"results": ["a"]},
        {"results": [{"name": 1}]},
        {"steps": "a"},
        {"steps": [{"name": "s", "results": [1]}]},
        {"results": [{"name": "a", "value": "1"}, {"name": "a", "value": "1"}]},
    ],
)
def test_a_status_of_another_form_is_refused(status):
    if not any(status.values()):
        assert result_digests(status) == {}
        return
    with pytest.raises(InputError, match="not what a controller writes"):
        result_digests(status)


def test_an_rsa_key_signs_and_an_ed25519_key_is_refused():
    at = AT
    for kind in ("rsa-2048", "ed25519"):
        credential = authority().issue(svid_template("spiffe://example.org/c", at=at), key=key(kind))
        by = Signer("spiffe://example.org/c", (credential.der,), credential.key)
        if kind == "ed25519":
            with pytest.raises(InputError, match="neither ECDSA nor RSA"):
                by.sign(b"data")
        else:
            assert len(by.sign(b"data")) == 256


def test_a_signer_does_not_show_its_key():
    assert "key" not in repr(signer())
