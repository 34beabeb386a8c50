"""Verify results that Tekton's entrypoint signed, and name what its format does not bind.

Each time the entrypoint reads results, it adds a certificate, a signature of each value and of the list of
their names to the Step's termination message. Here the list must name exactly the values that are there;
Tekton itself looks for those that it names, and takes others (verifyManifest in pkg/spire/verify.go).

Several Steps may sign: each signs all results that exist when it ends. What one of them signed must verify,
and of two values of a result that of the later Step counts, as in Tekton (pkg/pod/status.go).

Source: pkg/spire and readResultsFromDisk in pkg/entrypoint/entrypointer.go of Tekton Pipelines.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from resultsfw.errors import SignatureError
from resultsfw.signatures.certificates import (
    UNREADABLE,
    TrustBundle,
    VerifiedSvid,
    verify_signature,
    verify_svid,
)
from resultsfw.signatures.reasons import Fault, Reason, refusal, shown
from resultsfw.signatures.results import VerifiedResults
from resultsfw.signatures.strict_json import StrictJsonError, decode_base64
from resultsfw.types import ARTIFACTS, ExtractedResult, Extraction, ResultType, Run
from resultsfw.values import format_names, label
from resultsfw_signing.statement import MAX_CERTIFICATE_BYTES, MAX_SIGNATURE_BYTES, run_spiffe_id
from resultsfw_signing.tekton_format import (
    MANIFEST,
    SIGNATURE_SUFFIX,
    SVID,
    is_signature_key,
    manifest_names,
    signed_text,
)

__all__ = ["StepMessage", "TektonResults", "verify_tekton_results"]

_PEM: Final = "-----BEGIN CERTIFICATE-----\n"
_LOST: Final = 100
"""Results that a list names and a message lacks, of which each is a fault of its own; a Step can list any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMessage:
    """What a Step's entrypoint wrote of the Task's results.

    Attributes:
        container: The Step's container.
        entries: Keys and values of its entries of the Task's results, signatures among them, in order.
        signs: Whether the Step ran to its end, so that its entrypoint must have signed.
        at: When it ended, with its time zone: its certificate must have been valid then.
    """

    container: str
    entries: tuple[tuple[str, str], ...]
    signs: bool
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TektonResults:
    """The outcome of verifying what Tekton's entrypoint signed.

    Attributes:
        faults: What does not verify; empty if every value was signed.
        values: The values that verify, by name; of two, the later Step's.
        unbound: What the format leaves open about these values: a phrase each.
        spiffe_id: Who signed; "" if no signature was verified.
        expires: When the last signer's certificate expires; ``None`` likewise.
    """

    faults: tuple[Fault, ...]
    values: Mapping[str, str] = field(default_factory=dict)
    unbound: tuple[str, ...] = ()
    spiffe_id: str = ""
    expires: datetime | None = None

    def compare(self, extraction: Extraction) -> VerifiedResults:
        """Compare the values that verify with what a backend read; keys of signatures are left out."""
        arrived = {
            (value.step, value.name): value
            for value in extraction.results
            if value.step is not None or not is_signature_key(value.name)
        }
        faults = list(self.faults)
        if any(fault.result is None for fault in faults):  # nothing counts, and each value would be one more
            arrived = {}
        else:
            faults += _differences(self.values, arrived)
            faults += _losses(self.values, arrived, extraction)
        doubtful = {(fault.step, fault.result) for fault in faults}
        return VerifiedResults(
            faults=tuple(faults),
            results=tuple(value for origin, value in arrived.items() if origin not in doubtful),
            spiffe_id=self.spiffe_id,
            expires=self.expires,
        )


def _differences(
    values: Mapping[str, str], arrived: Mapping[tuple[str | None, str], ExtractedResult]
) -> Iterator[Fault]:
    """Yield a fault for each value that arrived and is not the one that verifies."""
    for (step, name), value in arrived.items():
        if step is not None or name == ARTIFACTS:
            yield Fault(
                reason=Reason.NO_SIGNATURE,
                message=f"{label(name, step)} is not signed: Tekton's entrypoint signs only results that the "
                f"Task declares",
                result=name,
                step=step,
            )
        elif value.value != values.get(name):
            yield Fault(
                reason=Reason.WRONG_DIGEST,
                message=f"result {_name(name)} arrived with a value that was not signed",
                result=name,
            )


