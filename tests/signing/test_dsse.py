"""The envelope: DSSE's encoding of what is signed, and the text of an envelope."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw_sidecar import wire
from resultsfw_signing.dsse import format_envelope, signed_bytes


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        # The example of DSSE's protocol.md.
        ("http://example.com/HelloWorld", b"hello world", b"29 http://example.com/HelloWorld 11 hello world"),
        ("", b"", b"0  0 "),
        ("é", "é ".encode(), "2 é 3 é ".encode()),
        ("a", b"\0\xff", b"1 a 2 \0\xff"),
    ],
)
def test_what_is_signed_has_the_lengths_in_bytes(kind, payload, expected):
    assert signed_bytes(kind, payload) == b"DSSEv1 " + expected


@given(st.text(max_size=8), st.binary(max_size=8), st.text(max_size=8), st.binary(max_size=8))
def test_two_contents_are_never_signed_as_the_same_bytes(kind, payload, other_kind, other_payload):
    same = (kind, payload) == (other_kind, other_payload)
    assert (signed_bytes(kind, payload) == signed_bytes(other_kind, other_payload)) == same


@given(st.binary(), st.text(), st.binary(), st.binary(), st.lists(st.binary(), max_size=3))
def test_an_envelope_contains_what_was_given(payload, key_id, signature, certificate, intermediates):
    text = format_envelope(
        "application/x",
        payload,
        key_id=key_id,
        signature=signature,
        certificate=certificate,
        intermediates=intermediates,
    )
    parsed = json.loads(text)
    [entry] = parsed["signatures"]
    assert text.isascii()
    assert list(parsed) == ["payloadType", "payload", "signatures"]
    assert list(entry) == ["keyid", "sig", "certificate", "intermediates"]
    assert parsed["payloadType"] == "application/x"
    assert (base64.b64decode(parsed["payload"], validate=True), entry["keyid"]) == (payload, key_id)
    binary = [entry["sig"], entry["certificate"], *entry["intermediates"]]
    decoded = [base64.b64decode(part, validate=True) for part in binary]
    assert decoded == [signature, certificate, *intermediates]
    record = json.loads(wire.signature_line(text))
    assert record == {"type": "signature", "envelope": text}
