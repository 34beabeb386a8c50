"""Decide which public keys may sign."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

__all__ = ["key_fault"]

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
