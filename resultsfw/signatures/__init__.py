"""Verify signed results: what a pod signed with its SPIFFE identity, and what arrived of it.

For the controller, the command line and embedders. Needs ``pip install 'resultsfw[signed]'``, and neither a
network nor a SPIRE agent::

    bundle = parse_bundles(Path("bundle.json").read_text(), trust_domain="example.org")["example.org"]
    verified = verify_results(run, pod_uid, extraction, bundle, at=finished_at)
    for fault in verified.faults:
        print(fault.reason, fault.message)

`verify_envelope` and `verify_svid` are the parts of it for other statements.
"""

try:
    import cryptography
except ImportError as error:  # pragma: no cover - the tests have it
    raise ImportError(
        f"resultsfw.signatures needs {error.name}: pip install 'resultsfw[signed]'", name=error.name
    ) from error

from resultsfw.signatures.bundles import bundle_from_der, parse_bundles
from resultsfw.signatures.certificates import TrustBundle, VerifiedSvid, load_certificate, verify_svid
from resultsfw.signatures.envelopes import Envelope, parse_envelope, verify_envelope
from resultsfw.signatures.keys import verify_signature
from resultsfw.signatures.reasons import Fault, Reason
from resultsfw.signatures.results import VerifiedResults, check, expected_subjects, verify_results
from resultsfw.signatures.spiffe_ids import SpiffeId, check_trust_domain, parse_spiffe_id, pod_identity
from resultsfw.signatures.statements import SignedResult, SignedStatement, parse_statement

__all__ = [
    "Envelope",
    "Fault",
    "Reason",
    "SignedResult",
    "SignedStatement",
    "SpiffeId",
    "TrustBundle",
    "VerifiedResults",
    "VerifiedSvid",
    "bundle_from_der",
    "check",
    "check_trust_domain",
    "expected_subjects",
    "load_certificate",
    "parse_bundles",
    "parse_envelope",
    "parse_spiffe_id",
    "parse_statement",
    "pod_identity",
    "verify_envelope",
    "verify_results",
    "verify_signature",
    "verify_svid",
]

del cryptography
