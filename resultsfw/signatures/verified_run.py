"""Verify a TaskRun by the verdict in its status: months later, without a cluster, with an archived bundle.

Everything in the object may be forged by whoever can write its status: nothing in it raises an exception, and
what does not verify is a fault.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

from resultsfw.cluster import Object
from resultsfw.errors import CorruptError, InputError, SignatureError
from resultsfw.jsons import MAX_DEPTH, canonical, is_deeper_than, is_json
from resultsfw.limits import OBJECT_BYTES
from resultsfw.references import read_reference
from resultsfw.signatures.certificates import TrustBundle, load_certificate
from resultsfw.signatures.envelopes import Envelope, parse_envelope, verify_envelope
from resultsfw.signatures.reasons import Fault, Reason, shown
from resultsfw.signatures.spiffe_ids import SpiffeId, parse_spiffe_id
from resultsfw.signatures.statements import SignedStatement, parse_statement
from resultsfw.signatures.tekton_annotations import tekton_faults
from resultsfw.signatures.verdict import (
    ENVELOPE_ANNOTATION,
    ENVELOPE_BYTES,
    SUCCEEDED,
    VERDICT_ANNOTATION,
    Verdict,
    condition_facts,
    result_digests,
    status_digest,
    status_results,
)
from resultsfw.signatures.verdict_statement import parse_verdict
from resultsfw.status import VERIFIED
from resultsfw_signing.statement import STRING, spec_subject

__all__ = ["CheckedResult", "VerifiedRun", "controller_identity", "verify_taskrun"]

_CONTROLLER: Final = "/ns/resultsfw/sa/resultsfw-controller"
"""Path of the controller's SPIFFE ID as ``config/signing-identities`` registers it."""

State = Literal["verified", "unverified", "changed", "added", "missing", "unsigned"]


