"""An X509-SVID is accepted by its own rules and by a valid chain to the bundle, at the time of signing."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st
from signing_harness import AT, DOMAIN, authority, bundle, key

from resultsfw.errors import SignatureError
from resultsfw.signatures import Reason, TrustBundle, verify_signature, verify_svid
from resultsfw.testing.signing_ca import ca_template, new_authority, new_key, svid_template

ID = "spiffe://example.org/ns/team-a/taskrun/build-1"
TEMPLATE = svid_template(ID, at=AT)
SECOND = timedelta(seconds=1)


def intermediate_template(number=2, /, **changes):
    return replace(ca_template(DOMAIN, at=AT, serial_number=str(number)), **changes)


def chained(**changes):
    """A leaf below an intermediate that has these changes."""
    return authority().subordinate(intermediate_template(**changes)).issue(TEMPLATE)


def verify(svid, *, trusted=None, at=AT, intermediates=None):
    given_chain = svid.intermediates_der if intermediates is None else intermediates
    return verify_svid(svid.der, given_chain, trusted or bundle(), at=at)


def refused(reason, svid, match=None, **how):
    with pytest.raises(SignatureError, match=match) as caught:
        verify(svid, **how)
    assert caught.value.reason == reason, caught.value.message
    assert len(caught.value.message) < 1000
    return caught.value


def test_a_certificate_as_spire_issues_it_verifies():
    svid = authority().issue(TEMPLATE)
    verified = verify(svid)
    assert str(verified.spiffe_id) == ID
    assert verified.certificate == svid.certificate
    assert verified.authority == authority().certificate


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "rsa-2048"])
def test_a_key_of_any_type_that_spire_offers_signs(kind):
    svid = authority().issue(TEMPLATE, key=key(kind))
    verified, data = verify(svid), b"payload"
    verify_signature(verified, svid.sign(data), data)
    for wrong in (b"", b"\x00" * 64, svid.sign(b"other"), svid.sign(data)[:-1], svid.sign(data) + b"\x00"):
        with pytest.raises(SignatureError, match="is not that of spiffe://") as caught:
            verify_signature(verified, wrong, data)
        assert caught.value.reason == Reason.BAD_SIGNATURE


def test_a_signature_by_a_key_of_another_type_is_refused():
    ec_svid = authority().issue(TEMPLATE)
    rsa_svid = authority().issue(TEMPLATE, key=key("rsa-2048"))
    ed25519 = authority().issue(TEMPLATE, key=key("ed25519"))
    for svid, other in [(ec_svid, rsa_svid), (rsa_svid, ec_svid), (ed25519, ed25519)]:
        with pytest.raises(SignatureError):
            verify_signature(replace(verify(ec_svid), certificate=svid.certificate), other.sign(b"a"), b"a")


@pytest.mark.parametrize(
    "changes",
    [
        {"organization": "", "critical_names": True},
        {"extended_usages": False},
        {"dns_names": ("build-1", "other")},
        {"key_identifiers": False},
        {"ca": None},
        {"usages": ("digital_signature",)},
    ],
    ids=str,
)
def test_what_other_issuers_of_svids_do_verifies(changes):
    assert str(verify(authority().issue(replace(TEMPLATE, **changes))).spiffe_id) == ID


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"uris": ()}, "has 0 URI names"),
        ({"uris": (), "dns_names": ("example.org",)}, "has 0 URI names"),
        ({"uris": (ID, ID + "/2")}, "has 2 URI names"),
        ({"uris": (ID, "https://example.org")}, "has 2 URI names"),
        ({"uris": ("https://example.org/ns",)}, "is not a SPIFFE ID"),
        ({"uris": ("spiffe://Example.org/ns/a",)}, "is not a SPIFFE ID"),
        ({"uris": ("spiffe://example.org",)}, "has no path"),
        ({"ca": True}, "its CA flag is set"),
        ({"ca": True, "usages": ("digital_signature", "key_cert_sign")}, "its CA flag is set"),
        ({"usages": None}, "lacks digitalSignature"),
        ({"usages": ("key_agreement",)}, "lacks digitalSignature"),
        ({"usages": ("digital_signature", "key_cert_sign")}, "may sign certificates or CRLs"),
        ({"usages": ("digital_signature", "crl_sign")}, "may sign certificates or CRLs"),
    ],
    ids=str,
)
def test_a_leaf_that_is_not_an_svid_is_refused(changes, match):
    refused(Reason.INVALID_CERTIFICATE, authority().issue(replace(TEMPLATE, **changes)), match)


@pytest.mark.parametrize(
    ("kind", "match"),
    [("rsa-1024", "RSA key has 1024 bits"), ("ec-p521", "curve secp521r1"), ("ed25519", "neither ECDSA nor")],
)
def test_a_weak_or_unusual_key_of_a_leaf_is_refused(kind, match):
    refused(Reason.INVALID_CERTIFICATE, authority().issue(TEMPLATE, key=key(kind)), match)


def test_an_svid_of_another_trust_domain_is_refused():
    foreign = authority("other.org")
    own = foreign.issue(svid_template("spiffe://other.org/ns/team-a/taskrun/build-1", at=AT))
    refused(Reason.UNTRUSTED_CERTIFICATE, own, "does not belong to the trust domain example.org")
    refused(Reason.UNTRUSTED_CERTIFICATE, foreign.issue(TEMPLATE), "no valid chain")


def test_an_svid_of_a_foreign_domain_is_refused_even_by_an_authority_of_the_bundle():
    svid = authority().issue(svid_template("spiffe://other.org/ns/team-a/taskrun/build-1", at=AT))
    refused(Reason.UNTRUSTED_CERTIFICATE, svid, "does not belong to the trust domain example.org")


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (TEMPLATE.not_before - SECOND, Reason.NOT_YET_VALID),
        (TEMPLATE.not_before, None),
        (TEMPLATE.not_after, None),
        (TEMPLATE.not_after.astimezone(timezone(timedelta(hours=5))), None),
        (TEMPLATE.not_after + SECOND, Reason.EXPIRED_CERTIFICATE),
        (datetime.max.replace(tzinfo=UTC), Reason.EXPIRED_CERTIFICATE),
    ],
)
def test_a_certificate_counts_only_within_its_validity(at, reason):
    svid = authority().issue(TEMPLATE)
    if reason is None:
        verify(svid, at=at)
    else:
        refused(reason, svid, "expired at 2026-06-01T13:00:00Z|valid only from 2026-06-01T11:59:50Z", at=at)


def test_a_chain_counts_only_while_each_of_its_authorities_is_valid():
    late = AT + timedelta(hours=2)
    leaf = replace(TEMPLATE, not_after=late + SECOND)
    intermediate = authority().subordinate(intermediate_template(not_after=AT + SECOND))
    verify(intermediate.issue(leaf))
    refused(Reason.UNTRUSTED_CERTIFICATE, intermediate.issue(leaf), "not valid at validation time", at=late)
    root = new_authority(DOMAIN, template=replace(ca_template(DOMAIN, at=AT), not_after=AT + SECOND))
    verify(root.issue(leaf), trusted=bundle(root))
    refused(Reason.UNTRUSTED_CERTIFICATE, root.issue(leaf), at=late, trusted=bundle(root))


def test_a_chain_of_several_intermediates_verifies_in_any_order():
    first = authority().subordinate(intermediate_template(2))
    svid = first.subordinate(intermediate_template(3)).issue(TEMPLATE)
    assert len(svid.intermediates) == 2
    assert verify(svid).authority == authority().certificate
    verify(svid, intermediates=svid.intermediates_der[::-1])


def test_a_missing_intermediate_breaks_the_chain():
    svid = (
        authority()
        .subordinate(intermediate_template(2))
        .subordinate(intermediate_template(3))
        .issue(TEMPLATE)
    )
    first, second = svid.intermediates_der
    for intermediates in ([], [first], [second]):
        refused(Reason.UNTRUSTED_CERTIFICATE, svid, "no valid chain", intermediates=intermediates)
    assert verify(svid, trusted=bundle(authority()), intermediates=[first, second])


def test_a_certificate_without_a_path_into_the_bundle_is_refused():
    other = new_authority(DOMAIN, at=AT)
    refused(Reason.UNTRUSTED_CERTIFICATE, other.issue(TEMPLATE), "no valid chain")
    own_root = other.issue(TEMPLATE)
    refused(Reason.UNTRUSTED_CERTIFICATE, own_root, intermediates=[other.der])
    refused(
        Reason.UNTRUSTED_CERTIFICATE, authority().issue(TEMPLATE), trusted=replace(bundle(), authorities=())
    )


def test_intermediates_that_all_issue_one_another_take_no_long_search():
    # They share a name and a key: a search without a limit tries millions of paths (cryptography before 49).
    own = new_key()
    template = ca_template(DOMAIN, at=AT)
    loop = [new_authority(DOMAIN, template=template, key=own) for _ in range(7)]
    refused(
        Reason.UNTRUSTED_CERTIFICATE,
        loop[0].issue(TEMPLATE),
        "signature check limit",
        intermediates=[issuer.der for issuer in loop],
    )


def test_a_leaf_in_the_bundle_is_no_authority():
    svid = authority().issue(TEMPLATE)
    refused(Reason.UNTRUSTED_CERTIFICATE, svid, "itself, which is not an authority", trusted=bundle(svid))


def test_a_workload_cannot_issue_for_another():
    leaf = authority().subordinate(TEMPLATE)
    forged = leaf.issue(svid_template("spiffe://example.org/ns/b", at=AT))
    refused(Reason.UNTRUSTED_CERTIFICATE, forged, "cA must be asserted")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"ca": False}, "cA must be asserted"),
        ({"ca": None}, "no basicConstraints"),
        ({"usages": ("crl_sign",)}, "lacks keyCertSign"),
        ({"usages": None}, "has no key usage"),
        ({"uris": ("spiffe://other.org",)}, "other than that of the trust domain"),
        ({"uris": ("SPIFFE://other.org",)}, "other than that of the trust domain"),
        ({"uris": ("spiffe://example.org/ns/team-a",)}, "other than that of the trust domain"),
        ({"uris": ("spiffe://example.org", "spiffe://other.org")}, "other than that of the trust domain"),
        ({"not_before": AT + SECOND}, "not valid at validation time"),
        (
            {"extra": ((x509.NameConstraints(None, [x509.DNSName("example.org")]), True),)},
            None,
        ),
        (
            {"extra": ((x509.NameConstraints([x509.UniformResourceIdentifier("other.org")], None), True),)},
            "name constraint",
        ),
        (
            {"extra": ((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),)},
            "critical extension",
        ),
    ],
    ids=str,
)
def test_an_intermediate_must_be_an_authority_of_the_trust_domain(changes, match):
    svid = chained(**changes)
    if match is None:
        verify(svid)
    else:
        refused(Reason.UNTRUSTED_CERTIFICATE, svid, match)


def test_an_intermediate_without_spiffe_id_or_with_a_web_address_is_accepted():
    verify(chained(uris=()))
    verify(chained(uris=("https://ca.example.org",)))


def test_a_path_length_limits_the_intermediates_below():
    short = authority().subordinate(intermediate_template(2, path_length=0))
    verify(short.issue(TEMPLATE))
    below = short.subordinate(intermediate_template(3)).issue(TEMPLATE)
    refused(Reason.UNTRUSTED_CERTIFICATE, below, "path length")


def test_the_keys_and_hashes_of_issuers_must_be_strong():
    weak = new_authority(DOMAIN, at=AT, key=key("rsa-1024"))
    refused(Reason.UNTRUSTED_CERTIFICATE, weak.issue(TEMPLATE), trusted=bundle(weak))
    ed25519 = new_authority(DOMAIN, at=AT, key=key("ed25519"))
    refused(Reason.UNTRUSTED_CERTIFICATE, ed25519.issue(TEMPLATE), trusted=bundle(ed25519))
    for strong in ("ec-p521", "rsa-2048"):
        root = new_authority(DOMAIN, at=AT, key=key(strong))
        verify(root.issue(TEMPLATE), trusted=bundle(root))
    short_hash = authority().issue(TEMPLATE, signature_hash=hashes.SHA224())
    refused(Reason.UNTRUSTED_CERTIFICATE, short_hash, "Forbidden signature algorithm")


def test_a_signature_of_sha_1_is_refused():
    """The library issues none: a certificate's algorithm is changed, and so its signature is wrong, too."""
    sha256_rsa, sha1_rsa = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    root = new_authority(DOMAIN, at=AT, key=key("rsa-2048"))
    svid = root.issue(TEMPLATE)
    assert svid.der.count(sha256_rsa) == 2
    with pytest.raises(SignatureError, match="Forbidden signature algorithm"):
        verify_svid(svid.der.replace(sha256_rsa, sha1_rsa), (), bundle(root), at=AT)


