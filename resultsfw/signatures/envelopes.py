"""Parse a DSSE envelope with one signature and its certificates, and verify it.

`resultsfw_signing.dsse` writes it. Its text comes from a pod: sizes and counts are compared before
anything is decoded, and every failure is a `SignatureError`.

Source: https://github.com/secure-systems-lab/dsse, protocol.md and envelope.md. Unknown fields are ignored,
as it requires, and so is ``keyid``, which no signature covers: only the certificate identifies the signer.
"""

from dataclasses import dataclass
from datetime import datetime

from resultsfw.signatures.certificates import TrustBundle, VerifiedSvid, verify_signature, verify_svid
from resultsfw.signatures.reasons import Reason, refusal, shown
from resultsfw.signatures.spiffe_ids import SpiffeId
from resultsfw.signatures.strict_json import StrictJsonError, decode_base64, parse_object
from resultsfw_signing.dsse import signed_bytes
from resultsfw_signing.statement import (
    MAX_CERTIFICATE_BYTES,
    MAX_CERTIFICATES,
    MAX_SIGNATURE_BYTES,
    PAYLOAD_TYPE,
)

__all__ = ["Envelope", "parse_envelope", "verify_envelope"]


@dataclass(frozen=True, slots=True)
class Envelope:
    """A DSSE envelope, not verified.

    Attributes:
        payload_type: The media type of the payload.
        payload: What was signed, if the signature verifies.
        signature: The signature.
        certificate: The signer's certificate, DER.
        intermediates: The certificates between it and a trust bundle, DER.
    """

    payload_type: str
    payload: bytes
    signature: bytes
    certificate: bytes
    intermediates: tuple[bytes, ...]


def parse_envelope(text: str, *, limit: int) -> Envelope:
    """Return the envelope in a text.

    Args:
        text: The text.
        limit: Characters that it may have, as `resultsfw_signing.statement.longest_envelope` computes them.

    Raises:
        SignatureError: It is not an envelope with exactly one signature and its certificates.
    """
    try:
        return _parse(text, limit)
    except StrictJsonError as error:
        raise refusal(
            Reason.MALFORMED_ENVELOPE, f"the envelope with the signature cannot be read: {error}"
        ) from None


def verify_envelope(
    envelope: Envelope,
    bundle: TrustBundle,
    *,
    at: datetime,
    signer: SpiffeId | None = None,
    payload_type: str = PAYLOAD_TYPE,
) -> VerifiedSvid:
    """Verify who signed an envelope, and that its payload is what was signed.

    Args:
        envelope: The envelope.
        bundle: The trust bundle of the signer's trust domain.
        at: The time at which the signer's certificate must be valid, with its time zone.
        signer: Who must have signed it; ``None``: any workload of the trust domain.
        payload_type: The media type that the payload must have.

    Returns:
        The signer.

    Raises:
        SignatureError: It is not accepted. Checked in this order: type, certificates, signer, signature.
    """
    if envelope.payload_type != payload_type:
        raise refusal(
            Reason.MALFORMED_ENVELOPE,
            f"the envelope has a payload of type {shown(envelope.payload_type)}, not {payload_type}",
        )
    svid = verify_svid(envelope.certificate, envelope.intermediates, bundle, at=at)
    if signer is not None and svid.spiffe_id != signer:
        raise refusal(
            Reason.WRONG_IDENTITY,
            f"{svid.spiffe_id} signed, and {signer} must sign",
            subject=str(svid.spiffe_id),
        )
    verify_signature(svid, envelope.signature, signed_bytes(envelope.payload_type, envelope.payload))
    return svid


def _parse(text: str, limit: int) -> Envelope:
    document = parse_object(text, limit=limit)
    payload_type, signatures = document.get("payloadType"), document.get("signatures")
    if not isinstance(payload_type, str) or not payload_type.isascii():
        raise StrictJsonError('its "payloadType" is not an ASCII text')
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise StrictJsonError("it must have exactly one signature")
    signature = signatures[0]
    if not isinstance(signature, dict):
        raise StrictJsonError("its signature is not an object")
    intermediates = signature.get("intermediates", [])
    if not isinstance(intermediates, list) or 1 + len(intermediates) > MAX_CERTIFICATES:
        raise StrictJsonError(f'its "intermediates" are not a list of fewer than {MAX_CERTIFICATES}')
    return Envelope(
        payload_type=payload_type,
        payload=decode_base64(document.get("payload"), limit=limit),
        signature=decode_base64(signature.get("sig"), limit=MAX_SIGNATURE_BYTES),
        certificate=decode_base64(signature.get("certificate"), limit=MAX_CERTIFICATE_BYTES),
        intermediates=tuple(decode_base64(issuer, limit=MAX_CERTIFICATE_BYTES) for issuer in intermediates),
    )
