"""Make and verify the annotations with which Tekton's controller signs a status.

They are in ``status.annotations``, where Tekton's ``VerifyStatusInternalAnnotation`` reads them
(``pkg/spire/verify.go``). The signature is over the text of the hash. They are weaker than our own verdict:
nothing binds the hash to the run's name and uid, conditions are not part of it, and of the certificates only
the leaf is there.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from resultsfw.cluster import Object
from resultsfw.errors import InputError, SignatureError
from resultsfw.signatures.certificates import UNREADABLE, TrustBundle, verify_signature, verify_svid
from resultsfw.signatures.reasons import Fault, Reason
from resultsfw.signatures.signers import Signer
from resultsfw.signatures.spiffe_ids import SpiffeId
from resultsfw.signatures.tekton_status import status_hash
from resultsfw_signing.statement import MAX_CERTIFICATE_BYTES, MAX_SIGNATURE_BYTES

__all__ = ["make_tekton_annotations", "tekton_faults"]

HASH: Final = "tekton.dev/status-hash"
SIGNATURE: Final = "tekton.dev/status-hash-sig"
SVID: Final = "tekton.dev/controller-svid"
VERIFIED: Final = "tekton.dev/spire-verified"
NOT_VERIFIED: Final = "no"
"""Its only value: Tekton takes a status with this annotation for one that does not verify."""


def make_tekton_annotations(taskrun: Object, signer: Signer) -> dict[str, str]:
    """Return the annotations for a TaskRun with the status that ends it.

    Raises:
        InputError: Tekton's hash cannot be computed, or the signer has no key that can sign.
    """
    text = status_hash(taskrun)
    return {
        HASH: text,
        SIGNATURE: base64.b64encode(signer.sign(text.encode())).decode(),
        SVID: x509.load_der_x509_certificate(signer.chain[0]).public_bytes(Encoding.PEM).decode(),
    }


def tekton_faults(
    taskrun: Object,
    annotations: Mapping[str, str],
    bundle: TrustBundle,
    *,
    intermediates: tuple[bytes, ...],
    signer: SpiffeId,
    at: datetime,
) -> Iterator[Fault]:
    """Yield what does not verify of Tekton's annotations, if they are there.

    Args:
        taskrun: The TaskRun.
        annotations: Those of its status.
        bundle: The trust bundle of the controller's trust domain.
        intermediates: The certificates that Tekton's format lacks, DER.
        signer: Who must have signed.
        at: When they were made.
    """
    if not annotations.keys() & {HASH, SIGNATURE, SVID}:
        return
    try:
        if annotations.get(HASH) != status_hash(taskrun):
            yield Fault(
                reason=Reason.WRONG_STATUS, message=f"the annotation {HASH} is not that of this status"
            )
    except InputError as error:
        yield Fault(reason=Reason.WRONG_STATUS, message=error.message)
    try:
        svid = verify_svid(_certificate(annotations.get(SVID, "")), intermediates, bundle, at=at)
        if svid.spiffe_id != signer:
            yield Fault(
                reason=Reason.WRONG_IDENTITY,
                message=f"the annotation {SVID} is the certificate of {svid.spiffe_id}, not of {signer}",
            )
        signature = _signature(annotations.get(SIGNATURE, ""))
        verify_signature(svid, signature, annotations.get(HASH, "").encode())
    except SignatureError as error:
        yield Fault(reason=Reason(error.reason), message=f"Tekton's annotations: {error.message}")
    except ValueError as error:
        yield Fault(reason=Reason.MALFORMED_ENVELOPE, message=f"Tekton's annotations: {error}")


def _certificate(pem: str) -> bytes:
    """Return the first certificate in a text, DER."""
    if len(pem) > 2 * MAX_CERTIFICATE_BYTES:
        raise ValueError(f"{SVID} is too long")
    try:
        return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
    except UNREADABLE:
        raise ValueError(f"{SVID} is not a certificate") from None


def _signature(text: str) -> bytes:
    if len(text) > 2 * MAX_SIGNATURE_BYTES:
        raise ValueError(f"{SIGNATURE} is too long")
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"{SIGNATURE} is not base64") from None
