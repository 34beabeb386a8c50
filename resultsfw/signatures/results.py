"""Verify a run's results: by the envelope that its pod signed, and compared with what arrived."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from resultsfw.errors import SignatureError
from resultsfw.signatures.certificates import TrustBundle
from resultsfw.signatures.envelopes import parse_envelope, verify_envelope
from resultsfw.signatures.reasons import Fault, Reason, shown
from resultsfw.signatures.spiffe_ids import pod_identity
from resultsfw.signatures.statements import SignedResult, SignedStatement, parse_statement
from resultsfw.types import ARTIFACTS, ExtractedResult, Extraction, ProblemCode, Reference, Run
from resultsfw.values import format_names, label
from resultsfw_signing import statement as format_of

__all__ = ["VerifiedResults", "check", "expected_subjects", "verify_results"]

Origin = tuple[str | None, str]
"""Identifies a result: its Step (``None``: the Task) and its name."""

_OTHERS_LOST: Final = frozenset(
    {
        ProblemCode.RUN_TOO_LARGE,
        ProblemCode.OBJECT_TOO_LARGE,
        ProblemCode.TRANSPORT_CUT,
        ProblemCode.TRANSPORT_INCOMPLETE,
    }
)
"""Problems that name one result, or none, and explain that others did not arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedResults:
    """The outcome of verifying the results of a run.

    Attributes:
        faults: What does not verify; empty if every result that arrived is the result that was signed, and
            none is missing without a problem.
        results: The values that verify, each result once. For artifacts, that is the text that was signed:
            an earlier Step's message about them is outdated and left out.
        spiffe_id: Who signed; "" if no signature was verified.
        expires: When the signer's certificate expires; ``None`` likewise.
    """

    faults: tuple[Fault, ...]
    results: tuple[ExtractedResult, ...] = ()
    spiffe_id: str = ""
    expires: datetime | None = None

    @property
    def ok(self) -> bool:
        """Return whether everything verifies."""
        return not self.faults


def verify_results(
    run: Run, pod_uid: str, extraction: Extraction, bundle: TrustBundle, *, at: datetime
) -> VerifiedResults:
    """Verify the results of a run: certificates, signer, signature, statement, then each result.

    Nothing in the extraction raises an exception: what does not verify is a fault.

    Args:
        run: The attempt whose results these are.
        pod_uid: The uid of its pod.
        extraction: What the backend read, with the envelope.
        bundle: The trust bundle of the pods' trust domain.
        at: When the pod signed, with its time zone: its certificate must have been valid then.
    """
    if not extraction.envelope:
        return VerifiedResults(faults=(_unsigned(extraction),))
    expected = expected_subjects(run)
    subjects = [*expected.values(), *_taken_subjects(run).values()]
    try:
        envelope = parse_envelope(extraction.envelope, limit=format_of.longest_envelope(subjects))
        svid = verify_envelope(
            envelope, bundle, at=at, signer=pod_identity(bundle.trust_domain, run, pod_uid)
        )
        statement = parse_statement(envelope.payload, limit=format_of.longest_payload(subjects))
    except SignatureError as error:
        return VerifiedResults(faults=(Fault(reason=Reason(error.reason), message=error.message),))
    faults = check(statement, run, extraction, pod_uid)
    doubtful = {(fault.step, fault.result) for fault in faults}
    return VerifiedResults(
        faults=faults,
        results=()
        if any(fault.result is None for fault in faults)
        else tuple(
            value
            for origin, value in _counting(extraction).items()
            if origin in expected and origin not in doubtful
        ),
        spiffe_id=str(svid.spiffe_id),
        expires=svid.certificate.not_valid_after_utc,
    )


def check(statement: SignedStatement, run: Run, extraction: Extraction, pod_uid: str) -> tuple[Fault, ...]:
    """Compare a statement whose signature was verified with the run and with what arrived.

    Args:
        statement: The statement.
        run: The attempt that it must be about.
        extraction: What the backend read. Of two values of one result the later counts, as in the core.
        pod_uid: The uid of the pod that it must be about.

    Returns:
        The differences. If it is about another run, attempt, pod or spec, results are not compared.
    """
    return tuple(_binding_faults(statement, run, pod_uid)) or tuple(
        _result_faults(statement, run, extraction)
    )


def expected_subjects(run: Run) -> dict[Origin, str]:
    """Return the subjects of all results that a Step may write, and of all provenance of artifacts."""
    subjects: dict[Origin, str] = {
        (None, result.name): format_of.result_subject(result.name) for result in run.written_results
    }
    if run.artifacts:
        subjects[None, ARTIFACTS] = format_of.artifacts_subject()
    for step in run.steps:
        for result in step.results:
            subjects[step.name, result.name] = format_of.result_subject(result.name, step.name)
        if step.artifacts:
            subjects[step.name, ARTIFACTS] = format_of.artifacts_subject(step.name)
    return subjects


def _taken_subjects(run: Run) -> dict[Origin, str]:
    """Return the subjects of Task results that are taken from Step results.

    The results sidecar may list them, like every declared result; no value of theirs counts.
    """
    return {
        (None, result.name): format_of.result_subject(result.name)
        for result in run.results
        if result.from_step is not None
    }


def _unsigned(extraction: Extraction) -> Fault:
    why = (
        f"the signer could not sign: {shown(extraction.envelope_fault)}"
        if extraction.envelope_fault
        else "no signature arrived: the pod has no signer, or something removed what it signed"
    )
    return Fault(reason=Reason.NO_SIGNATURE, message=why)