@dataclass(frozen=True, slots=True)
class CheckedResult:
    """A result of the status or of the verdict.

    Attributes:
        name: The name of its subject: ``results/NAME`` or ``steps/STEP/results/NAME``.
        state: ``changed``: another value was signed; ``added``: it was not signed; ``missing``: it was signed
            and is not in the status; ``unverified``: the controller wrote it, and did not verify that the pod
            signed it; ``unsigned``: nothing proves it.
    """

    name: str
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRun:
    """The outcome of verifying a run: what is proven, and what does not verify.

    Attributes:
        namespace: Its namespace.
        name: Its name.
        faults: What does not verify; empty if the status is what the controller signed, and the
            results in it are those that the pod signed.
        results: Each result.
        signer: The SPIFFE ID of the controller that signed; "" if no signature was verified. Without it, the
            next three are empty, too.
        time: When it signed.
        pod: The SPIFFE ID with which the pod signed; "" also for signatures in Tekton's format.
        succeeded: Status and reason of the condition ``Succeeded``.
        notes: What else an auditor should know.
    """

    namespace: str
    name: str
    faults: tuple[Fault, ...]
    results: tuple[CheckedResult, ...] = ()
    signer: str = ""
    time: datetime | None = None
    pod: str = ""
    succeeded: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Return whether everything verifies."""
        return not self.faults


def controller_identity(trust_domain: str) -> SpiffeId:
    """Return the SPIFFE ID of a controller that is registered by ``config/signing-identities``."""
    return SpiffeId(trust_domain, _CONTROLLER)


def verify_taskrun(
    taskrun: Object, bundle: TrustBundle, *, controller: SpiffeId | None = None
) -> VerifiedRun:
    """Verify a TaskRun of v1, as the API server or an archive has it.

    Args:
        taskrun: The TaskRun.
        bundle: The trust bundle of the controller and of the pods, as it was when the run ended.
        controller: Who must have signed the verdict; `controller_identity` of the trust domain by default.
    """
    if is_deeper_than(taskrun, MAX_DEPTH) or not is_json(taskrun):
        malformed = Fault(
            reason=Reason.WRONG_STATUS,
            message=f"the object is nested deeper than {MAX_DEPTH} levels, or is not JSON",
        )
        return VerifiedRun(namespace="", name="", faults=(malformed,))
    metadata, status = _object(taskrun.get("metadata")), _object(taskrun.get("status"))
    annotations = {
        name: text for name, text in _object(status.get("annotations")).items() if isinstance(text, str)
    }
    namespace, name = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
    controller = controller or controller_identity(bundle.trust_domain)
    try:
        verdict, envelope, expires = _read(annotations, bundle, controller)
    except SignatureError as error:
        fault = Fault(reason=Reason(error.reason), message=error.message)
        return VerifiedRun(
            namespace=namespace,
            name=name,
            faults=(fault,),
            results=tuple(CheckedResult(subject, "unsigned") for subject in _subjects(status)),
        )
    binding = list(_binding_faults(verdict, metadata))
    results, faults = _compare(verdict, status)
    if binding or verdict.verification.get("status") != "True":
        weaker: State = "unsigned" if binding else "unverified"
        results = tuple(
            replace(result, state=weaker) if result.state == "verified" else result for result in results
        )
    notes = [f"the controller's certificate was valid until {_shown(expires)}"]
    if verdict.envelope and ENVELOPE_ANNOTATION not in annotations:
        notes.append(
            "the pod's own signature is not in the status: it was too large, or somebody removed it; the "
            "controller verified it"
        )
    if verdict.verification.get("status") == "True" and not verdict.pod:
        notes.append(
            "the pod signed in Tekton's format, which the status does not keep; the controller verified it"
        )
    faults += _pod_faults(verdict, status, annotations.get(ENVELOPE_ANNOTATION), bundle)
    faults += tekton_faults(
        taskrun,
        annotations,
        bundle,
        intermediates=envelope.intermediates,
        signer=controller,
        at=verdict.time,
    )
    return VerifiedRun(
        namespace=namespace,
        name=name,
        faults=tuple(dict.fromkeys((*binding, *faults))),
        results=results,
        signer=str(controller),
        time=verdict.time,
        pod=verdict.pod,
        succeeded=verdict.succeeded,
        notes=tuple(notes),
    )


def _read(
    annotations: Mapping[str, str], bundle: TrustBundle, controller: SpiffeId
) -> tuple[Verdict, Envelope, datetime]:
    """Return the verdict of a status, its envelope, and when the controller's certificate expires.

    Raises:
        SignatureError: There is none, or its signature does not verify.
    """
    text = annotations.get(VERDICT_ANNOTATION)
    if text is None:
        raise SignatureError(
            f"not signed: the status has no annotation {VERDICT_ANNOTATION}; the run ended without a pod or "
            f"without the extension signed, its controller could not sign, or somebody removed it",
            reason=Reason.NO_SIGNATURE,
        )
    envelope = parse_envelope(text, limit=OBJECT_BYTES)
    verdict = parse_verdict(envelope.payload)
    try:
        svid = verify_envelope(envelope, bundle, at=verdict.time, signer=controller)
    except SignatureError as error:
        if error.reason != Reason.UNTRUSTED_CERTIFICATE:
            raise
        raise SignatureError(
            f"{error.message}; if SPIRE has rotated its authorities since {_shown(verdict.time)}, give the "
            f"bundle that was archived then",
            reason=error.reason,
            subject=error.subject,
        ) from None
    return verdict, envelope, svid.certificate.not_valid_after_utc


def _binding_faults(verdict: Verdict, metadata: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield why a verdict is not about this object."""
    named = tuple(metadata.get(key) for key in ("namespace", "name", "uid"))
    if named != (verdict.namespace, verdict.name, verdict.uid):
        yield Fault(
            reason=Reason.WRONG_RUN,
            message=f"the verdict is about the run {shown(verdict.namespace)}/{shown(verdict.name)} with uid "
            f"{shown(verdict.uid)}, not about this one",
        )
    created = _time(metadata.get("creationTimestamp"))
    if created is None or verdict.time < created:
        yield Fault(
            reason=Reason.WRONG_RUN,
            message=f"the verdict was signed at {_shown(verdict.time)}, before the run was created",
        )


