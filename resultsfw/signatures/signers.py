"""Sign with the key of an X509-SVID, as `resultsfw.signatures.certificates.verify_signature` verifies."""

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256

from resultsfw.errors import InputError

__all__ = ["Signer"]


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: an X509-SVID with its key.

    Attributes:
        spiffe_id: The SPIFFE ID.
        chain: The certificate and its intermediates, DER.
        key: The private key.
    """

    spiffe_id: str
    chain: tuple[bytes, ...] = field(repr=False)
    key: PrivateKeyTypes = field(repr=False)

    def sign(self, data: bytes) -> bytes:
        """Return the signature: ECDSA (ASN.1) or RSA PKCS #1 v1.5, by the key's type, with SHA-256.

        Raises:
            InputError: The key is of another type.
        """
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(data, ec.ECDSA(SHA256()))
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), SHA256())
        raise InputError(
            f"the key of {self.spiffe_id} is neither ECDSA nor RSA: configure ca_key_type and "
            f"workload_x509_svid_key_type of SPIRE",
            subject=self.spiffe_id,
        )
