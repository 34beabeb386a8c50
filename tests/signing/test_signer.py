"""The signer by itself, with certificates in memory: what it signs, and that no error of its own escapes."""

import base64
import json

import pytest
from signedpods import POD, POD_ID, RUN, RUN_ID, SPEC, verified, verify
from spiffe import X509Svid

from resultsfw.testing.signing_ca import ca_template, new_key, svid_template
from resultsfw_sidecar import wire
from resultsfw_sidecar.digest import sha256
from resultsfw_sidecar.program import Sidecar
from resultsfw_sidecar.results import Artifacts, Result
from resultsfw_sidecar.settings import SettingsError
from resultsfw_signing import signer as signers
from resultsfw_signing.identity import Certificate, IdentityError
from resultsfw_signing.signer import Signer, Signing

TASK, STEP = wire.TYPE_TASK, wire.TYPE_STEP


def certificate_of(credential):
    return Certificate(X509Svid.parse_raw(credential.chain_der, credential.key_der))


class Held:
    """An identity that needs no agent."""

    def __init__(self, *credentials):
        self.certificates = {found.id: found for found in map(certificate_of, credentials)}

    def wait(self, seconds, stop):
        pass

    def certificate(self, spiffe_id):
        if spiffe_id not in self.certificates:
            raise IdentityError("NoIdentity", "\0" * 1000)
        return self.certificates[spiffe_id]


def signer(*credentials, tekton=False):
    settings = {"socket": "unix:///x", "domain": "example.org", "run": RUN, "specDigest": SPEC}
    made = Signer(Signing(json.dumps({**settings, "wait": 0, "tekton": tekton}), POD))
    made.close()
    made._identity = Held(*credentials)
    return made


def record(made):
    line = made.record(None)
    assert line.endswith(b"}\n")
    return json.loads(line)


@pytest.mark.parametrize("kind", ["ec-p256", "ec-p384", "rsa-2048"])
def test_keys_of_each_kind_sign(authority, kind):
    made = signer(authority.issue(svid_template(POD_ID), key=new_key(kind)))
    made.deliver(Result("digest", TASK, "digest", None), b"value")
    parsed, name = verified(record(made)["envelope"])
    assert (parsed["subject"][1]["name"], name) == ("results/digest", POD_ID)


def test_each_kind_of_result_has_a_subject_of_its_own(credential):
    made = signer(credential)
    made.deliver(Result("a.b", TASK, "a.b", None), b"")
    made.deliver(Result("step-build.a.b", STEP, "a.b", None), b"")
    made.leave_out(Artifacts("", None))
    made.refuse(Artifacts("step-unnamed-0", None), wire.TOO_LARGE)
    parsed, _ = verified(record(made)["envelope"])
    assert [entry["name"] for entry in parsed["subject"]] == [
        "task-spec",
        "results/a.b",
        "steps/build/results/a.b",
    ]
    assert parsed["predicate"]["absent"] == ["artifacts/provenance.json"]
    assert parsed["predicate"]["refused"] == {"steps/unnamed-0/artifacts/provenance.json": "TooLarge"}


def test_a_reference_to_an_encrypted_value_is_signed_as_such(credential):
    made = signer(credential)
    made.store(Result("a", TASK, "a", None), size=5, digest="5" * 64, encrypted=True)
    parsed, _ = verified(record(made)["envelope"])
    assert parsed["subject"][1] == {
        "name": "results/a",
        "digest": {"sha256": "5" * 64},
        "annotations": {"type": "string", "bytes": 5, "encrypted": True},
    }


def test_the_envelope_contains_the_chain_up_to_the_bundle(authority):
    upper = authority.subordinate(ca_template("example.org", serial_number="2"))
    lower = upper.subordinate(ca_template("example.org", serial_number="3"))
    [signature] = json.loads(json.loads(signer(lower.issue_svid(POD_ID)).record(None))["envelope"])[
        "signatures"
    ]
    assert [base64.b64decode(part) for part in signature["intermediates"]] == [lower.der, upper.der]


def test_tektons_keys_are_for_values_of_the_task_alone(authority, credential):
    tekton = authority.issue_svid(RUN_ID)
    made = signer(credential, tekton, tekton=True)
    made.deliver(Result("digest", TASK, "digest", None), b"value")
    made.deliver(Result("step-build.x", STEP, "x", None), b"value")
    made.deliver(Artifacts("", None), b"{}")
    made.store(Result("large", TASK, "large", None), size=5, digest="5" * 64)
    made.leave_out(Result("none", TASK, "none", None))
    keys = record(made)["tekton"]
    assert set(keys) == {"SVID", "RESULT_MANIFEST", "RESULT_MANIFEST.sig", "digest.sig"}
    assert keys["SVID"] == tekton.pem


def test_without_tektons_identity_the_envelope_comes_alone(credential):
    made = signer(credential, tekton=True)
    assert list(record(made)) == ["type", "envelope"]


def test_without_an_identity_the_record_is_short_and_names_the_reason():
    fault = record(signer())["fault"]
    assert fault.startswith("NoIdentity: ")
    assert len(fault) <= wire.MESSAGE_LIMIT


def test_an_error_of_the_signer_itself_is_a_fault(credential, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("broken")

    monkeypatch.setattr(signers.dsse, "format_envelope", fail)
    assert record(signer(credential)) == {"type": "signature", "fault": "Internal: RuntimeError: broken"}


def test_tektons_lines_have_no_signature():
    sidecar = Sidecar({b"RESULTSFW_SIGNING": b"{}"}, None)
    with pytest.raises(SettingsError, match="Tekton's format has no record for it"):
        sidecar.run([])


def test_what_is_signed_is_a_digest_of_the_data(credential):
    verify(credential.certificate, certificate_of(credential).sign(sha256(b"data").digest()), b"data")
