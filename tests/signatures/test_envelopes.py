"""An envelope is read within limits, and accepted only as what its signer signed."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing_harness import AT, DOMAIN, RUN, Signed, authority, bundle, key, seal, with_part

from resultsfw.errors import SignatureError
from resultsfw.signatures import (
    Reason,
    SpiffeId,
    bundle_from_der,
    expected_subjects,
    parse_envelope,
    verify_envelope,
)
from resultsfw.testing.signing_ca import ca_template, new_authority, svid_template
from resultsfw_signing import dsse, statement

ID = SpiffeId(DOMAIN, "/ns/team-a/taskrun/build-1")
SIGNER = authority().issue_svid(str(ID), at=AT)
PAYLOAD = b'{"a":"b"}'
TEXT = seal(PAYLOAD, SIGNER)
LIMIT = 40_000


def changed(path, value):
    """The envelope's text with one part replaced, or removed by ``...``."""
    return with_part(TEXT, path, value)


def refused(reason, text, match=None, *, limit=LIMIT, **how):
    with pytest.raises(SignatureError, match=match) as caught:
        verify_envelope(parse_envelope(text, limit=limit), bundle(), at=AT, **how)
    assert caught.value.reason == reason, caught.value.message
    assert len(caught.value.message) < 1000


def test_an_envelope_has_what_the_signer_put_into_it():
    envelope = parse_envelope(TEXT, limit=len(TEXT))
    assert envelope.payload == PAYLOAD
    assert envelope.payload_type == statement.PAYLOAD_TYPE
    assert envelope.certificate == SIGNER.der
    assert verify_envelope(envelope, bundle(), at=AT, signer=ID).spiffe_id == ID
    assert verify_envelope(envelope, bundle(), at=AT).spiffe_id == ID


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "rsa-2048"])
def test_an_envelope_with_a_chain_and_any_key_verifies(kind):
    issuer = authority().subordinate(ca_template(DOMAIN, at=AT, serial_number="2"))
    text = seal(PAYLOAD, issuer.issue(svid_template(str(ID), at=AT), key=key(kind)))
    envelope = parse_envelope(text, limit=LIMIT)
    assert envelope.intermediates == (issuer.der,)
    assert verify_envelope(envelope, bundle(), at=AT, signer=ID)
    refused(
        Reason.UNTRUSTED_CERTIFICATE,
        json.dumps(json.loads(text) | {"x": 1}).replace(
            json.dumps([dsse._base64(issuer.der).strip('"')]), "[]"
        ),
    )


def test_fields_that_are_not_known_and_the_key_id_are_ignored():
    text = changed(("signatures", 0, "keyid"), "spiffe://other.org/x")
    assert verify_envelope(parse_envelope(text, limit=LIMIT), bundle(), at=AT, signer=ID)
    assert parse_envelope(changed(("signatures", 0, "keyid"), ...), limit=LIMIT)
    assert parse_envelope(changed(("extra",), [{}]), limit=LIMIT)
    assert parse_envelope(changed(("signatures", 0, "intermediates"), ...), limit=LIMIT).intermediates == ()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "it is not JSON"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("{}", '"payloadType" is not an ASCII text'),
        (TEXT[:-1], "it is not JSON"),
        (TEXT + "x", "it is not JSON"),
        (TEXT.replace('{"payloadType"', '{"payload":"","payloadType"'), "a key twice"),
        (TEXT.replace('"sig":', '"sig":"","sig":'), "a key twice"),
        ("[" * 39_000, "it is not JSON"),
        ('{"a":' * 1000 + "1" + "}" * 1000, "it is not JSON|deeper"),
        ('{"a":' * 17 + "1" + "}" * 17, "deeper than 16"),
        ('{"a":1e400}', "not a whole number"),
        ('{"a":-Infinity}', "not a whole number"),
        ('{"a":' + "1" * 5000 + "}", "it is not JSON"),
        (changed(("payloadType",), 1), "ASCII text"),
        (changed(("payloadType",), "ä"), "ASCII text"),
        (changed(("signatures",), ...), "must have exactly one signature"),
        (changed(("signatures",), {}), "must have exactly one signature"),
        (changed(("signatures",), []), "must have exactly one signature"),
        (changed(("signatures",), json.loads(TEXT)["signatures"] * 2), "must have exactly one signature"),
        (changed(("signatures", 0), "x"), "is not an object"),
        (changed(("signatures", 0, "intermediates"), "x"), "list of fewer than 8"),
        (changed(("signatures", 0, "intermediates"), ["AAAA"] * 8), "list of fewer than 8"),
        (changed(("signatures", 0, "intermediates"), [None]), "it is not base64"),
        (changed(("signatures", 0, "certificate"), ...), "it is not base64"),
        (changed(("signatures", 0, "certificate"), "A" * 21_852), "more than 16384 bytes"),
        (changed(("signatures", 0, "sig"), ...), "it is not base64"),
        (changed(("signatures", 0, "sig"), "A" * 688), "more than 512 bytes"),
        (changed(("payload",), ...), "it is not base64"),
        (changed(("payload",), "e30"), "it is not base64"),
        (changed(("payload",), " e30="), "it is not base64"),
        (changed(("payload",), "e3 0="), "it is not base64"),
        (changed(("payload",), "e31="), "not canonical base64"),
        (changed(("payload",), "__8="), "it is not base64"),
        (changed(("payload",), "é30="), "it is not base64"),
        (changed(("payload",), "\ud800"), "it is not base64"),
    ],
)
def test_a_text_that_is_not_an_envelope_is_refused(text, match):
    refused(Reason.MALFORMED_ENVELOPE, text, match)