def _binding_faults(statement: SignedStatement, run: Run, pod_uid: str) -> Iterator[Fault]:
    signed_run = f"{statement.namespace}/{statement.name}"
    if (statement.namespace, statement.name, statement.uid) != (run.namespace, run.name, run.uid):
        yield Fault(
            reason=Reason.WRONG_RUN,
            message=f"the results of another run were signed: of {shown(signed_run)} with uid "
            f"{shown(statement.uid)}, not of {run.namespace}/{run.name} with uid {run.uid}",
        )
    if statement.attempt != run.attempt:
        yield Fault(
            reason=Reason.WRONG_ATTEMPT,
            message=f"the results of attempt {statement.attempt} were signed, not of attempt {run.attempt}",
        )
    if statement.pod_uid != pod_uid:
        yield Fault(
            reason=Reason.WRONG_POD,
            message=f"the results of another pod were signed: of uid {shown(statement.pod_uid)}, "
            f"not {pod_uid}",
        )
    expected = format_of.spec_subject(run.spec_digest)
    if statement.spec_digest != expected:
        yield Fault(
            reason=Reason.WRONG_SPEC,
            message=f"the pod signed for another spec of the Task: sha256:{statement.spec_digest}, and the "
            f"run's is sha256:{expected}",
        )


def _result_faults(statement: SignedStatement, run: Run, extraction: Extraction) -> Iterator[Fault]:
    subjects, taken = expected_subjects(run), _taken_subjects(run)
    if undeclared := sorted(statement.subjects - {*subjects.values(), *taken.values()}):
        yield Fault(
            reason=Reason.UNDECLARED,
            message=f"the statement has results that the Task does not declare: {_names(undeclared)}",
        )
    types = _declared_types(run)
    values = _counting(extraction)
    for step, name in values:
        if (step, name) in subjects or (step, name) in taken:
            continue
        yield Fault(
            reason=Reason.UNDECLARED,
            message=f"{_label(name, step)} arrived, and the Task does not declare it",
            result=name,
            step=step,
        )
    for origin, subject in subjects.items():
        step, name = origin
        value = values.get(origin)
        if found := _difference(statement, subject, types[origin], value):
            reason, message = found
        elif value is None and subject not in statement.absent and not _is_explained(extraction, origin):
            reason = Reason.LOST_RESULT
            message = (
                f"was refused in the pod ({statement.refused[subject]}), and no problem of it arrived"
                if subject in statement.refused
                else "was signed, and neither its value nor a problem of it arrived"
            )
        else:
            continue
        yield Fault(reason=reason, message=f"{_label(name, step)} {message}", result=name, step=step)


def _difference(
    statement: SignedStatement, subject: str, declared_type: str, value: ExtractedResult | None
) -> tuple[Reason, str] | None:
    """Return how a result differs from what was signed: the reason, and the rest of a sentence about it."""
    signed = statement.results.get(subject)
    if signed is None:
        if subject not in statement.subjects:
            return Reason.INCOMPLETE, "is declared, and the pod signed nothing about it"
        if value is None:
            return None
        how = f"refused ({statement.refused[subject]})" if subject in statement.refused else "absent"
        return Reason.FORGED_RESULT, f"was signed as {how}, and a value arrived"
    if signed.type != declared_type:
        return Reason.WRONG_TYPE, f'is declared as "{declared_type}" and was signed as "{signed.type}"'
    if value is None:
        return None
    return _value_difference(signed, value.value)


def _value_difference(signed: SignedResult, value: str | Reference) -> tuple[Reason, str] | None:
    if isinstance(value, Reference):
        size, digest, encrypted = value.size, value.digest, bool(value.encryption)
    else:
        try:
            data = value.encode()
        except UnicodeEncodeError:
            return Reason.WRONG_DIGEST, "is not UTF-8, and a pod signs nothing else"
        size, digest, encrypted = len(data), f"sha256:{hashlib.sha256(data).hexdigest()}", False
    if signed.encrypted != encrypted:
        forms = {True: "encrypted", False: "not encrypted"}
        was, arrived = forms[signed.encrypted], forms[encrypted]
        message = f"was signed {was} and arrived {arrived}: their digests cannot be compared"
        return Reason.WRONG_DIGEST, message
    signed_digest = f"sha256:{signed.digest}"
    if (size, digest) != (signed.size, signed_digest):
        message = (
            f"does not have the digest that was signed: {signed.size} bytes with {signed_digest} were "
            f"signed, {size} bytes with {shown(digest)[1:-1]} arrived"
        )
        return Reason.WRONG_DIGEST, message
    return None


def _counting(extraction: Extraction) -> dict[Origin, ExtractedResult]:
    """Return the value that counts of each result: the last one."""
    return {(value.step, value.name): value for value in extraction.results}


def _declared_types(run: Run) -> dict[Origin, str]:
    types: dict[Origin, str] = dict.fromkeys(expected_subjects(run), format_of.ARTIFACTS)
    types |= {(None, result.name): result.type for result in run.written_results}
    types |= {(step.name, result.name): result.type for step in run.steps for result in step.results}
    return types


def _is_explained(extraction: Extraction, origin: Origin) -> bool:
    """Return whether a problem says why a value did not arrive: the run fails for that reason."""
    return any(
        problem.result is None or (problem.step, problem.result) == origin or problem.code in _OTHERS_LOST
        for problem in extraction.problems
    )


def _label(name: str, step: str | None) -> str:
    return label(shown(name)[1:-1], step if step is None else shown(step)[1:-1])


def _names(subjects: list[str]) -> str:
    return format_names([shown(subject)[1:-1] for subject in subjects])