def _losses(
    values: Mapping[str, str],
    arrived: Mapping[tuple[str | None, str], ExtractedResult],
    extraction: Extraction,
) -> Iterator[Fault]:
    """Yield a fault for each signed value that did not arrive, if no problem may explain that."""
    for name in values if not extraction.problems else ():
        if (None, name) not in arrived:
            message = f"result {_name(name)} was signed, and is lost"
            yield Fault(reason=Reason.LOST_RESULT, message=message, result=name)


@dataclass(frozen=True, slots=True)
class _Signed:
    """What one reading of results wrote: the values, and the keys of signatures with theirs."""

    values: dict[str, str]
    keys: dict[str, str]


class _Signer:
    """Verifies certificates and signatures of the run; each certificate once."""

    def __init__(self, expected: str, bundle: TrustBundle) -> None:
        self.expected = expected
        self._bundle = bundle
        self._verified: dict[tuple[str, datetime], VerifiedSvid] = {}

    def svid(self, pem: str, at: datetime) -> VerifiedSvid:
        """Return the certificate in a PEM text; raises `SignatureError` if it is not the run's."""
        if (pem, at) not in self._verified:
            svid = verify_svid(_der(pem), (), self._bundle, at=at)
            if str(svid.spiffe_id) != self.expected:
                raise refusal(
                    Reason.WRONG_IDENTITY,
                    f"{svid.spiffe_id} signed, not {self.expected}",
                    subject=self.expected,
                )
            self._verified[pem, at] = svid
        return self._verified[pem, at]

    def check(self, svid: VerifiedSvid, signature: str, value: str) -> None:
        """Verify a signature in base64 over a text; raises `SignatureError` if it is not one."""
        try:
            binary = decode_base64(signature, limit=MAX_SIGNATURE_BYTES)
            data = value.encode()
        except (StrictJsonError, UnicodeEncodeError):
            raise refusal(Reason.BAD_SIGNATURE, "signature or value is malformed") from None
        verify_signature(svid, binary, data)


def verify_tekton_results(run: Run, messages: Sequence[StepMessage], bundle: TrustBundle) -> TektonResults:
    """Verify the results of the Task in the messages of its Steps.

    Nothing in the messages raises an exception: what does not verify is a fault. Results of Steps, and
    artifacts, are not signed by Tekton, and not in `values`.

    Args:
        run: The attempt whose results these are.
        messages: Of the Steps that have ended, in their order.
        bundle: The trust bundle of the pods' trust domain.
    """
    signer = _Signer(run_spiffe_id(bundle.trust_domain, run.namespace, run.name), bundle)
    faults: list[Fault] = []
    values: dict[str, str] = {}
    last: VerifiedSvid | None = None
    for message in messages:
        found = list(_signed_parts(message))
        if message.signs and not found:
            faults.append(_unsigned(message.container, "its message has no signatures"))
        for part in found:
            faults_of_part, verified, svid = _verify_part(part, signer, message)
            faults += faults_of_part
            values |= verified
            last = svid or last
    return TektonResults(
        faults=tuple(dict.fromkeys(faults)),
        values=values,
        unbound=_unbound(values, {result.name: result.type for result in run.results}) if values else (),
        spiffe_id="" if last is None else str(last.spiffe_id),
        expires=None if last is None else last.certificate.not_valid_after_utc,
    )


def _signed_parts(message: StepMessage) -> Iterator[_Signed]:
    """Yield what each reading of results wrote into a message: the signature of its manifest is the last.

    A Step with results of its own reads twice: the Task's results, then its own, which the second manifest
    does not name. A key that comes twice, or after the last signature, makes a part that has no manifest.
    """
    part = _Signed({}, {})
    for key, value in message.entries:
        place = part.keys if is_signature_key(key) else part.values
        if key in place:
            yield part
            part = _Signed({}, {})
            place = part.keys if is_signature_key(key) else part.values
        place[key] = value
        if key == MANIFEST + SIGNATURE_SUFFIX:
            yield part
            part = _Signed({}, {})
    if part.values or part.keys:
        yield part


