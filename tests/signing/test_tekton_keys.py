"""Tekton's keys: what Tekton's Go code signs for a value, and the keys themselves."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resultsfw_signing.tekton_keys import make_keys, signed_digest, signed_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("a\n", "a\n"),
        ('["a","b"]', "a,b"),
        ('["a,b"]', "a,b"),  # what the format does not tell apart
        ("[]", ""),
        ('["a",null]', "a,"),
        ('["a",1]', '["a",1]'),  # no list of strings: the value as it is
        (' ["a","b"]', ' ["a","b"]'),  # Go looks at the first byte alone
        ('["a"] ', "a"),
        ('["a"', '["a"'),
        ('{"b":"2","a":"1"}', "a,1,b,2"),
        ('{"\U00010000":"1","\uffff":"2"}', "\uffff,2,\U00010000,1"),  # by bytes of UTF-8
        ('{"a":null}', "a,"),
        ('{"a":"1","a":"2"}', "a,2"),
        ('{"a":{}}', '{"a":{}}'),
        ('"quoted"', "quoted"),
        (' "quoted"\n', "quoted"),
        ("null", ""),
        ("17", "17"),
        ('"\\ud800x"', "\ufffdx"),
        ("[" * 100_000, "[" * 100_000),
        ("[NaN]", "[NaN]"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_what_is_signed_is_what_go_reads(value, text):
    assert signed_text(value) == text
    assert signed_digest(value.encode()) == hashlib.sha256(text.encode()).digest()


@given(st.text())
def test_every_text_has_a_digest(value):
    assert len(signed_digest(value.encode())) == 32


def test_the_manifest_names_the_results_and_is_signed_itself():
    digests = {"b": hashlib.sha256(b"2").digest(), "a": hashlib.sha256(b"1").digest()}
    keys = make_keys(digests, lambda digest: b"signed " + digest, "PEM")
    assert (keys["SVID"], keys["RESULT_MANIFEST"]) == ("PEM", "b,a")
    assert list(keys) == ["SVID", "RESULT_MANIFEST", "b.sig", "a.sig", "RESULT_MANIFEST.sig"]
    signed = {**digests, "RESULT_MANIFEST": hashlib.sha256(b"b,a").digest()}
    for name, digest in signed.items():
        assert base64.b64decode(keys[f"{name}.sig"]) == b"signed " + digest