@pytest.mark.parametrize(
    ("changes", "sound"),
    [
        ({"usages": None}, True),
        ({"usages": None, "uris": (), "key_identifiers": False}, True),
        ({"usages": ("crl_sign",)}, False),
        ({"ca": False}, False),
        ({"ca": None}, False),
        ({"uris": ("spiffe://other.org",)}, False),
        ({"path_length": 0}, True),
    ],
    ids=str,
)
def test_a_root_may_lack_a_key_usage_and_nothing_else(changes, sound):
    root = new_authority(DOMAIN, template=replace(ca_template(DOMAIN, at=AT), **changes))
    svid = root.issue(TEMPLATE)
    if sound:
        assert verify(svid, trusted=bundle(root)).authority == root.certificate
    else:
        refused(Reason.UNTRUSTED_CERTIFICATE, svid, trusted=bundle(root))


def test_authorities_that_were_rotated_are_both_trusted():
    old, new = new_authority(DOMAIN, at=AT), new_authority(DOMAIN, at=AT)
    for issuer in (old, new):
        assert verify(issuer.issue(TEMPLATE), trusted=bundle(old, new)).authority == issuer.certificate


def test_the_number_and_the_size_of_certificates_are_limited_before_any_is_parsed():
    svid = authority().issue(TEMPLATE)
    refused(Reason.UNTRUSTED_CERTIFICATE, svid, "9 certificates, more than 8", intermediates=[b"x"] * 8)
    refused(Reason.INVALID_CERTIFICATE, svid, intermediates=[b"x" * (16_384 - len(svid.der))])
    refused(
        Reason.UNTRUSTED_CERTIFICATE, svid, "16384 bytes", intermediates=[b"x" * (16_385 - len(svid.der))]
    )
    refused(
        Reason.INVALID_CERTIFICATE, svid, "intermediate certificate 1 cannot be read", intermediates=[b"x"]
    )
    verify(svid, intermediates=[authority().der] * 7)