def _verify_part(
    part: _Signed, signer: _Signer, message: StepMessage
) -> tuple[list[Fault], dict[str, str], VerifiedSvid | None]:
    """Return the faults of what one reading wrote, the values that verify, and who signed them."""
    container = message.container
    if missing := [key for key in (SVID, MANIFEST, MANIFEST + SIGNATURE_SUFFIX) if key not in part.keys]:
        names = _names(part.values) if part.values else "no results"
        return [_unsigned(container, f"{missing[0]} is missing beside {names}")], {}, None
    try:
        svid = signer.svid(part.keys[SVID], message.at)
    except SignatureError as error:
        return [_certificate_fault(error)], {}, None
    try:
        signer.check(svid, part.keys[MANIFEST + SIGNATURE_SUFFIX], part.keys[MANIFEST])
    except SignatureError as error:
        return [_fault(error, container, "the list of results")], {}, None
    listed = dict.fromkeys(manifest_names(part.keys[MANIFEST]))
    lost = [name for name in listed if name not in part.values]
    faults = [_listed_fault(name, container) for name in lost[:_LOST]]
    faults += [
        Fault(
            reason=Reason.UNDECLARED,
            message=f"a signature of {_name(key)} is in the message of container {_name(container)}, and no "
            f"such result",
        )
        for key in part.keys
        if key not in (SVID, MANIFEST, MANIFEST + SIGNATURE_SUFFIX)
        and key.removesuffix(SIGNATURE_SUFFIX) not in part.values
    ]
    verified = {}
    for name, value in part.values.items():
        if name not in listed:
            faults.append(
                Fault(
                    reason=Reason.FORGED_RESULT,
                    message=f"result {_name(name)} is in the message of container {_name(container)}, and "
                    f"not in the signed list of its results",
                    result=name,
                )
            )
            continue
        try:
            signer.check(svid, part.keys.get(name + SIGNATURE_SUFFIX, ""), signed_text(value))
        except SignatureError as error:
            faults.append(_fault(error, container, f"result {_name(name)}", result=name))
        else:
            verified[name] = value
    return faults, verified, svid


def _der(pem: str) -> bytes:
    """Return the one certificate in a PEM text; raises `SignatureError` if it is not exactly one."""
    if len(pem) > MAX_CERTIFICATE_BYTES or pem.count(_PEM) != 1 or not pem.startswith(_PEM):
        raise refusal(Reason.INVALID_CERTIFICATE, f"{SVID} is not one certificate in PEM")
    try:
        return x509.load_pem_x509_certificate(pem.encode()).public_bytes(Encoding.DER)
    except UNREADABLE as error:
        raise refusal(Reason.INVALID_CERTIFICATE, f"{SVID} cannot be read: {shown(str(error))}") from None


def _fault(error: SignatureError, container: str, what: str, *, result: str | None = None) -> Fault:
    return Fault(
        reason=Reason(error.reason),
        message=f"{what} in the message of container {_name(container)}: {error.message}",
        result=result,
    )


def _certificate_fault(error: SignatureError) -> Fault:
    """Return the fault of a certificate, with the same text for all messages that contain it."""
    why = error.message
    if error.reason == Reason.UNTRUSTED_CERTIFICATE:
        why += "; Tekton's format leaves intermediate certificates out, so the bundle must have the issuer"
    return Fault(reason=Reason(error.reason), message=f"the entrypoint's certificate does not count: {why}")


def _unsigned(container: str, why: str) -> Fault:
    return Fault(
        reason=Reason.NO_SIGNATURE,
        message=f"the entrypoint of container {_name(container)} signed no results: {why}",
    )


def _listed_fault(name: str, container: str) -> Fault:
    return Fault(
        reason=Reason.LOST_RESULT,
        message=f"result {_name(name)} is in the signed list of container {_name(container)}, and its value "
        f"is not in the message",
        result=name,
    )


def _unbound(values: Mapping[str, str], types: Mapping[str, ResultType]) -> tuple[str, ...]:
    """Return what stays open about verified values, a phrase each."""
    phrases = [
        "which pod and attempt, and which run of this name, signed",
        "that the Steps did not sign values of their own making: each can reach the agent",
        "that no Step's message is missing",
    ]
    if len(values) > 1:
        phrases.append(f"which value belongs to which name: {_names(values)}")
    if mixed := [name for name, value in values.items() if _is_ambiguous(value, types.get(name, "string"))]:
        phrases.append(f"where the items of an array or object begin and end: {_names(mixed)}")
    if strings := [name for name in values if types.get(name, "string") == "string"]:
        phrases.append(f"whether a string is written as JSON: {_names(strings)}")
    return tuple(phrases)


def _is_ambiguous(value: str, declared: ResultType) -> bool:
    """Return whether another array, or object, has the same signature as this one.

    Items are joined with commas, so one item may as well be several. Without any comma, an array has one
    item, or is empty or has one empty item; with a single one, an object has one key and one value.
    """
    text = signed_text(value)
    commas = text.count(",")
    if declared == "array":
        return commas > 0 or not text
    return declared == "object" and commas > 1


def _names(names: Iterable[str]) -> str:
    return format_names([shown(name)[1:-1] for name in names])


def _name(name: str) -> str:
    """Return a foreign name as messages repeat it."""
    return f'"{shown(name)[1:-1]}"'
