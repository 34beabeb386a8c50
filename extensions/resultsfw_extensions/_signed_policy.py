"""Apply a policy to results whose signatures were verified: which of them count, and the `Verification`."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from resultsfw import Extraction, Problem, ProblemCode, Verification, format_names
from resultsfw.errors import ClusterError
from resultsfw.signatures import Fault, Reason, VerifiedResults
from resultsfw.site import page
from resultsfw_extensions._signed_config import Policy
from resultsfw_signing.tekton_format import is_signature_key

__all__ = ["AWAITING", "apply_policy", "unverifiable", "without_signatures"]

VERIFIED: Final = "TaskRunResultsVerified"
NOT_VERIFIED: Final = "TaskRunResultsVerificationFailed"
"""Reasons of the condition, Tekton's own (pkg/apis/pipeline/v1/taskrun_types.go)."""

AWAITING: Final = Verification(
    status="Unknown",
    reason="AwaitingTaskRunResults",
    message="the results are verified when the pod has ended",
)

_FAULTS: Final = 100
"""Faults that are reported one by one."""

_UNSIGNED: Final = (
    "the extension signs only pods that were made while it was loaded, and whose signer SPIRE knows: see "
    + page("how-to/signed-results")
)
_IDENTITY: Final = (
    "check trust-domain of config.signed, SPIRE's entries, and the clocks of controller and nodes: see "
    + page("how-to/signed-results")
)
_CHANGED: Final = (
    "something between the pod and the controller delivers other results than the pod signed: find out what, "
    "and do not use these results"
)
_HINTS: Final = {
    Reason.NO_SIGNATURE: _UNSIGNED,
    Reason.EXPIRED_CERTIFICATE: _IDENTITY,
    Reason.INVALID_CERTIFICATE: _IDENTITY,
    Reason.NOT_YET_VALID: _IDENTITY,
    Reason.UNTRUSTED_CERTIFICATE: _IDENTITY,
    Reason.WRONG_IDENTITY: _IDENTITY,
}
"""What to do next; for all other reasons `_CHANGED`."""


def without_signatures(extraction: Extraction) -> Extraction:
    """Return an extraction without results named like signatures, which Steps can write, too."""
    kept = tuple(result for result in extraction.results if not is_signature_key(result.name))
    return extraction if len(kept) == len(extraction.results) else replace(extraction, results=kept)


def apply_policy(
    extraction: Extraction, verified: VerifiedResults, policy: Policy, *, caveat: str = ""
) -> Extraction:
    """Return the extraction with the results that count, and with its verification.

    Args:
        extraction: What was read.
        verified: What verifies of it, and what does not.
        policy: ``fail`` withholds what does not verify, ``mark`` keeps it.
        caveat: What the signatures do not cover, for the message.
    """
    if verified.ok:
        count = len(verified.results)
        message = f"{count} {'result' if count == 1 else 'results'} verified, signed by {verified.spiffe_id}"
        verification = Verification(
            status="True", reason=VERIFIED, message="; ".join(filter(None, (message, caveat)))
        )
        return replace(extraction, results=verified.results, verification=verification)
    message = "; ".join(_messages(verified.faults))
    verification = Verification(status="False", reason=NOT_VERIFIED, message=message)
    if policy != "fail":
        return replace(extraction, verification=verification)
    return replace(
        extraction,
        results=verified.results,
        problems=(*extraction.problems, *_problems(verified.faults)),
        verification=verification,
    )


def unverifiable(extraction: Extraction, error: ClusterError, policy: Policy) -> Extraction:
    """Return an extraction that cannot be verified now; it counts as it is only if no attempt follows.

    Args:
        extraction: What was read.
        error: Why it cannot be verified. If a later attempt may succeed, the core reads again.
        policy: See `apply_policy`.
    """
    message = f"the results cannot be verified: {error.message}"
    verification = Verification(status="False", reason=NOT_VERIFIED, message=message)
    kept = replace(
        extraction,
        read_error=extraction.read_error or (error if error.retryable else None),
        verification=verification,
    )
    if policy != "fail":
        return kept
    problem = Problem(code=ProblemCode.UNVERIFIED, message=message)
    return replace(kept, results=(), problems=(*kept.problems, problem))


def _messages(faults: tuple[Fault, ...]) -> Iterable[str]:
    yield from (fault.message for fault in faults[:_FAULTS])
    if further := faults[_FAULTS:]:
        yield f"and {len(further)} more differences"


def _problems(faults: tuple[Fault, ...]) -> Iterable[Problem]:
    for fault in faults[:_FAULTS]:
        yield Problem(
            code=ProblemCode.UNVERIFIED,
            message=fault.message,
            result=fault.result,
            step=fault.step,
            hint=_HINTS.get(fault.reason, _CHANGED),
        )
    if further := faults[_FAULTS:]:
        names = format_names([fault.result or "all results" for fault in further])
        yield Problem(
            code=ProblemCode.UNVERIFIED, message=f"{len(further)} more results do not verify: {names}"
        )
