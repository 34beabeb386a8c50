"""What SPIRE issues verifies, and the certificates of the tests have the same form (tests/data/spire)."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from signing_harness import authority

from resultsfw.errors import SignatureError
from resultsfw.signatures import load_certificate, parse_bundles, parse_envelope, verify_envelope
from resultsfw.testing.signing_ca import ca_template

DATA = Path(__file__).parents[1] / "data" / "spire"
ENVELOPE = parse_envelope((DATA / "envelope.json").read_text(), limit=10_000)
AT = datetime(2026, 11, 28, 12, 30, tzinfo=UTC)
ID = "spiffe://example.org/ns/team-a/taskrun/build-1/pod/pod-uid-1"
KEYS = (x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier)


def trusted(file):
    return parse_bundles((DATA / file).read_text(), trust_domain="example.org")["example.org"]


@pytest.mark.parametrize("file", ["bundle.json", "bundle.pem"])
def test_an_svid_of_spire_below_an_upstream_authority_verifies(file):
    svid = verify_envelope(ENVELOPE, trusted(file), at=AT)
    assert str(svid.spiffe_id) == ID
    assert svid.authority.subject.rfc4514_string() == "CN=Example Root,O=Example,C=DE"
    with pytest.raises(SignatureError, match="expired at 2026-11-28T13:18:30Z"):
        verify_envelope(ENVELOPE, trusted(file), at=datetime(2026, 11, 28, 14, tzinfo=UTC))


def form(certificate):
    """The extensions of a certificate, without the values that differ by key."""
    return {
        (
            type(extension.value),
            extension.critical,
            None if isinstance(extension.value, KEYS) else extension.value,
        )
        for extension in certificate.extensions
    }


def test_the_certificates_of_the_tests_have_the_form_of_spires():
    spires = [load_certificate(der) for der in (ENVELOPE.certificate, *ENVELOPE.intermediates)]
    below = authority().subordinate(ca_template("example.org", serial_number="2"))
    ours = below.issue_svid(ID)
    assert form(ours.certificate) == form(spires[0])
    assert form(below.certificate) == form(spires[1])
    assert ours.certificate.subject == spires[0].subject
    assert {name.oid for name in below.certificate.subject} == {name.oid for name in spires[1].subject}
