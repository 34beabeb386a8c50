"""Verify an X509-SVID by its own rules and its chain to the trust bundle, and what its key signed.

The chain is built by the library ``cryptography`` (`cryptography.x509.verification`), which checks signatures
and their algorithms (no MD5, no SHA-1), the keys of issuers, validity, the CA flag, path lengths, name
constraints and unknown critical extensions. The rules of the X509-SVID specification are added here. Nothing
is fetched: there is no revocation list and no OCSP, since an SVID is valid for an hour only.

Source: https://github.com/spiffe/spiffe, standards/X509-SVID.md (sections 2 to 5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from resultsfw.errors import InputError
from resultsfw.signatures.keys import key_fault
from resultsfw.signatures.reasons import Reason, refusal, shown
from resultsfw.signatures.spiffe_ids import SpiffeId, parse_spiffe_id
from resultsfw_signing.statement import MAX_CERTIFICATE_BYTES, MAX_CERTIFICATES

__all__ = [
    "TrustBundle",
    "VerifiedSvid",
    "load_certificate",
    "svid_identity",
    "verify_signature",
    "verify_svid",
]

UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,
)
"""What the library raises for a certificate that it cannot read, at once or when a part of it is read.

Of a serial number that is not positive it warns; where warnings are errors, that is raised, too.
"""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_SCHEME: Final = "spiffe://"
_DETAIL: Final = 200
"""Characters of the library's reason that a message repeats."""


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """The certificate authorities of a trust domain.

    Attributes:
        trust_domain: The trust domain.
        authorities: Their certificates.
    """

    trust_domain: str
    authorities: tuple[x509.Certificate, ...]


@dataclass(frozen=True, slots=True)
class VerifiedSvid:
    """An X509-SVID whose chain was verified.

    Attributes:
        spiffe_id: Whose it is.
        certificate: The certificate.
        authority: The certificate of the trust bundle to which its chain leads.
    """

    spiffe_id: SpiffeId
    certificate: x509.Certificate
    authority: x509.Certificate


