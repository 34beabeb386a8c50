"""Verify the pod's own envelope in a status, and compare the status with what the pod signed."""

import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from resultsfw.cluster import Object
from resultsfw.errors import CorruptError, InputError, SignatureError
from resultsfw.jsons import canonical
from resultsfw.references import read_reference
from resultsfw.signatures.certificates import TrustBundle, load_certificate
from resultsfw.signatures.checked_results import CheckedResult, result_fault
from resultsfw.signatures.envelopes import Envelope, parse_envelope, verify_envelope
from resultsfw.signatures.foreign_status import as_object, values_of
from resultsfw.signatures.reasons import Fault, Reason
from resultsfw.signatures.spiffe_ids import parse_spiffe_id
from resultsfw.signatures.statements import SignedStatement, parse_statement
from resultsfw.signatures.verdict import ENVELOPE_ANNOTATION, ENVELOPE_BYTES, Verdict
from resultsfw.times import timestamp
from resultsfw_signing.statement import STRING, spec_subject

__all__ = ["pod_faults"]


def pod_faults(verdict: Verdict, status: Object, text: str | None, bundle: TrustBundle) -> Iterator[Fault]:
    """Yield what does not verify of the pod's own envelope, if it is there."""
    if text is None:
        return
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    if digest != verdict.envelope:
        yield Fault(
            reason=Reason.BAD_SIGNATURE,
            message=f"the annotation {ENVELOPE_ANNOTATION} is not what the controller read from the pod",
        )
        return
    if verdict.verification.get("status") != "True" or not verdict.pod:
        return
    try:
        envelope = parse_envelope(text, limit=ENVELOPE_BYTES)
        at = _signing_time(envelope, status, verdict.time)
        verify_envelope(envelope, bundle, at=at, signer=parse_spiffe_id(verdict.pod))
        statement = parse_statement(envelope.payload, limit=ENVELOPE_BYTES)
    except (SignatureError, InputError) as error:
        reason = Reason(error.reason) if isinstance(error, SignatureError) else Reason.WRONG_IDENTITY
        yield Fault(reason=reason, message=f"the pod's signature: {error.message}")
        return
    if (statement.namespace, statement.name, statement.uid, statement.attempt) != (
        verdict.namespace,
        verdict.name,
        verdict.uid,
        verdict.attempt,
    ):
        yield Fault(reason=Reason.WRONG_RUN, message="the pod signed the results of another run or attempt")
        return
    spec = hashlib.sha256(canonical(status.get("taskSpec"))).hexdigest()
    if statement.spec_digest != spec_subject(spec):
        yield Fault(reason=Reason.WRONG_SPEC, message="the pod signed the digest of another Task's spec")
    for name, value in values_of(status):
        if (fault := _value_fault(name, value, statement)) is not None:
            yield fault


def _value_fault(name: str, value: Any, statement: SignedStatement) -> Fault | None:
    """Return how a value differs from what the pod signed, as far as the status can show it.

    Of an array or object, the pod signed the text that a Step wrote, which the status does not have. A result
    that the Task takes from a Step's is not signed under its own name.
    """
    signed = statement.results.get(name)
    if signed is None:
        if name not in statement.subjects:
            return None
        return result_fault(CheckedResult(name, "added"))
    try:
        reference = read_reference(value)
    except CorruptError:
        return result_fault(CheckedResult(name, "changed"))
    if reference is not None:
        same = reference.digest.removeprefix("sha256:") == signed.digest
    elif signed.type == STRING and isinstance(value, str):
        same = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest() == signed.digest
    else:
        same = True
    return None if same else result_fault(CheckedResult(name, "changed"))


def _signing_time(envelope: Envelope, status: Object, verified: datetime) -> datetime:
    """Return a time at which the pod may have signed: after its Steps, before the controller verified it.

    Its certificate may have become valid after the Steps ended, if its identity came late, and may have
    expired before the controller verified it, if the controller was away.
    """
    try:
        begins = load_certificate(envelope.certificate).not_valid_before_utc
    except ValueError:
        return verified
    steps = status.get("steps")
    ends = [
        timestamp(as_object(as_object(step).get("terminated")).get("finishedAt"))
        for step in (steps if isinstance(steps, list) else ())
    ]
    return min(max(begins, *(end for end in ends if end is not None)), verified) if any(ends) else verified
