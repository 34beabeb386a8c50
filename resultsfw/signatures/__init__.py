"""Verify signed results: what a pod signed with its SPIFFE identity, and what arrived of it.

For the controller, the command line and embedders. Needs ``pip install 'resultsfw[signed]'``, and neither a
network nor a SPIRE agent::

    bundle = parse_bundles(Path("bundle.json").read_text(), trust_domain="example.org")["example.org"]
    verified = verify_results(run, pod_uid, extraction, bundle, at=finished_at)
    for fault in verified.faults:
        print(fault.reason, fault.message)

`verify_envelope` and `verify_svid` are its parts, for other statements. `verify_taskrun` verifies a TaskRun
that ended long ago, by the verdict that the controller signed.
"""

try:
    import cryptography
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        f"resultsfw.signatures needs {error.name}: pip install 'resultsfw[signed]'", name=error.name
    ) from error

from resultsfw.signatures.bundles import bundle_from_der, parse_bundles
from resultsfw.signatures.certificates import (
    TrustBundle,
    VerifiedSvid,
    load_certificate,
    verify_signature,
    verify_svid,
)
from resultsfw.signatures.checked_results import CheckedResult
from resultsfw.signatures.envelopes import Envelope, parse_envelope, verify_envelope
from resultsfw.signatures.reasons import Fault, Reason
from resultsfw.signatures.results import VerifiedResults, check, expected_subjects, verify_results
from resultsfw.signatures.signers import Signer
from resultsfw.signatures.spiffe_ids import SpiffeId, check_trust_domain, parse_spiffe_id, pod_identity
from resultsfw.signatures.statements import SignedResult, SignedStatement, parse_statement
from resultsfw.signatures.verdict import Verdict, format_verdict, make_verdict, sign_verdict
from resultsfw.signatures.verified_run import VerifiedRun, controller_identity, verify_taskrun

__all__ = [
    "CheckedResult",
    "Envelope",
    "Fault",
    "Reason",
    "SignedResult",
    "SignedStatement",
    "Signer",
    "SpiffeId",
    "TrustBundle",
    "Verdict",
    "VerifiedResults",
    "VerifiedRun",
    "VerifiedSvid",
    "bundle_from_der",
    "check",
    "check_trust_domain",
    "controller_identity",
    "expected_subjects",
    "format_verdict",
    "load_certificate",
    "make_verdict",
    "parse_bundles",
    "parse_envelope",
    "parse_spiffe_id",
    "parse_statement",
    "pod_identity",
    "sign_verdict",
    "verify_envelope",
    "verify_results",
    "verify_signature",
    "verify_svid",
    "verify_taskrun",
]

del cryptography
