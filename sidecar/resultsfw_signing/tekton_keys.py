"""Makes the keys that Tekton's verifiers expect beside results: `SVID`, `RESULT_MANIFEST` and signatures.

They bind less than our statement: neither a name to its value, nor pod and attempt. Only results of the Task
have them. Source: Tekton's `pkg/spire/sign.go`, and `getResultValue` in `pkg/spire/verify.go`.
"""

import json
from binascii import b2a_base64

from resultsfw_sidecar.digest import sha256

TYPE_CHECKING = False  # typing itself would cost the start-up 5 ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

SVID = "SVID"
RESULT_MANIFEST = "RESULT_MANIFEST"
SIGNATURE_SUFFIX = ".sig"


def signed_digest(value: bytes) -> bytes:
    """Returns the digest that Tekton signs for a result's value.

    Args:
        value: The UTF-8 bytes that the Step wrote.
    """
    return sha256(signed_text(value.decode()).encode("utf-8", "replace")).digest()


def signed_text(value: str) -> str:
    """Returns the text that Tekton signs for a value: of an array or object its strings, joined by commas.

    It goes by the value alone, whatever type is declared, and reads JSON as Go does: null is an empty string.
    """
    decoded = _decoded(value)
    if value.startswith("[") and isinstance(decoded, list) and all(map(_is_text, decoded)):
        return ",".join(map(_text, decoded))
    if value.startswith("{") and isinstance(decoded, dict) and all(map(_is_text, decoded.values())):
        members = {_text(key): _text(member) for key, member in decoded.items()}
        return ",".join(f"{key},{members[key]}" for key in sorted(members, key=str.encode))
    if decoded is not _NO_JSON and _is_text(decoded):
        return _text(decoded)
    return value


def make_keys(
    digests: "Mapping[str, bytes]", sign: "Callable[[bytes], bytes]", certificate: str
) -> dict[str, str]:
    """Returns the keys with their values.

    Args:
        digests: What `signed_digest` returned, by name of the Task's result.
        sign: Signs data of which it is given the SHA-256.
        certificate: The signer's, PEM.
    """
    manifest = ",".join(digests)
    signed = {**digests, RESULT_MANIFEST: sha256(manifest.encode()).digest()}
    keys = {SVID: certificate, RESULT_MANIFEST: manifest}
    for name, digest in signed.items():
        keys[name + SIGNATURE_SUFFIX] = b2a_base64(sign(digest), newline=False).decode()
    return keys


_NO_JSON = object()


def _decoded(value: str) -> "Any":
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return _NO_JSON


def _is_text(decoded: object) -> bool:
    return decoded is None or isinstance(decoded, str)


def _text(decoded: str | None) -> str:
    """Returns a string as Go has it: half a character becomes U+FFFD."""
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in decoded or "")
