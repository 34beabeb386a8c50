"""Sign the status that ends a run with the controller's identity, as annotations of that status."""

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Final

from resultsfw import CollectionOutcome, Object, Run
from resultsfw.errors import InputError, SignatureError, UnavailableError
from resultsfw.limits import OBJECT_BYTES, OBJECT_HEADROOM, object_size
from resultsfw.signatures import (
    Signer,
    Verdict,
    format_verdict,
    load_certificate,
    make_verdict,
    parse_envelope,
    sign_verdict,
)
from resultsfw.signatures.certificates import svid_identity
from resultsfw.signatures.tekton_annotations import NOT_VERIFIED, VERIFIED, make_tekton_annotations
from resultsfw.signatures.verdict import ENVELOPE_ANNOTATION, ENVELOPE_BYTES, VERDICT_ANNOTATION

__all__ = ["attest"]

log = logging.getLogger(__name__)

_SERVER_BYTES: Final = OBJECT_HEADROOM // 4
"""Bytes of an object that stay free for what the API server adds."""


def attest(
    run: Run,
    status: Object,
    obj: Object,
    collected: CollectionOutcome,
    signer: Signer,
    *,
    at: datetime,
) -> dict[str, str]:
    """Return the annotations of a status: our verdict and Tekton's, and the pod's envelope if it is small.

    Args:
        run: The run.
        status: The status that ends it, as it will be stored.
        obj: The object with the status before.
        collected: The outcome that is in the status.
        signer: The controller's identity.
        at: The time.

    Raises:
        UnavailableError: The controller's certificate has expired, since its agent is away.
        InputError: The object has no room for them, or the signer has no key that can sign.
    """
    ends = load_certificate(signer.chain[0]).not_valid_after_utc
    if ends <= at:
        raise UnavailableError(
            f"the certificate of {signer.spiffe_id} expired at {ends:%Y-%m-%dT%H:%M:%SZ} and the SPIFFE "
            f"Workload API has sent no newer one: check that SPIRE's agent runs",
            subject=signer.spiffe_id,
        )
    verification = collected.verification
    verified = verification is not None and verification.status == "True"
    pod = _pod_identity(collected.envelope) if verified and collected.envelope else ""
    verdict = make_verdict(run, status, at=at, pod=pod, envelope=collected.envelope)
    tekton = _tekton_annotations({**obj, "status": status}, signer)
    if verification is not None and not verified:
        tekton[VERIFIED] = NOT_VERIFIED
    room = OBJECT_BYTES - _SERVER_BYTES - object_size({**obj, "status": {**status, "annotations": {}}})
    for annotations in _smaller_and_smaller(verdict, collected.envelope, tekton, signer):
        if object_size(annotations) <= room:
            return annotations
    raise InputError(
        f"the object has only {room} bytes left for a signature over its status: shorten the certificates of "
        f"{signer.spiffe_id}, such as by elliptic curves in place of RSA",
        subject=signer.spiffe_id,
    )


def _smaller_and_smaller(
    verdict: Verdict, envelope: str, tekton: Mapping[str, str], signer: Signer
) -> Iterator[dict[str, str]]:
    """Yield the annotations, each time with less: without the envelope, a list of results, Tekton's."""
    full = {**tekton, VERDICT_ANNOTATION: sign_verdict(format_verdict(verdict), signer)}
    if 0 < len(envelope) <= ENVELOPE_BYTES:
        yield {**full, ENVELOPE_ANNOTATION: envelope}
    yield full
    short = sign_verdict(format_verdict(verdict, list_results=False), signer)
    yield {**tekton, VERDICT_ANNOTATION: short}
    yield {VERDICT_ANNOTATION: short}


def _pod_identity(envelope: str) -> str:
    """Return the SPIFFE ID in the certificate of an envelope that was verified."""
    try:
        certificate = load_certificate(parse_envelope(envelope, limit=len(envelope)).certificate)
        return str(svid_identity(certificate))
    except (SignatureError, ValueError):
        return ""  # what verified has other signatures than this envelope


def _tekton_annotations(taskrun: Object, signer: Signer) -> dict[str, str]:
    """Return Tekton's annotations; none if its hash of this status cannot be computed."""
    try:
        return make_tekton_annotations(taskrun, signer)
    except InputError as error:
        log.info("Tekton's annotations are left out: %s", error.message)
        return {}
