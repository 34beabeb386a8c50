"""The envelope around a signed statement: DSSE, with the signer's certificates. Standard library only.

Source: https://github.com/secure-systems-lab/dsse, protocol.md and envelope.md.
"""

from binascii import b2a_base64
from json.encoder import encode_basestring_ascii as _quoted

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Sequence


def signed_bytes(payload_type: str, payload: bytes) -> bytes:
    """Returns what is signed: DSSE's pre-authentication encoding (PAE) of type and payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def format_envelope(
    payload_type: str,
    payload: bytes,
    *,
    key_id: str,
    signature: bytes,
    certificate: bytes,
    intermediates: "Sequence[bytes]" = (),
) -> str:
    """Returns the text of an envelope: JSON in ASCII, without blanks.

    Args:
        payload_type: The media type of the payload.
        payload: What is signed.
        key_id: The SPIFFE ID of the signer; a hint, which counts only if the certificate has it.
        signature: Of `signed_bytes`, by the certificate's key.
        certificate: The signer's certificate, DER.
        intermediates: Those between it and the trust bundle, DER, in order.
    """
    chain = ",".join(_base64(issuer) for issuer in intermediates)
    return (
        f'{{"payloadType":{_quoted(payload_type)},"payload":{_base64(payload)},"signatures":['
        f'{{"keyid":{_quoted(key_id)},"sig":{_base64(signature)},"certificate":{_base64(certificate)}'
        f',"intermediates":[{chain}]}}]}}'
    )


def _base64(data: bytes) -> str:
    return f'"{b2a_base64(data, newline=False).decode()}"'
