"""Verifiers that skip one check each, and the tests of the signed suite that must find it.

Not collected by itself: `test_detects_wrong_verifiers` runs the suite with each. A wrong verifier is a patch
of the real one.
"""

import json
from dataclasses import replace
from datetime import timedelta

from cryptography.x509 import load_der_x509_certificate

from resultsfw.signatures import Reason, SpiffeId, VerifiedResults, certificates, envelopes, results
from resultsfw.signatures.spiffe_ids import parse_spiffe_id
from resultsfw_extensions import _signed_policy, signed
from resultsfw_signing import statement

WRONGS = {}
"""By the name of the wrong verifier: its patch, and the tests that must fail."""


def caught_by(*attacks, also=()):
    """Record which tests find the fault of a verifier: those of attacks, and others."""

    def note(patch):
        WRONGS[patch.__name__] = (patch, {*(f"test_wrong_signer[{attack}]" for attack in attacks), *also})
        return patch

    return note


def _ignores(reason, *attacks, also=()):
    """A verifier that finds everything but differences of one kind."""

    def patch(monkeypatch):
        check = results.check
        monkeypatch.setattr(
            results, "check", lambda *given: tuple(fault for fault in check(*given) if fault.reason != reason)
        )

    patch.__name__ = f"ignores_{reason.name.lower()}"
    caught_by(*attacks, also=also)(patch)


_ignores(Reason.WRONG_RUN, "replayed-from-another-run", "replayed-from-another-namespace")
_ignores(Reason.WRONG_ATTEMPT, "replayed-from-another-attempt")
_ignores(Reason.WRONG_POD, "replayed-from-another-pod")
_ignores(Reason.WRONG_SPEC, "another-spec")
_ignores(Reason.INCOMPLETE, "result-left-out-of-the-statement", "absence-left-out-of-the-statement")
_ignores(Reason.UNDECLARED, "undeclared-result-added", "undeclared-result-in-the-statement")
_ignores(
    Reason.WRONG_DIGEST,
    "values-swapped",
    "values-swapped-with-their-tekton-signatures",
    "value-changed",
    "array-joined-with-commas",
    also=["test_wrong_signer_marked"],
)
_ignores(Reason.WRONG_TYPE, "result-of-another-type")
_ignores(Reason.FORGED_RESULT, "absent-result-added", "refused-result-added", "value-signed-as-absent")
_ignores(Reason.LOST_RESULT, "result-dropped", "refusal-dropped", "absence-signed-as-a-value")


@caught_by(
    "envelope-stripped",
    "envelope-stripped-but-tekton-signatures",
    "signer-without-identity",
    also=["test_pod_made_without_signing"],
)
def takes_unsigned_results(monkeypatch):
    verify = signed.verify_results

    def lenient(run, pod_uid, extraction, *rest, **more):
        if not extraction.envelope:
            return VerifiedResults(faults=(), results=extraction.results)
        return verify(run, pod_uid, extraction, *rest, **more)

    monkeypatch.setattr(signed, "verify_results", lenient)


@caught_by("payload-changed", "key-of-another-certificate")
def checks_no_signature(monkeypatch):
    monkeypatch.setattr(envelopes, "verify_signature", lambda *_, **__: None)


def _with_arguments(monkeypatch, change):
    """Let the envelope be verified with other arguments."""
    verify = results.verify_envelope
    monkeypatch.setattr(
        results,
        "verify_envelope",
        lambda envelope, bundle, **given: verify(envelope, bundle, **{**given, **change(envelope)}),
    )


@caught_by("identity-of-another-run", "identity-of-another-pod", "identity-of-the-run-without-its-pod")
def takes_any_identity_of_the_domain(monkeypatch):
    _with_arguments(monkeypatch, lambda _: {"signer": None})


@caught_by("payload-of-another-type")
def takes_any_type_of_payload(monkeypatch):
    _with_arguments(monkeypatch, lambda envelope: {"payload_type": envelope.payload_type})