def test_an_envelope_above_its_limit_is_refused_before_it_is_parsed():
    refused(Reason.MALFORMED_ENVELOPE, TEXT, f"its size is {len(TEXT)}, more than", limit=len(TEXT) - 1)


def test_the_type_of_the_payload_is_signed_and_compared():
    refused(Reason.MALFORMED_ENVELOPE, changed(("payloadType",), "text/plain"), "of type 'text/plain', not")
    refused(Reason.BAD_SIGNATURE, changed(("payloadType",), "text/plain"), payload_type="text/plain")
    text = seal(PAYLOAD, SIGNER, "text/plain")
    assert verify_envelope(parse_envelope(text, limit=LIMIT), bundle(), at=AT, payload_type="text/plain")


def test_another_payload_another_signature_or_another_certificate_is_refused():
    other = json.loads(seal(b"{}", SIGNER))
    refused(Reason.BAD_SIGNATURE, changed(("payload",), other["payload"]))
    refused(Reason.BAD_SIGNATURE, changed(("signatures", 0, "sig"), other["signatures"][0]["sig"]))
    namesake = authority().issue_svid(str(ID), at=AT)
    certificate = json.loads(seal(b"{}", namesake))["signatures"][0]["certificate"]
    refused(Reason.BAD_SIGNATURE, changed(("signatures", 0, "certificate"), certificate))


def test_a_signature_over_the_payload_without_its_type_is_refused():
    signature = SIGNER.sign(PAYLOAD)
    text = dsse.format_envelope(
        statement.PAYLOAD_TYPE, PAYLOAD, key_id="", signature=signature, certificate=SIGNER.der
    )
    refused(Reason.BAD_SIGNATURE, text)


def test_another_signer_is_refused_before_its_signature_is_verified():
    other = SpiffeId(DOMAIN, "/ns/team-a/taskrun/build-2")
    broken = changed(("payload",), "AAAA")
    refused(Reason.WRONG_IDENTITY, broken, f"{ID} signed, and {other} must sign", signer=other)
    refused(Reason.BAD_SIGNATURE, broken, signer=ID)


def test_certificates_are_verified_before_the_signer_is_compared():
    stranger = new_authority(DOMAIN, at=AT).issue_svid(str(ID), at=AT)
    refused(Reason.UNTRUSTED_CERTIFICATE, seal(PAYLOAD, stranger), signer=SpiffeId(DOMAIN, "/x"))


def test_the_longest_envelope_is_within_its_limit():
    """A chain of eight certificates with RSA keys, and a run whose names are all escaped."""
    name = "\u0001" * 253
    run = replace(RUN, namespace=name, name=name, uid=name)
    subjects = expected_subjects(run).values()
    payload = Signed(run=run, pod=name).statement()
    assert len(payload) <= statement.longest_payload(subjects)
    text = dsse.format_envelope(
        statement.PAYLOAD_TYPE,
        payload,
        key_id="spiffe://" + "a" * 2039,
        signature=b"s" * statement.MAX_SIGNATURE_BYTES,
        certificate=b"c" * (statement.MAX_CERTIFICATE_BYTES // 8),
        intermediates=[b"c" * (statement.MAX_CERTIFICATE_BYTES // 8)] * 7,
    )
    envelope = parse_envelope(text, limit=statement.longest_envelope(subjects))
    assert envelope.payload == payload


def same_content(first, second):
    return (first.payload_type, first.payload) == (second.payload_type, second.payload)


@given(st.integers(0, len(TEXT) - 1), st.characters())
def test_no_changed_character_of_an_envelope_makes_it_mean_something_else(place, character):
    text = TEXT[:place] + character + TEXT[place + 1 :]
    try:
        envelope = parse_envelope(text, limit=LIMIT)
        verify_envelope(envelope, bundle(), at=AT, signer=ID)
    except SignatureError:
        return
    assert same_content(envelope, parse_envelope(TEXT, limit=LIMIT))


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.just("AAAA"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries(
            {}, optional=dict.fromkeys(("payload", "sig", "certificate", "intermediates"), inner)
        )
    ),
    max_leaves=8,
)


@given(JSONS, JSONS, st.sampled_from(["x", "signatures", "payload"]))
def test_any_json_is_an_envelope_or_a_signature_error(first, second, key):
    document = {"payloadType": "x", "payload": "AAAA", "signatures": [first], key: second}
    try:
        envelope = parse_envelope(json.dumps(document), limit=LIMIT)
    except SignatureError:
        return
    with pytest.raises(SignatureError):
        verify_envelope(envelope, bundle(), at=AT, payload_type="x")


@given(st.text(max_size=60))
def test_any_text_is_an_envelope_or_a_signature_error(text):
    with pytest.raises(SignatureError):
        parse_envelope(text, limit=LIMIT)


def test_a_bundle_from_der_verifies_like_the_certificates():
    trusted = bundle_from_der(DOMAIN, [authority().der])
    assert verify_envelope(parse_envelope(TEXT, limit=LIMIT), trusted, at=AT, signer=ID)
