"""Trust bundles are read in each form in which SPIRE gives them, within limits, and nothing else is."""

import contextlib
import json
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from signing_harness import AT, DOMAIN, authority

from resultsfw.errors import InputError, SignatureError
from resultsfw.signatures import Reason, TrustBundle, bundle_from_der, parse_bundles
from resultsfw.testing.signing_ca import new_authority

OLD, NEW = authority(), new_authority(DOMAIN, at=AT)
FOREIGN = authority("other.org")
EXPECTED = TrustBundle(DOMAIN, (OLD.certificate, NEW.certificate))


def svid_key(issuer, **changes):
    return {"kty": "EC", "use": "x509-svid", "x5c": [b64encode(issuer.der).decode()], **changes}


JWT_KEY = {"kty": "EC", "use": "jwt-svid", "kid": "a", "crv": "P-256", "x": "a", "y": "b"}


def key_set(*keys):
    return {"keys": [JWT_KEY, *keys], "spiffe_sequence": 1, "spiffe_refresh_hint": 300}


def refused(document, match, domain=DOMAIN):
    text = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(SignatureError, match=match) as caught:
        parse_bundles(text, trust_domain=domain)
    assert caught.value.reason == Reason.MALFORMED_BUNDLE
    assert len(caught.value.message) < 600


def test_what_the_workload_api_delivers_is_a_bundle():
    assert bundle_from_der(DOMAIN, [OLD.der, NEW.der, OLD.der]) == EXPECTED


def test_a_file_of_pem_is_a_bundle():
    text = f"# of example.org\n{OLD.pem}\nother text\n{NEW.pem}"
    assert parse_bundles(text, trust_domain=DOMAIN) == {DOMAIN: EXPECTED}


def test_a_spiffe_bundle_is_a_bundle_without_its_keys_for_other_uses():
    text = json.dumps(key_set(svid_key(OLD), {"use": "wit-svid"}, svid_key(NEW)), indent=2)
    assert parse_bundles(f"\n {text}", trust_domain=DOMAIN) == {DOMAIN: EXPECTED}


def test_a_map_has_the_bundles_of_several_trust_domains():
    document = {
        "trust_domains": {
            DOMAIN: key_set(svid_key(OLD), svid_key(NEW)),
            "other.org": key_set(svid_key(FOREIGN)),
        }
    }
    bundles = parse_bundles(json.dumps(document), trust_domain="unused.org")
    assert bundles == {DOMAIN: EXPECTED, "other.org": TrustBundle("other.org", (FOREIGN.certificate,))}


@pytest.mark.parametrize(
    ("document", "match"),
    [
        ("", "neither certificates in PEM nor"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "neither certificates in PEM nor"),
        (NEW.pem[:-40], "neither certificates in PEM nor"),
        ("\ud800", "neither certificates in PEM nor"),
        ("{", "it is not JSON"),
        ('{"keys":[],"keys":[]}', "has a key twice"),
        ('{"keys":NaN}', "has the number NaN"),
        ('{"keys":' + "[" * 20 + "]" * 20 + "}", "deeper than 16"),
        ('{"keys":' + "[" * 100_000, "it is not JSON"),
        ({}, 'no list "keys"'),
        ({"keys": {}}, 'no list "keys"'),
        ({"keys": []}, "0 authorities"),
        (key_set(), "0 authorities"),
        (key_set(svid_key(OLD, x5c=[])), "key 2 has no .x5c. with exactly one"),
        (key_set(svid_key(OLD, x5c=["AA", "AA"])), "key 2 has no .x5c. with exactly one"),
        (key_set(svid_key(OLD, x5c="A")), "key 2 has no .x5c. with exactly one"),
        (key_set(svid_key(OLD, x5c={"a": "b"})), "key 2 has no .x5c. with exactly one"),
        (key_set("x509-svid", 1), "0 authorities"),
        (key_set(svid_key(OLD, x5c=["!"])), "it is not base64"),
        (key_set(svid_key(OLD, x5c=[1])), "it is not base64"),
        (key_set(svid_key(OLD, x5c=["A" * 100_000])), "more than 65536 bytes"),
        (key_set(svid_key(OLD, x5c=["AAAA"])), "certificate 1 cannot be read"),
        ({"trust_domains": []}, "must be an object"),
        ({"trust_domains": {f"a{i}": {} for i in range(257)}}, "at most 256 bundles"),
        ({"trust_domains": {f"a{i}": {} for i in range(256)}}, 'no list "keys"'),
        ({"trust_domains": {DOMAIN: []}}, 'no list "keys"'),
    ],
)
def test_what_is_not_a_bundle_is_refused(document, match):
    refused(document, match)


def test_the_size_and_the_number_of_authorities_are_limited():
    refused(" " * 4_194_305, "more than 4194304 characters")
    refused(" " * 4_194_304, "neither certificates in PEM nor")
    for authorities, match in [
        ([], "0 authorities"),
        ([bytes([i % 256, i // 256]) for i in range(257)], "257 authorities"),
        ([bytes([i]) for i in range(256)], "certificate 1 cannot be read"),
        ([b"x" * 65_537], "more than 65536 bytes"),
        ([b"x" * 65_536], "certificate 1 cannot be read"),
    ]:
        with pytest.raises(SignatureError, match=match):
            bundle_from_der(DOMAIN, authorities)


def test_a_trust_domain_must_have_a_valid_name():
    for domain in ("", "Example.org", "spiffe://example.org"):
        with pytest.raises(InputError):
            bundle_from_der(domain, [OLD.der])
        with pytest.raises(InputError):
            parse_bundles(
                json.dumps({"trust_domains": {domain: key_set(svid_key(OLD))}}), trust_domain=DOMAIN
            )


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["keys", "use", "x5c"]), inner)
    ),
    max_leaves=8,
)


@given(JSONS, st.sampled_from(["keys", "trust_domains", "x"]))
def test_any_json_is_a_bundle_or_an_error_of_ours(value, key):
    with contextlib.suppress(SignatureError, InputError):
        parse_bundles(json.dumps({key: value}), trust_domain=DOMAIN)


@given(st.text(max_size=100))
def test_any_text_is_a_bundle_or_an_error_of_ours(text):
    for candidate in (text, "{" + text, "-----BEGIN CERTIFICATE-----\n" + text):
        with pytest.raises((SignatureError, InputError)):
            parse_bundles(candidate, trust_domain=DOMAIN)
