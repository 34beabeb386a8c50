"""Verify a TaskRun by the verdict in its status: months later, without a cluster, with an archived bundle.

Everything in the object may be forged by whoever can write its status: nothing in it raises an exception, and
what does not verify is a fault.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.errors import InputError, SignatureError
from resultsfw.jsons import MAX_DEPTH, is_deeper_than, is_json
from resultsfw.limits import OBJECT_BYTES
from resultsfw.signatures.certificates import TrustBundle
from resultsfw.signatures.checked_results import CheckedResult, State, result_fault
from resultsfw.signatures.envelopes import Envelope, parse_envelope, verify_envelope
from resultsfw.signatures.foreign_status import as_object, values_of
from resultsfw.signatures.reasons import Fault, Reason, shown
from resultsfw.signatures.spiffe_ids import SpiffeId
from resultsfw.signatures.status_digests import SUCCEEDED, condition_facts, result_digests, status_digest
from resultsfw.signatures.tekton_annotations import tekton_faults
from resultsfw.signatures.verdict import ENVELOPE_ANNOTATION, VERDICT_ANNOTATION, Verdict
from resultsfw.signatures.verdict_statement import parse_verdict
from resultsfw.signatures.verified_pod import pod_faults
from resultsfw.status import VERIFIED
from resultsfw.times import timestamp

__all__ = ["VerifiedRun", "controller_identity", "verify_taskrun"]

_CONTROLLER: Final = "/ns/resultsfw/sa/resultsfw-controller"
"""Path of the controller's SPIFFE ID as ``config/signing-identities`` registers it."""


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
    metadata, status = as_object(taskrun.get("metadata")), as_object(taskrun.get("status"))
    annotations = {
        name: text for name, text in as_object(status.get("annotations")).items() if isinstance(text, str)
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
            results=tuple(CheckedResult(subject, "unsigned") for subject, _ in values_of(status)),
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
    faults += pod_faults(verdict, status, annotations.get(ENVELOPE_ANNOTATION), bundle)
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
    created = timestamp(metadata.get("creationTimestamp"))
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
    faults = [fault for result in results if (fault := result_fault(result))]
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


def _shown(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"
