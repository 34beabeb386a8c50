"""Makes the keys that Tekton's verifiers expect beside results: `SVID`, `RESULT_MANIFEST` and signatures.

They bind less than our statement: neither a name to its value, nor pod and attempt. Only results of the Task
have them. `tekton_format` is their format. Source: Tekton's `pkg/spire/sign.go`.
"""

from binascii import b2a_base64

from resultsfw_sidecar.digest import sha256

from .tekton_format import MANIFEST, SIGNATURE_SUFFIX, SVID, manifest, signed_text

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def signed_digest(value: bytes) -> bytes:
    """Returns the digest that Tekton signs for a result's value.

    Args:
        value: The UTF-8 bytes that the Step wrote.
    """
    return sha256(signed_text(value.decode()).encode("utf-8", "replace")).digest()


def make_keys(
    digests: "Mapping[str, bytes]", sign: "Callable[[bytes], bytes]", certificate: str
) -> dict[str, str]:
    """Returns the keys with their values.

    Args:
        digests: What `signed_digest` returned, by name of the Task's result.
        sign: Signs data of which it is given the SHA-256.
        certificate: The signer's, PEM.
    """
    listed = manifest(digests)
    signed = {**digests, MANIFEST: sha256(listed.encode()).digest()}
    keys = {SVID: certificate, MANIFEST: listed}
    for name, digest in signed.items():
        keys[name + SIGNATURE_SUFFIX] = b2a_base64(sign(digest), newline=False).decode()
    return keys