@caught_by("certificate-expired", "certificate-not-yet-valid")
def takes_the_certificates_own_time(monkeypatch):
    def time_of(envelope):
        certificate = load_der_x509_certificate(envelope.certificate)
        return {"at": certificate.not_valid_before_utc + timedelta(seconds=1)}

    _with_arguments(monkeypatch, time_of)


@caught_by("foreign-authority", "intermediate-missing")
def follows_no_chain(monkeypatch):
    monkeypatch.setattr(certificates, "_chain", lambda leaf, _, bundle, *__: [leaf, bundle.authorities[0]])


@caught_by("foreign-domain-by-our-authority")
def compares_no_trust_domain(monkeypatch):
    def parse(text):
        return replace(parse_spiffe_id(text), trust_domain="example.org")

    monkeypatch.setattr(certificates, "parse_spiffe_id", parse)


@caught_by("certificate-of-an-authority")
def takes_the_certificate_of_an_authority(monkeypatch):
    monkeypatch.setattr(certificates, "_is_authority", lambda _: False)


@caught_by("certificate-that-may-not-sign", "certificate-of-an-authority")
def knows_no_rule_for_leaves(monkeypatch):
    def identity(certificate):
        return parse_spiffe_id(certificates._uris(certificate)[0])

    monkeypatch.setattr(certificates, "svid_identity", identity)


@caught_by(also=["test_signed_by_way_of_an_intermediate"])
def ignores_intermediates(monkeypatch):
    parse = results.parse_envelope
    monkeypatch.setattr(
        results, "parse_envelope", lambda *given, **more: replace(parse(*given, **more), intermediates=())
    )


@caught_by("signature-doubled")
def takes_the_first_of_several_signatures(monkeypatch):
    parse = results.parse_envelope

    def lenient(text, **more):
        try:
            document = json.loads(text)
            document["signatures"] = document["signatures"][:1]
        except ValueError:
            return parse(text, **more)
        return parse(json.dumps(document), **more)

    monkeypatch.setattr(results, "parse_envelope", lenient)


@caught_by("envelope-too-large")
def limits_no_envelope(monkeypatch):
    monkeypatch.setattr(statement, "longest_envelope", lambda _: 1 << 30)


@caught_by("values-swapped", "value-changed", "identity-of-another-run", "envelope-stripped")
def keeps_what_does_not_verify(monkeypatch):
    apply = signed.apply_policy

    def lenient(extraction, verified, *rest, **more):
        return apply(extraction, replace(verified, results=extraction.results), *rest, **more)

    monkeypatch.setattr(signed, "apply_policy", lenient)


@caught_by("values-swapped", "value-changed", "identity-of-another-run", "envelope-stripped")
def only_marks(monkeypatch):
    apply = signed.apply_policy
    monkeypatch.setattr(
        signed,
        "apply_policy",
        lambda extraction, verified, *_, **more: apply(extraction, verified, "mark", **more),
    )


@caught_by(also=["test_wrong_signer_marked"])
def withholds_where_it_should_mark(monkeypatch):
    apply = signed.apply_policy
    monkeypatch.setattr(
        signed,
        "apply_policy",
        lambda extraction, verified, *_, **more: apply(extraction, verified, "fail", **more),
    )


@caught_by("values-swapped", "value-changed")
def does_not_name_what_differs(monkeypatch):
    monkeypatch.setattr(_signed_policy, "_messages", lambda _: ["some results differ"])


@caught_by("value-changed")
def shows_the_value(monkeypatch):
    difference = results._value_difference

    def talkative(signed_result, value):
        found = difference(signed_result, value)
        return found and (found[0], f"{found[1]}: {value!r}".replace("S3CR3T-PA55", "s3cr3t-pa55"))

    monkeypatch.setattr(results, "_value_difference", talkative)


@caught_by("value-changed", also=["test_signed", "test_signed_by_way_of_an_intermediate"])
def verifies_nothing(monkeypatch):
    monkeypatch.setattr(results, "pod_identity", lambda *_: SpiffeId("example.org", "/nobody"))
