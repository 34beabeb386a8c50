"""Tekton's keys, as the signer makes them."""

import base64
import hashlib

from hypothesis import given
from hypothesis import strategies as st

from resultsfw_signing.tekton_keys import make_keys, signed_digest


def test_the_digest_is_that_of_the_signed_text():
    for value, text in (("plain", b"plain"), ('["a","b"]', b"a,b"), ('"\\ud800"', "\ufffd".encode())):
        assert signed_digest(value.encode()) == hashlib.sha256(text).digest()


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
