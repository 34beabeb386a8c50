"""Issue certificates for tests of signed results: authorities and X509-SVIDs, in the form of SPIRE's.

`ca_template` and `svid_template` return what SPIRE 1.13 writes into its certificates (its
``pkg/server/credtemplate``). A test makes a wrong certificate with ``dataclasses.replace``::

    authority = new_authority("example.org")
    svid = authority.issue(svid_template("spiffe://example.org/ns/a/taskrun/b"))
    wrong = authority.issue(replace(svid_template("spiffe://example.org/x"), ca=True))

Needs ``pip install 'resultsfw[signed]'``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        f"resultsfw.testing.signing_ca needs {error.name}: pip install 'resultsfw[signed]'", name=error.name
    ) from error

__all__ = [
    "Authority",
    "Credential",
    "KeyType",
    "Template",
    "ca_template",
    "new_authority",
    "new_key",
    "svid_template",
]

KeyType = Literal["ec-p256", "ec-p384", "ec-p521", "rsa-1024", "rsa-2048", "rsa-4096", "ed25519"]
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

_BACKDATE: Final = timedelta(seconds=10)
_SVID_LIFETIME: Final = timedelta(hours=1)
_CA_LIFETIME: Final = timedelta(hours=24)
_USAGES: Final = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_CURVES: Final[Mapping[KeyType, Callable[[], ec.EllipticCurve]]] = {
    "ec-p256": ec.SECP256R1,
    "ec-p384": ec.SECP384R1,
    "ec-p521": ec.SECP521R1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The fields and extensions of a certificate. An extension that is ``None`` is left out.

    Attributes:
        uris: URI names in the subject alternative name.
        dns_names: DNS names in it. Without any name, the extension is left out.
        critical_names: Whether that extension is critical.
        country: Of the subject.
        organization: Of the subject; "": the subject is empty.
        serial_number: Of the subject, as SPIRE adds it to authorities; "" for none.
        not_before: Start of the validity.
        not_after: End of the validity.
        ca: The CA flag of the basic constraints.
        path_length: The path length of the basic constraints.
        usages: Key usages, named as ``x509.KeyUsage`` names them.
        extended_usages: Whether the extended key usages are those of TLS servers and clients.
        key_identifiers: Whether subject and authority key identifiers are added.
        extra: Further extensions, each with whether it is critical.
    """

    uris: tuple[str, ...]
    dns_names: tuple[str, ...] = ()
    critical_names: bool = False
    country: str = "US"
    organization: str
    serial_number: str = ""
    not_before: datetime
    not_after: datetime
    ca: bool | None = False
    path_length: int | None = None
    usages: tuple[str, ...] | None
    extended_usages: bool = False
    key_identifiers: bool = True
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate, its private key, and the certificates between it and its root, in order."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        """Return the certificate alone, DER."""
        return _der(self.certificate)

    @property
    def intermediates_der(self) -> tuple[bytes, ...]:
        """Return the intermediates, DER."""
        return tuple(_der(certificate) for certificate in self.intermediates)

    @property
    def chain_der(self) -> bytes:
        """Return certificate and intermediates as one text of DER, as the Workload API delivers them."""
        return b"".join((self.der, *self.intermediates_der))

    @property
    def key_der(self) -> bytes:
        """Return the private key, PKCS #8 DER, as the Workload API delivers it."""
        return self.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def pem(self) -> str:
        """Return the certificate alone, PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def sign(self, data: bytes) -> bytes:
        """Return the signature over data: ECDSA (ASN.1) or RSA PKCS #1 v1.5 with SHA-256, or Ed25519."""
        match self.key:
            case ec.EllipticCurvePrivateKey():
                return self.key.sign(data, ec.ECDSA(hashes.SHA256()))
            case rsa.RSAPrivateKey():
                return self.key.sign(data, padding.PKCS1v15(), hashes.SHA256())
            case ed25519.Ed25519PrivateKey():
                return self.key.sign(data)


class Authority(Credential):
    """A certificate that issues others."""

    def issue(
        self,
        template: Template,
        *,
        key: PrivateKey | None = None,
        signature_hash: hashes.HashAlgorithm | None = None,
    ) -> Credential:
        """Return a certificate of this authority, whatever the template says.

        Args:
            template: The fields and extensions of the certificate.
            key: Its private key; a new one on P-256 by default.
            signature_hash: The hash of the authority's signature; SHA-256 by default.
        """
        key = key or new_key()
        certificate = _certify(template, key, self, signature_hash)
        return Credential(certificate, key, self._chain())

    def issue_svid(self, spiffe_id: str, *, at: datetime | None = None) -> Credential:
        """Return an X509-SVID as SPIRE issues it to a workload."""
        return self.issue(svid_template(spiffe_id, at=at))

    def subordinate(self, template: Template, *, key: PrivateKey | None = None) -> "Authority":
        """Return an authority whose certificate this authority issued."""
        issued = self.issue(template, key=key)
        return Authority(issued.certificate, issued.key, issued.intermediates)

    def _chain(self) -> tuple[x509.Certificate, ...]:
        """Return what follows a certificate of this authority: all up to the root, and without it."""
        if self.certificate.issuer == self.certificate.subject:
            return ()
        return (self.certificate, *self.intermediates)