def _compare(verdict: Verdict, status: Object) -> tuple[tuple[CheckedResult, ...], list[Fault]]:
    """Return the results of a status and the differences to its verdict."""
    try:
        digest, found = status_digest(status), result_digests(status)
        conditions = {kind: condition_facts(status, kind) for kind in (SUCCEEDED, VERIFIED)}
    except InputError as error:
        return (), [Fault(reason=Reason.WRONG_STATUS, message=error.message)]
    signed = verdict.results
    if signed is None:
        results = [
            CheckedResult(name, "verified" if digest == verdict.status else "unsigned") for name in found
        ]
    else:
        results = [CheckedResult(name, _state(name, signed, found)) for name in {**signed, **found}]
    faults = [fault for result in results if (fault := _result_fault(result))]
    if digest != verdict.status and not faults:
        faults.append(
            Fault(
                reason=Reason.WRONG_STATUS,
                message="the status differs from what was signed: something other than its results and "
                "conditions was changed"
                if signed is not None
                else "the status differs from what was signed; the verdict does not list its results",
            )
        )
    faults += _condition_faults(verdict, status, conditions)
    if verdict.verification.get("status") != "True" and (found or verdict.verification):
        faults.append(
            Fault(
                reason=Reason.UNVERIFIED,
                message="the controller signed that it did not verify the results: "
                f"{shown(verdict.verification.get('reason') or 'no reason')}; see the message of the "
                f"condition {VERIFIED}",
            )
        )
    return tuple(results), faults


def _state(name: str, signed: Mapping[str, str], found: Mapping[str, str]) -> State:
    if name not in found:
        return "missing"
    if name not in signed:
        return "added"
    return "verified" if signed[name] == found[name] else "changed"


def _result_fault(result: CheckedResult) -> Fault | None:
    match result.state:
        case "changed":
            reason, why = Reason.WRONG_DIGEST, "does not have the value that was signed"
        case "added":
            reason, why = Reason.FORGED_RESULT, "was not signed: somebody added it"
        case "missing":
            reason, why = Reason.LOST_RESULT, "was signed and is not in the status"
        case _:
            return None
    *step, _, name = result.name.split("/")
    owner = step[1] if len(step) > 1 else None
    return Fault(reason=reason, message=f"{shown(result.name)} {why}", result=name, step=owner)


def _condition_faults(
    verdict: Verdict, status: Object, conditions: Mapping[str, Mapping[str, str]]
) -> Iterator[Fault]:
    signed = {SUCCEEDED: verdict.succeeded, VERIFIED: verdict.verification}
    for kind, facts in conditions.items():
        for key in ("status", "reason", "messageDigest"):
            if facts.get(key) != signed[kind].get(key):
                what = "message" if key == "messageDigest" else key
                was = "" if what == "message" else f", which is {shown(signed[kind].get(key) or '')}"
                yield Fault(
                    reason=Reason.WRONG_STATUS,
                    message=f"the condition {kind} does not have the {what} that was signed{was}",
                )
    retries = status.get("retriesStatus") or []
    if not isinstance(retries, list) or len(retries) != verdict.attempt:
        yield Fault(
            reason=Reason.WRONG_ATTEMPT,
            message=f"the verdict is about the attempt after {verdict.attempt} retries, not about the last",
        )


def _pod_faults(verdict: Verdict, status: Object, text: str | None, bundle: TrustBundle) -> Iterator[Fault]:
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
    for name, value in _values(status):
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
        return _result_fault(CheckedResult(name, "added"))
    try:
        reference = read_reference(value)
    except CorruptError:
        return _result_fault(CheckedResult(name, "changed"))
    if reference is not None:
        same = reference.digest.removeprefix("sha256:") == signed.digest
    elif signed.type == STRING and isinstance(value, str):
        same = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest() == signed.digest
    else:
        same = True
    return None if same else _result_fault(CheckedResult(name, "changed"))


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
        _time(_object(_object(step).get("terminated")).get("finishedAt"))
        for step in (steps if isinstance(steps, list) else ())
    ]
    return min(max(begins, *(end for end in ends if end is not None)), verified) if any(ends) else verified


def _values(status: Object) -> list[tuple[str, Any]]:
    try:
        return list(status_results(status))
    except InputError:
        return []


def _subjects(status: Object) -> list[str]:
    return [name for name, _ in _values(status)]


def _object(value: object) -> Object:
    return value if isinstance(value, dict) else {}


def _time(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        when = datetime.fromisoformat(text)
        return when.astimezone(UTC) if when.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _shown(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"
