"""The controller's verdict over a run: a statement about the status that ends it, signed by the controller.

An SVID is valid for an hour, so the pod's own signature cannot be verified without knowing when it was made.
The controller verified it in time, and records here which status it wrote, whose signature it verified, and
when.

The statement is an in-toto Statement v1 with the predicate `VERDICT_TYPE`, in a DSSE envelope with the
controller's certificates, in the annotation `VERDICT_ANNOTATION` of the status. Its subjects are ``status``
and each result in the status; their digests are those of canonical JSON (`resultsfw.jsons.canonical`).

A status is stored in another form than it was written in: the API server and Tekton's webhook leave out what
is empty and add the zero values of Go's structs, which mean the same. `status_digest` is equal for all of
these.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256

from resultsfw.cluster import Object
from resultsfw.errors import InputError
from resultsfw.jsons import MAX_DEPTH, canonical, is_deeper_than
from resultsfw.status import VERIFIED
from resultsfw.types import Run
from resultsfw_signing.dsse import format_envelope, signed_bytes
from resultsfw_signing.statement import PAYLOAD_TYPE, STATEMENT_TYPE, result_subject

__all__ = [
    "ENVELOPE_ANNOTATION",
    "ENVELOPE_BYTES",
    "VERDICT_ANNOTATION",
    "VERDICT_TYPE",
    "Signer",
    "Verdict",
    "format_verdict",
    "make_verdict",
    "result_digests",
    "sign_verdict",
    "status_digest",
    "status_results",
]

VERDICT_ANNOTATION: Final = "resultsfw.dev/verdict"
"""Annotation of a status: the envelope with the controller's verdict."""

ENVELOPE_ANNOTATION: Final = "resultsfw.dev/envelope"
"""Annotation of a status: the envelope that the pod signed, if it is small."""

ENVELOPE_BYTES: Final = 8192
"""Bytes of a pod's envelope that is kept: of about forty results with an intermediate certificate."""

VERDICT_TYPE: Final = "https://resultsfw.dev/verdict/v1"
STATUS: Final = "status"
"""Name of the first subject."""

SUCCEEDED: Final = "Succeeded"

_OTHERS: Final = frozenset({"annotations", "conditions"})
"""Fields of a status that others may write later, too. Our conditions are in the predicate."""
_EXACT: Final = frozenset({"taskSpec", "value"})
"""Fields that count as they are: there, an empty value may differ in meaning from an absent one."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the controller asserts about a run.

    Attributes:
        namespace: The run's namespace.
        name: The run's name.
        uid: The run's uid.
        attempt: The attempt that ended the run, from 0.
        pod: The SPIFFE ID with which the pod signed; "" if no signature of a pod was verified.
        status: The digest of the status, as `status_digest` returns it.
        results: The digest of each result in the status, by subject; ``None``: not listed, since the object
            had no room for it. They are part of the status.
        succeeded: The condition ``Succeeded``, as `condition_facts` returns it.
        verification: Likewise the condition about signatures; empty if the status has none.
        envelope: SHA-256 in hexadecimal of the pod's envelope; "" without one.
        time: When the controller signed, in seconds of UTC.
    """

    namespace: str
    name: str
    uid: str
    attempt: int
    pod: str
    status: str
    results: Mapping[str, str] | None
    succeeded: Mapping[str, str]
    verification: Mapping[str, str]
    envelope: str
    time: datetime


def make_verdict(run: Run, status: Object, *, at: datetime, pod: str = "", envelope: str = "") -> Verdict:
    """Return the verdict over a run.

    Args:
        run: The run's last attempt.
        status: The status that ends the run, as it is stored.
        at: The time.
        pod: The SPIFFE ID with which its pod signed, if its signature was verified.
        envelope: The text of the pod's envelope, if there is one.

    Raises:
        InputError: It is not the status of a TaskRun.
    """
    return Verdict(
        namespace=run.namespace,
        name=run.name,
        uid=run.uid,
        attempt=run.attempt,
        pod=pod,
        status=status_digest(status),
        results=result_digests(status),
        succeeded=condition_facts(status, SUCCEEDED),
        verification=condition_facts(status, VERIFIED),
        envelope=hashlib.sha256(envelope.encode()).hexdigest() if envelope else "",
        time=at.astimezone(UTC).replace(microsecond=0),
    )


