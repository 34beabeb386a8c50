"""Describe the signature over a run's results: its bytes, its signer, and whether it was verified."""

import json
from dataclasses import dataclass
from typing import Final

from resultsfw.cli.inspect.judged import Judged
from resultsfw.cli.output.show import VERIFICATION_WORDS, counted
from resultsfw.pods import containers
from resultsfw.types import CollectionOutcome, Verification
from resultsfw_signing import statement

__all__ = ["SignatureTrace", "describe_signature", "trace_signature"]

_IN_ITS_LOG: Final = (
    f'the signature is in the log of container "{statement.SIGNER_CONTAINER}", read by the extension alone'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureTrace:
    """What is known of the signature over the results of a pod.

    Attributes:
        bytes: Of the envelope; 0 without one.
        claimed_signer: The SPIFFE ID that the envelope names; "" if it names none. It is not verified: the
            certificate names the signer, and so does the message of `verification`.
        fault: Why there is no envelope; "" if there is one, or if the entrypoint signed.
        by_entrypoint: Whether Tekton's entrypoint signs each Step's message.
        verification: The outcome of the extension that verifies signatures; ``None`` if none did.
    """

    bytes: int
    claimed_signer: str
    fault: str
    verification: Verification | None
    by_entrypoint: bool = False


def trace_signature(judged: Judged) -> SignatureTrace | None:
    """Return the signature over the results of a pod that was read; ``None`` if nothing is signed there."""
    collected = judged.offline.collected
    if collected is None or judged.pod is None:
        return None
    annotations = judged.pod["metadata"].get("annotations") or {}
    fault = collected.envelope_fault
    by_entrypoint = annotations.get(statement.ANNOTATION) == statement.SIGNED_BY_ENTRYPOINT
    if not (by_entrypoint or collected.envelope or fault):
        if statement.ANNOTATION not in annotations and collected.verification is None:
            return None
        unread = collected.verification is None and statement.SIGNER_CONTAINER in containers(judged.pod)
        fault = _IN_ITS_LOG if unread else "no signature arrived"
    return SignatureTrace(
        bytes=len(collected.envelope.encode("utf-8", "surrogatepass")),
        claimed_signer=_claimed_signer(collected),
        fault=fault,
        verification=collected.verification,
        by_entrypoint=by_entrypoint,
    )


def describe_signature(trace: SignatureTrace, *, above: str = "") -> str:
    """Return a sentence on a signature.

    Args:
        trace: What is known of it.
        above: What was printed already, which need not be printed twice.
    """
    verification = trace.verification
    if trace.by_entrypoint:
        signed = "signed by Tekton's entrypoint, in each Step's message"
    else:
        missing = trace.fault if trace.fault == _IN_ITS_LOG else f"not signed: {trace.fault}"
        signed = missing if trace.fault else f"signed in {counted(trace.bytes, 'byte')}"
    if trace.claimed_signer and not (verification is not None and verification.status == "True"):
        signed += f"; it claims the signer {trace.claimed_signer}"
    if verification is None:
        outcome = "not verified, since no extension does that with the flags given here"
    else:
        message = "see above" if verification.message in above else verification.message
        outcome = f"{VERIFICATION_WORDS[verification.status]}: {message}"
    return f"{signed}; {outcome}"


def _claimed_signer(collected: CollectionOutcome) -> str:
    """Return the signer that an envelope names; "" if it names none."""
    try:
        signer = json.loads(collected.envelope)["signatures"][0]["keyid"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
    return signer[: statement.MAX_SPIFFE_ID] if isinstance(signer, str) else ""
