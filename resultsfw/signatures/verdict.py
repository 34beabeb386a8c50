"""The controller's verdict over a run: a statement about the status that ends it, signed by the controller.

An SVID is valid for an hour, so the pod's own signature cannot be verified without knowing when it was made.
The controller verified it in time, and records here which status it wrote, whose signature it verified, and
when.

The statement is an in-toto Statement v1 with the predicate `VERDICT_TYPE`, in a DSSE envelope with the
controller's certificates, in the annotation `VERDICT_ANNOTATION` of the status. Its subjects are ``status``
and each result in the status; their digests are those of canonical JSON (`resultsfw.jsons.canonical`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from resultsfw.cluster import Object
from resultsfw.signatures.signers import Signer
from resultsfw.signatures.status_digests import SUCCEEDED, condition_facts, result_digests, status_digest
from resultsfw.status import VERIFIED
from resultsfw.types import Run
from resultsfw_signing.dsse import format_envelope, signed_bytes
from resultsfw_signing.statement import PAYLOAD_TYPE, STATEMENT_TYPE

__all__ = [
    "ENVELOPE_ANNOTATION",
    "ENVELOPE_BYTES",
    "VERDICT_ANNOTATION",
    "VERDICT_TYPE",
    "Verdict",
    "format_verdict",
    "make_verdict",
    "sign_verdict",
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