def svid_template(spiffe_id: str, *, at: datetime | None = None) -> Template:
    """Return SPIRE's template for a workload: valid for an hour.

    Args:
        spiffe_id: The identity; not checked.
        at: The time of issue; now by default.
    """
    at = at or datetime.now(UTC)
    return Template(
        uris=(spiffe_id,),
        organization="SPIRE",
        not_before=at - _BACKDATE,
        not_after=at + _SVID_LIFETIME,
        usages=("digital_signature", "key_encipherment", "key_agreement"),
        extended_usages=True,
    )


def ca_template(domain: str, *, at: datetime | None = None, serial_number: str = "1") -> Template:
    """Return SPIRE's template for an authority: valid for a day.

    Args:
        domain: The trust domain; not checked.
        at: The time of issue; now by default.
        serial_number: In the subject. SPIRE takes that of the certificate, so that no two subjects are equal.
    """
    at = at or datetime.now(UTC)
    return Template(
        uris=(f"spiffe://{domain}",),
        organization="SPIFFE",
        serial_number=serial_number,
        not_before=at - _BACKDATE,
        not_after=at + _CA_LIFETIME,
        ca=True,
        usages=("key_cert_sign", "crl_sign"),
    )


def new_authority(
    domain: str,
    *,
    at: datetime | None = None,
    template: Template | None = None,
    key: PrivateKey | None = None,
) -> Authority:
    """Return a root authority.

    Args:
        domain: Its trust domain.
        at: The time of issue; now by default.
        template: The fields and extensions of its certificate; by default `ca_template` of the domain.
        key: Its private key; a new one on P-256 by default.
    """
    key = key or new_key()
    template = template or ca_template(domain, at=at)
    return Authority(_certify(template, key, None, None), key)


def new_key(kind: KeyType = "ec-p256") -> PrivateKey:
    """Return a new private key. Those of RSA take a tenth of a second and more."""
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    if kind in _CURVES:
        return ec.generate_private_key(_CURVES[kind]())
    return rsa.generate_private_key(public_exponent=65537, key_size=int(kind.removeprefix("rsa-")))


def _certify(
    template: Template,
    key: PrivateKey,
    issuer: Credential | None,
    signature_hash: hashes.HashAlgorithm | None,
) -> x509.Certificate:
    """Return the certificate for a key, signed by its issuer; ``None``: by the key itself."""
    signing_key = issuer.key if issuer else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(template))
        .issuer_name(issuer.certificate.subject if issuer else _subject(template))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(template.not_before)
        .not_valid_after(template.not_after)
    )
    for extension, critical in (*_extensions(template, key, issuer), *template.extra):
        builder = builder.add_extension(extension, critical)
    if isinstance(signing_key, ed25519.Ed25519PrivateKey):
        return builder.sign(signing_key, None)
    return builder.sign(signing_key, signature_hash or hashes.SHA256())  # type: ignore[arg-type]


def _extensions(
    template: Template, key: PrivateKey, issuer: Credential | None
) -> Iterable[tuple[x509.ExtensionType, bool]]:
    """Yield the extensions that a template asks for, each with whether it is critical."""
    names = (
        *(x509.UniformResourceIdentifier(uri) for uri in template.uris),
        *(x509.DNSName(name) for name in template.dns_names),
    )
    if names:
        yield x509.SubjectAlternativeName(names), template.critical_names
    if template.ca is not None:
        yield x509.BasicConstraints(ca=template.ca, path_length=template.path_length), True
    if template.usages is not None:
        yield x509.KeyUsage(**{usage: usage in template.usages for usage in _USAGES}), True
    if template.extended_usages:
        usages = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        yield x509.ExtendedKeyUsage(usages), False
    if template.key_identifiers:
        yield x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False
        if issuer:
            yield x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), False


def _subject(template: Template) -> x509.Name:
    if not template.organization:
        return x509.Name([])
    names = [
        x509.NameAttribute(NameOID.COUNTRY_NAME, template.country),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, template.organization),
    ]
    if template.serial_number:
        names.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, template.serial_number))
    return x509.Name(names)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