def load_certificate(der: bytes) -> x509.Certificate:
    """Return a certificate with all its extensions parsed.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        list(certificate.extensions)
        certificate.public_key()
    except UNREADABLE as error:
        raise ValueError(f"{error}"[:_DETAIL]) from None
    return certificate


def verify_svid(
    leaf: bytes, intermediates: Sequence[bytes], bundle: TrustBundle, *, at: datetime
) -> VerifiedSvid:
    """Verify an X509-SVID.

    Args:
        leaf: Its certificate, DER.
        intermediates: The certificates between it and the bundle, DER, in any order.
        bundle: The trust bundle of the trust domain to which it must belong.
        at: The time at which it must be valid, with its time zone.

    Raises:
        SignatureError: It is not accepted.
    """
    if 1 + len(intermediates) > MAX_CERTIFICATES:
        raise refusal(
            Reason.UNTRUSTED_CERTIFICATE,
            f"the chain has {1 + len(intermediates)} certificates, more than {MAX_CERTIFICATES}",
        )
    if sum(map(len, (leaf, *intermediates))) > MAX_CERTIFICATE_BYTES:
        raise refusal(
            Reason.UNTRUSTED_CERTIFICATE, f"the chain has more than {MAX_CERTIFICATE_BYTES} bytes of DER"
        )
    certificate = _load(leaf, "the signer's certificate")
    spiffe_id = svid_identity(certificate)
    subject = str(spiffe_id)
    if spiffe_id.trust_domain != bundle.trust_domain:
        raise refusal(
            Reason.UNTRUSTED_CERTIFICATE,
            f"the signer {subject} does not belong to the trust domain {bundle.trust_domain}",
            subject=subject,
        )
    _check_validity(certificate, at, subject)
    issuers = [_load(issuer, f"intermediate certificate {i}") for i, issuer in enumerate(intermediates, 1)]
    chain = _chain(certificate, issuers, bundle, at, subject)
    return VerifiedSvid(spiffe_id, certificate, chain[-1])


def verify_signature(svid: VerifiedSvid, signature: bytes, data: bytes) -> None:
    """Verify a signature: ECDSA (ASN.1) or RSA PKCS #1 v1.5, by the type of the signer's key, with SHA-256.

    Args:
        svid: The signer.
        signature: The signature.
        data: What was signed.

    Raises:
        SignatureError: It is not this signer's signature over these data.
    """
    key = svid.certificate.public_key()
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(SHA256()))
            return
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), SHA256())
            return
    except InvalidSignature:
        pass
    raise refusal(
        Reason.BAD_SIGNATURE,
        f"the signature is not that of {svid.spiffe_id} over this payload: one of them was changed",
        subject=str(svid.spiffe_id),
    )


def _load(der: bytes, which: str) -> x509.Certificate:
    try:
        return load_certificate(der)
    except ValueError as error:
        raise refusal(Reason.INVALID_CERTIFICATE, f"{which} cannot be read: {error}") from None


def svid_identity(certificate: x509.Certificate) -> SpiffeId:
    """Return the SPIFFE ID of a leaf certificate that follows the rules of the specification.

    Raises:
        SignatureError: It violates one of them.
    """
    uris = _uris(certificate)
    if len(uris) != 1:
        raise _invalid(f"it has {len(uris)} URI names; an X509-SVID has exactly one")
    try:
        spiffe_id = parse_spiffe_id(uris[0])
    except InputError as error:
        raise _invalid(error.message) from None
    if not spiffe_id.path:
        raise _invalid(f"{spiffe_id} has no path: it names a trust domain and no workload")
    if _is_authority(certificate):
        raise _invalid(f"that of {spiffe_id} is a CA certificate: its CA flag is set")
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        raise _invalid(f"that of {spiffe_id} may not sign: its key usage lacks digitalSignature")
    if usage.key_cert_sign or usage.crl_sign:
        raise _invalid(f"that of {spiffe_id} may sign certificates or CRLs: only a CA certificate may")
    if fault := key_fault(certificate.public_key()):
        raise _invalid(
            f"{fault}, and {spiffe_id} must sign with ECDSA on P-256 or P-384, or RSA of 2048 to 4096 bits"
        )
    return spiffe_id


def _invalid(why: str) -> Exception:
    return refusal(Reason.INVALID_CERTIFICATE, f"the signer's certificate is not an X509-SVID: {why}")


def _check_validity(certificate: x509.Certificate, at: datetime, subject: str) -> None:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    shown_time = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if at > ends:
        raise refusal(
            Reason.EXPIRED_CERTIFICATE,
            f"the certificate of {subject} expired at {ends:%Y-%m-%dT%H:%M:%SZ}, before {shown_time}",
            subject=subject,
        )
    if at < begins:
        raise refusal(
            Reason.NOT_YET_VALID,
            f"the certificate of {subject} is valid only from {begins:%Y-%m-%dT%H:%M:%SZ}, which is after "
            f"{shown_time}",
            subject=subject,
        )


def _chain(
    leaf: x509.Certificate,
    intermediates: list[x509.Certificate],
    bundle: TrustBundle,
    at: datetime,
    subject: str,
) -> list[x509.Certificate]:
    """Return a valid chain, from the leaf to an authority of the bundle."""
    if not bundle.authorities:
        raise refusal(
            Reason.UNTRUSTED_CERTIFICATE,
            f"the trust bundle of {bundle.trust_domain} is empty: no chain of {subject} leads to it",
            subject=subject,
        )
    verifier = (
        PolicyBuilder()
        .store(Store(list(bundle.authorities)))
        .time(at)
        .max_chain_depth(MAX_CERTIFICATES)
        .extension_policies(ca_policy=_authority_policy(bundle), ee_policy=ExtensionPolicy.permit_all())
        .build_client_verifier()
    )
    try:
        chain = verifier.verify(leaf, intermediates).chain
    except (VerificationError, *UNREADABLE) as error:
        raise refusal(
            Reason.UNTRUSTED_CERTIFICATE,
            f"no valid chain of {len(intermediates)} intermediate certificates leads from {subject} to one "
            f"of the {len(bundle.authorities)} authorities in the trust bundle of {bundle.trust_domain}: "
            f"{shown(str(error))}",
            subject=subject,
        ) from None
    if len(chain) == 1:
        raise refusal(
            Reason.UNTRUSTED_CERTIFICATE,
            f"the trust bundle of {bundle.trust_domain} has the certificate of {subject} itself, which is "
            f"not an authority",
            subject=subject,
        )
    return chain


def _authority_policy(bundle: TrustBundle) -> ExtensionPolicy:
    """Return the rules for each certificate above the leaf, beside those of the library.

    An authority of the bundle may lack a key usage, as roots made by ``openssl req -x509`` do: it is trusted
    by configuration.
    """

    def check_usage(_policy: Policy, certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
        if usage is None and certificate not in bundle.authorities:
            raise ValueError("an intermediate certificate has no key usage")
        if usage is not None and not usage.key_cert_sign:
            raise ValueError("an issuer's key usage lacks keyCertSign")

    def check_names(
        _policy: Policy, certificate: x509.Certificate, _names: x509.SubjectAlternativeName | None
    ) -> None:
        uris = [uri for uri in _uris(certificate) if uri.lower().startswith(_SCHEME)]
        if any(uri != f"{_SCHEME}{bundle.trust_domain}" for uri in uris):
            raise ValueError("an issuer has a SPIFFE ID other than that of the trust domain")

    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)
        .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, check_usage)
        .may_be_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, check_names)
    )


def _uris(certificate: x509.Certificate) -> list[str]:
    names = _extension(certificate, x509.SubjectAlternativeName)
    return names.get_values_for_type(x509.UniformResourceIdentifier) if names else []


def _is_authority(certificate: x509.Certificate) -> bool:
    constraints = _extension(certificate, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