def format_verdict(verdict: Verdict, *, list_results: bool = True) -> bytes:
    """Return the statement of a verdict: JSON in ASCII, without blanks.

    Args:
        verdict: The verdict.
        list_results: Whether each result is a subject of its own.
    """
    results = verdict.results if list_results else None
    subjects = [(STATUS, verdict.status), *(results or {}).items()]
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects],
        "predicateType": VERDICT_TYPE,
        "predicate": {
            "run": {
                "namespace": verdict.namespace,
                "name": verdict.name,
                "uid": verdict.uid,
                "attempt": verdict.attempt,
            },
            "pod": verdict.pod,
            "succeeded": verdict.succeeded,
            "verification": verdict.verification,
            "envelope": verdict.envelope,
            "listed": results is not None,
            "time": f"{verdict.time:%Y-%m-%dT%H:%M:%SZ}",
        },
    }
    return json.dumps(statement, separators=(",", ":")).encode()


def sign_verdict(payload: bytes, signer: Signer) -> str:
    """Return the text of the envelope around a statement.

    Raises:
        InputError: The signer has no key that can sign.
    """
    return format_envelope(
        PAYLOAD_TYPE,
        payload,
        key_id=signer.spiffe_id,
        signature=signer.sign(signed_bytes(PAYLOAD_TYPE, payload)),
        certificate=signer.chain[0],
        intermediates=signer.chain[1:],
    )


def status_digest(status: Mapping[str, Any]) -> str:
    """Return SHA-256, in hexadecimal, of a status without annotations and conditions.

    Fields that are empty, zero or false are left out, except in the Task's spec and in the values of results.
    """
    if is_deeper_than(status, MAX_DEPTH):
        raise InputError("the status is too deeply nested", subject="status")
    kept = {key: value for key, value in status.items() if key not in _OTHERS}
    return hashlib.sha256(canonical(_without_zeros(kept))).hexdigest()


def result_digests(status: Mapping[str, Any]) -> dict[str, str]:
    """Return SHA-256, in hexadecimal, of the canonical JSON of each result's value, by subject.

    Raises:
        InputError: It is not the status of a TaskRun, or has a result twice.
    """
    digests: dict[str, str] = {}
    for subject, value in status_results(status):
        if subject in digests:
            raise _malformed("has a result twice")
        digests[subject] = hashlib.sha256(canonical(value)).hexdigest()
    return digests


def status_results(status: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the subject and the value of each result in a status, those of Steps last.

    Raises:
        InputError: It is not the status of a TaskRun.
    """
    for result in _objects(status, "results"):
        yield result_subject(_text(result, "name")), result.get("value")
    for step in _objects(status, "steps"):
        for result in _objects(step, "results"):
            yield result_subject(_text(result, "name"), _text(step, "name")), result.get("value")


def condition_facts(status: Mapping[str, Any], kind: str) -> dict[str, str]:
    """Return status and reason of a condition, and a digest of its message; empty without such a condition.

    Raises:
        InputError: It is not the status of a TaskRun.
    """
    found = [entry for entry in _objects(status, "conditions") if entry.get("type") == kind]
    if len(found) > 1:
        raise _malformed("has a condition twice")
    if not found:
        return {}
    message = hashlib.sha256(canonical(found[0].get("message") or "")).hexdigest()
    return {
        "status": _text(found[0], "status"),
        "reason": _text(found[0], "reason"),
        "messageDigest": message,
    }


def _without_zeros(value: Any) -> Any:
    """Return a value without the fields whose value is that of no field in Go."""
    if isinstance(value, dict):
        inner = {key: item if key in _EXACT else _without_zeros(item) for key, item in value.items()}
        return {key: item for key, item in inner.items() if key in _EXACT or not _is_zero(item)}
    if isinstance(value, list):
        return [_without_zeros(item) for item in value]
    return value


def _is_zero(value: Any) -> bool:
    return not value and (value is None or isinstance(value, str | int | float | dict | list))


def _objects(parent: Mapping[str, Any], key: str) -> list[Object]:
    """Return a field that is a list of objects; empty if it is absent."""
    items = parent.get(key) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise _malformed(f'has a field "{key}" that is not a list of objects')
    return items


def _text(parent: Mapping[str, Any], key: str) -> str:
    text = parent.get(key) or ""
    if not isinstance(text, str):
        raise _malformed(f'has a field "{key}" that is not a text')
    return text


def _malformed(why: str) -> InputError:
    return InputError(f"the status {why}: it is not what a controller writes", subject="status")
