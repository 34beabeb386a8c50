"""Decide which public keys may sign results."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

__all__ = ["key_fault"]

_CURVES: Final = ("secp256r1", "secp384r1")
_RSA_BITS: Final = range(2048, 4096 + 1)


def key_fault(key: CertificatePublicKeyTypes) -> str:
    """Return why the key of an X509-SVID may not sign; empty if it may.

    The keys of issuers are checked by the library that builds the chain.
    """
    match key:
        case ec.EllipticCurvePublicKey():
            return "" if key.curve.name in _CURVES else f"its key is on the curve {key.curve.name}"
        case rsa.RSAPublicKey():
            return "" if key.key_size in _RSA_BITS else f"its RSA key has {key.key_size} bits"
        case _:
            return "its key is neither ECDSA nor RSA"