def test_a_serial_number_that_is_not_positive_is_refused():
    """The library warns of it, and warnings are errors here."""
    svid = authority().issue(TEMPLATE)
    number = svid.certificate.serial_number
    serial = number.to_bytes(number.bit_length() // 8 + 1, "big")  # as DER encodes it
    negative = svid.der.replace(serial, b"\x80" + serial[1:])
    with pytest.raises(SignatureError, match="serial number which wasn't positive") as caught:
        verify_svid(negative, (), bundle(), at=AT)
    assert caught.value.reason == Reason.INVALID_CERTIFICATE


def test_a_key_of_an_unknown_algorithm_is_refused():
    """The number of the algorithm is changed: no key of a certificate that can be made is unknown."""
    ec_key, unknown = bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0209")
    svid = authority().issue(TEMPLATE)
    assert svid.der.count(ec_key) == 1
    with pytest.raises(SignatureError, match="the signer's certificate cannot be read") as caught:
        verify_svid(svid.der.replace(ec_key, unknown), (), bundle(), at=AT)
    assert caught.value.reason == Reason.INVALID_CERTIFICATE


def test_a_certificate_with_something_behind_it_is_refused():
    svid = authority().issue(TEMPLATE)
    with pytest.raises(SignatureError, match="the signer's certificate cannot be read"):
        verify_svid(svid.der + b"\x00", (), bundle(), at=AT)


def test_a_certificate_with_an_extension_twice_is_refused():
    """The builder makes none: one of another number, as long, becomes a second basicConstraints."""
    other, basic_constraints = bytes.fromhex("0603551d63"), bytes.fromhex("0603551d13")
    extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.99"), b"\x30\x00")
    svid = authority().issue(replace(TEMPLATE, extra=((extension, False),)))
    with pytest.raises(SignatureError, match="cannot be read") as caught:
        verify_svid(svid.der.replace(other, basic_constraints), (), bundle(), at=AT)
    assert caught.value.reason == Reason.INVALID_CERTIFICATE
    root = new_authority(DOMAIN, template=replace(ca_template(DOMAIN, at=AT), extra=((extension, False),)))
    twice = x509.load_der_x509_certificate(root.der.replace(other, basic_constraints))
    refused(Reason.UNTRUSTED_CERTIFICATE, root.issue(TEMPLATE), trusted=TrustBundle(DOMAIN, (twice,)))


SVID = chained()
PARTS = (SVID.der, *SVID.intermediates_der)


def signed_parts(chain):
    certificates = [x509.load_der_x509_certificate(der) for der in chain]
    return [(certificate.tbs_certificate_bytes, certificate.signature) for certificate in certificates]


@given(st.integers(0, len(PARTS) - 1), st.data(), st.integers(1, 255))
def test_no_changed_byte_of_what_a_chain_signs_is_accepted_and_no_other_error_is_raised(which, data, change):
    """The library ignores one byte: how many bits at the end of a signature, which are zero, do not count."""
    part = bytearray(PARTS[which])
    part[data.draw(st.integers(0, len(part) - 1))] ^= change
    leaf, *intermediates = chain = (*PARTS[:which], bytes(part), *PARTS[which + 1 :])
    try:
        verify_svid(leaf, intermediates, bundle(), at=AT)
    except SignatureError:
        return
    assert signed_parts(chain) == signed_parts(PARTS)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_certificate_or_a_signature_error(data):
    with pytest.raises(SignatureError):
        verify_svid(data, (), bundle(), at=AT)
