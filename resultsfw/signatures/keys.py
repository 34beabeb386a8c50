"""Decide which public keys may sign, and verify a signature by one of them."""

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256

from resultsfw.signatures.reasons import Reason, refusal

__all__ = ["key_fault", "verify_signature"]

_CURVES: Final = ("secp256r1", "secp384r1")
_AUTHORITY_CURVES: Final = (*_CURVES, "secp521r1")
_RSA_BITS: Final = range(2048, 4096 + 1)
_AUTHORITY_RSA_BITS: Final = range(2048, 8192 + 1)


def key_fault(key: CertificatePublicKeyTypes, *, authority: bool = False) -> str:
    """Return why a key may not sign; empty if it may.

    Args:
        key: The key.
        authority: Whether it is that of a certificate authority: on P-521, or of 8192 bits, it may sign, too.
    """
    curves = _AUTHORITY_CURVES if authority else _CURVES
    sizes = _AUTHORITY_RSA_BITS if authority else _RSA_BITS
    match key:
        case ec.EllipticCurvePublicKey():
            return "" if key.curve.name in curves else f"its key is on the curve {key.curve.name}"
        case rsa.RSAPublicKey():
            return "" if key.key_size in sizes else f"its RSA key has {key.key_size} bits"
        case _:
            return "its key is neither ECDSA nor RSA"


def verify_signature(key: CertificatePublicKeyTypes, signature: bytes, data: bytes, *, signer: str) -> None:
    """Verify a signature: ECDSA (ASN.1) or RSA PKCS #1 v1.5, by the key's type, with SHA-256.

    Args:
        key: A key for which `key_fault` is empty.
        signature: The signature.
        data: What was signed.
        signer: The SPIFFE ID, for the message.

    Raises:
        SignatureError: It is not this key's signature over these data.
    """
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, data, ec.ECDSA(SHA256()))
            return
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, data, padding.PKCS1v15(), SHA256())
            return
    except (InvalidSignature, ValueError):
        pass
    raise refusal(
        Reason.BAD_SIGNATURE,
        f"the signature is not that of {signer} over this payload: one of them was changed",
        subject=signer,
    )
