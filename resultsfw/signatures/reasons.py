"""Define why a signature, a certificate or a signed result is not accepted."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from resultsfw.errors import SignatureError

__all__ = ["Fault", "Reason", "refusal", "shown"]

_SHOWN: Final = 200
"""Characters of a foreign text that a message repeats."""


class Reason(StrEnum):
    """Reason codes of faults and of `SignatureError`."""

    NO_SIGNATURE = "NoSignature"
    """There is no envelope: the pod has no signer, the signer had no identity, or something removed it."""
    MALFORMED_ENVELOPE = "MalformedEnvelope"
    """The envelope is not DSSE with one signature and its certificates, or it is too large."""
    MALFORMED_BUNDLE = "MalformedBundle"
    """A trust bundle cannot be read."""
    INVALID_CERTIFICATE = "InvalidCertificate"
    """The certificate is not an X509-SVID, or its key is too weak."""
    EXPIRED_CERTIFICATE = "ExpiredCertificate"
    """The certificate had expired at that time."""
    NOT_YET_VALID = "CertificateNotYetValid"
    """The certificate was not valid yet at that time."""
    UNTRUSTED_CERTIFICATE = "UntrustedCertificate"
    """No valid chain leads from the certificate to the trust bundle of the trust domain."""
    WRONG_IDENTITY = "WrongIdentity"
    """The certificate's SPIFFE ID is that of another workload."""
    BAD_SIGNATURE = "BadSignature"
    """The payload is not what the certificate's key signed."""
    MALFORMED_STATEMENT = "MalformedStatement"
    """What was signed is not a statement about results."""
    WRONG_RUN = "WrongRun"
    """The statement is about another run."""
    WRONG_ATTEMPT = "WrongAttempt"
    """The statement is about another attempt of the run."""
    WRONG_POD = "WrongPod"
    """The statement is about another pod."""
    WRONG_SPEC = "WrongSpec"
    """The statement is about another spec of the Task."""
    INCOMPLETE = "Incomplete"
    """The statement lacks a result that the Task declares."""
    UNDECLARED = "Undeclared"
    """The statement, or what arrived, has a result that the Task does not declare."""
    WRONG_DIGEST = "WrongDigest"
    """The value that arrived is not the value that was signed."""
    WRONG_TYPE = "WrongType"
    """The result was signed with another type than the declared one."""
    FORGED_RESULT = "ForgedResult"
    """A value arrived for a result that was signed as absent or refused."""
    LOST_RESULT = "LostResult"
    """A result was signed, and neither its value nor a problem about it arrived."""
    WRONG_STATUS = "WrongStatus"
    """The status of a run is not what its controller signed."""
    UNVERIFIED = "Unverified"
    """The controller signed that it did not verify the results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What does not verify.

    Attributes:
        reason: The kind.
        message: For people: what was signed, and what arrived. It never contains a value.
        result: The result's name, or `resultsfw.ARTIFACTS`; ``None`` if it is about all results.
        step: The Step that declares the result; ``None`` if the Task does.
    """

    reason: Reason
    message: str
    result: str | None = None
    step: str | None = None


def refusal(reason: Reason, message: str, *, subject: str = "") -> SignatureError:
    """Return the error of a signature that is not accepted."""
    return SignatureError(message, reason=reason, subject=subject)


def shown(text: str) -> str:
    """Return a foreign text as messages repeat it: quoted, escaped and shortened."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
