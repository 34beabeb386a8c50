"""Verify signed results as an embedder or an auditor does, with every name that it may need."""

from datetime import UTC, datetime
from pathlib import Path
from typing import assert_type

from resultsfw import Extraction, Run
from resultsfw.errors import SignatureError
from resultsfw.signatures import (
    Fault,
    Reason,
    SpiffeId,
    TrustBundle,
    bundle_from_der,
    parse_bundles,
    parse_envelope,
    pod_identity,
    verify_envelope,
    verify_results,
)

bundles = parse_bundles(Path("bundle.json").read_text(encoding="utf-8"), trust_domain="example.org")


def report(run: Run, pod_uid: str, extraction: Extraction, signed_at: datetime) -> None:
    """Print what does not verify, and who signed."""
    verified = verify_results(run, pod_uid, extraction, bundles["example.org"], at=signed_at)
    for fault in verified.faults:
        print(fault.reason, fault.result, fault.message)
    if verified.ok:
        print(f"{len(verified.results)} results, signed by {verified.spiffe_id}")


def signer_of(text: str, authorities: list[bytes]) -> str:
    """Return who signed any envelope of the trust domain, with what the Workload API delivered."""
    bundle: TrustBundle = bundle_from_der("example.org", authorities)
    try:
        svid = verify_envelope(parse_envelope(text, limit=65_536), bundle, at=datetime.now(UTC))
    except SignatureError as error:
        return f"nobody ({error.reason}): {error.message}"
    assert_type(svid.spiffe_id, SpiffeId)
    return str(svid.spiffe_id)


def is_about(fault: Fault, run: Run, pod_uid: str) -> bool:
    """Return whether another workload than the pod signed."""
    return (
        fault.reason is Reason.WRONG_IDENTITY
        and str(pod_identity("example.org", run, pod_uid)) in fault.message
    )
