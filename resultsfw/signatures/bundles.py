"""Read trust bundles: PEM, a SPIFFE bundle, a map of several, or what the Workload API delivers.

Sources: https://github.com/spiffe/spiffe, standards/SPIFFE_Trust_Domain_and_Bundle.md (4), X509-SVID.md (6);
for several trust domains, the map of gRPC's proposal A87, which Envoy reads, too.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from resultsfw.signatures.certificates import UNREADABLE, TrustBundle, load_certificate
from resultsfw.signatures.reasons import Reason, refusal
from resultsfw.signatures.spiffe_ids import check_trust_domain
from resultsfw.signatures.strict_json import StrictJsonError, decode_base64, parse_object

__all__ = ["BUNDLE_BYTES", "UNNAMED", "bundle_from_der", "parse_bundles"]

BUNDLE_BYTES: Final = 4_194_304
"""Bytes of a file with bundles."""
_AUTHORITIES: Final = 256
"""Certificates of one trust domain."""
_AUTHORITY_BYTES: Final = 65_536
"""Bytes of one of them, DER."""
_DOMAINS: Final = 256
"""Trust domains of one file."""
_USE: Final = "x509-svid"
UNNAMED: Final = "unnamed"
"""Stands for the trust domain of a bundle that names none."""


def bundle_from_der(trust_domain: str, authorities: Iterable[bytes]) -> TrustBundle:
    """Return the bundle of a trust domain, from certificates as the Workload API delivers them.

    Args:
        trust_domain: The trust domain.
        authorities: The certificates of its authorities, DER.

    Raises:
        InputError: The trust domain has no valid name.
        SignatureError: There is no certificate, one cannot be read, or there are too many.
    """
    check_trust_domain(trust_domain)
    unique = dict.fromkeys(authorities)
    if not 0 < len(unique) <= _AUTHORITIES:
        raise _malformed(trust_domain, f"it has {len(unique)} authorities, not 1 to {_AUTHORITIES}")
    certificates = []
    for number, der in enumerate(unique, 1):
        if len(der) > _AUTHORITY_BYTES:
            raise _malformed(trust_domain, f"certificate {number} has more than {_AUTHORITY_BYTES} bytes")
        try:
            certificates.append(load_certificate(der))
        except ValueError as error:
            raise _malformed(trust_domain, f"certificate {number} cannot be read: {error}") from None
    return TrustBundle(trust_domain, tuple(certificates))


def parse_bundles(text: str, *, trust_domain: str) -> dict[str, TrustBundle]:
    """Return the bundles in a file, by trust domain.

    Args:
        text: Certificates in PEM; a SPIFFE bundle (JSON Web Key Set); or a map of several,
            ``{"trust_domains": {"example.org": {"keys": [...]}}}``.
        trust_domain: Whose bundle it is, if the text does not name it; or `UNNAMED`.

    Raises:
        InputError: A trust domain has no valid name.
        SignatureError: The text is none of these, or too large.
    """
    if len(text) > BUNDLE_BYTES:
        raise _malformed(trust_domain, f"it has more than {BUNDLE_BYTES} characters")
    if not text.lstrip().startswith("{"):
        return {trust_domain: bundle_from_der(trust_domain, _pem_certificates(text, trust_domain))}
    try:
        document = parse_object(text, limit=BUNDLE_BYTES)
    except StrictJsonError as error:
        raise _malformed(trust_domain, f"{error}") from None
    domains = document.get("trust_domains")
    if domains is None:
        return {trust_domain: _spiffe_bundle(trust_domain, document)}
    if not isinstance(domains, dict) or len(domains) > _DOMAINS:
        raise _malformed(trust_domain, f'"trust_domains" must be an object of at most {_DOMAINS} bundles')
    return {check_trust_domain(domain): _spiffe_bundle(domain, keys) for domain, keys in domains.items()}


def _pem_certificates(text: str, trust_domain: str) -> list[bytes]:
    try:
        certificates = x509.load_pem_x509_certificates(text.encode())
        return [certificate.public_bytes(Encoding.DER) for certificate in certificates]
    except UNREADABLE:
        raise _malformed(
            trust_domain, "it is neither certificates in PEM nor a SPIFFE bundle in JSON"
        ) from None


def _spiffe_bundle(trust_domain: str, document: object) -> TrustBundle:
    """Return the bundle of a JSON Web Key Set. Keys of another use, such as ``jwt-svid``, are left out."""
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise _malformed(trust_domain, 'it has no list "keys"')
    found = []
    for number, key in enumerate(keys, 1):
        if isinstance(key, dict) and key.get("use") == _USE:
            found.append(_key_certificate(trust_domain, number, key))
    return bundle_from_der(trust_domain, found)


def _key_certificate(trust_domain: str, number: int, key: Mapping[str, Any]) -> bytes:
    chain = key.get("x5c")
    if not isinstance(chain, list) or len(chain) != 1:
        raise _malformed(trust_domain, f'key {number} has no "x5c" with exactly one certificate')
    try:
        return decode_base64(chain[0], limit=_AUTHORITY_BYTES)
    except StrictJsonError as error:
        raise _malformed(trust_domain, f"the certificate of key {number}: {error}") from None


def _malformed(trust_domain: str, why: str) -> Exception:
    bundle = "the trust bundle" if trust_domain == UNNAMED else f"the trust bundle of {trust_domain}"
    return refusal(
        Reason.MALFORMED_BUNDLE,
        f"{bundle} cannot be used: {why}; export it again with `spire-server bundle show -format spiffe`",
        subject=trust_domain,
    )
