"""`signed` signs the status that ends a run, as far as the object has room, or says that it could not."""

import copy
from datetime import UTC, datetime, timedelta

import pytest
from signed_pods_harness import new_core, read
from signing_harness import AT, DOMAIN, RUN, Signed, bundle
from verdict_harness import CONTROLLER, RIGHT, SIGNED_AT, WRONG, reasons, signer, taskrun, verify

from resultsfw import CollectionOutcome
from resultsfw.errors import InputError, UnavailableError
from resultsfw.limits import OBJECT_BYTES, OBJECT_CAPACITY, object_size
from resultsfw.signatures import verify_taskrun
from resultsfw.signatures.tekton_status import status_hash
from resultsfw.testing.signing_ca import ca_template, new_authority
from resultsfw.testing.workload_api import WorkloadApi, served_svid
from resultsfw_extensions._signed_verdict import attest

VERDICT, ENVELOPE = "resultsfw.dev/verdict", "resultsfw.dev/envelope"
TEKTON = {"tekton.dev/status-hash", "tekton.dev/status-hash-sig", "tekton.dev/controller-svid"}


def outcome(verification=RIGHT, envelope=None):
    return CollectionOutcome(
        envelope=Signed().envelope() if envelope is None else envelope, verification=verification
    )


def attested(obj=None, collected=None, by=None, at=SIGNED_AT):
    obj = obj or taskrun()
    return attest(RUN, obj["status"], obj, collected or outcome(), by or signer(), at=at)


def sized(size):
    """A TaskRun whose object has so many bytes."""
    obj = taskrun()
    obj["spec"]["filler"] = ""
    obj["spec"]["filler"] = "x" * (size - object_size(obj))
    return obj


def with_annotations(obj, annotations):
    obj = copy.deepcopy(obj)
    obj["status"]["annotations"] = annotations
    return obj


@pytest.fixture
def now():
    return datetime.now(UTC)


@pytest.fixture
def identity(now):
    """A controller's identity that is valid now, and its authority."""
    issuer = new_authority(DOMAIN, at=now)
    return served_svid(str(CONTROLLER), issuer.issue_svid(str(CONTROLLER), at=now), issuer), issuer


def test_the_controllers_own_identity_signs(identity):
    svid, issuer = identity
    obj = taskrun()
    with WorkloadApi(svids=[svid]) as api, new_core(api, read()) as core:
        annotations = core.attest_status(RUN, obj["status"], obj=obj, collected=outcome(envelope=""))
        assert new_core(api, read(), policy="off").attest_status(RUN, obj["status"]) == {}
    assert set(annotations) == TEKTON | {VERDICT}
    verified = verify_taskrun(with_annotations(obj, annotations), bundle(issuer))
    assert verified.ok
    assert verified.signer == str(CONTROLLER)


def test_a_pod_whose_signature_did_not_verify_is_not_named_as_the_signer():
    obj = taskrun(WRONG)
    verified = verify_taskrun(with_annotations(obj, attested(obj, outcome(WRONG))), bundle())
    assert (verified.signer, verified.pod) == (str(CONTROLLER), "")


def test_an_agent_that_is_away_is_a_temporary_failure(tmp_path):
    class Away:
        address = f"unix://{tmp_path}/agent.sock"

    with new_core(Away, read()) as core, pytest.raises(UnavailableError, match="Workload API"):
        core.attest_status(RUN, taskrun()["status"])


def test_an_expired_certificate_does_not_sign():
    with pytest.raises(UnavailableError, match="check that SPIRE's agent runs"):
        attested(by=signer(at=AT - timedelta(hours=3)))


def test_tekton_verifies_the_same_status():
    obj = taskrun()
    annotations = attested(obj)
    assert annotations["tekton.dev/status-hash"] == status_hash(obj)
    assert annotations["tekton.dev/controller-svid"].startswith("-----BEGIN CERTIFICATE-----\n")
    assert "tekton.dev/spire-verified" not in annotations
    assert attested(taskrun(WRONG), outcome(WRONG))["tekton.dev/spire-verified"] == "no"


def test_a_status_whose_hash_tekton_alone_can_compute_has_no_annotation_of_tekton():
    obj = taskrun()
    obj["status"]["taskSpec"] = {"steps": [{"computeResources": {"limits": {"cpu": "1e3"}}}]}
    annotations = attested(obj, outcome(envelope=""))
    assert set(annotations) == {VERDICT}
    assert verify(with_annotations(obj, annotations)).ok


def test_a_large_envelope_of_a_pod_is_left_out():
    assert ENVELOPE in attested()
    assert ENVELOPE not in attested(collected=outcome(envelope="x" * 8193))


@pytest.mark.parametrize(
    ("left", "missing"),
    [(16_384, set()), (9_000, {ENVELOPE}), (7_500, {ENVELOPE}), (6_400, TEKTON | {ENVELOPE})],
)
def test_the_signature_takes_the_room_that_the_object_has(left, missing):
    obj = sized(OBJECT_BYTES - left)
    annotations = attested(obj)
    stored = with_annotations(obj, annotations)
    assert set(annotations) == (TEKTON | {VERDICT, ENVELOPE}) - missing
    assert object_size(stored) <= OBJECT_BYTES - 4096
    assert verify(stored).ok


def test_results_are_part_of_the_status_where_they_are_not_listed():
    obj = sized(OBJECT_CAPACITY)
    obj["status"]["results"] = [
        {"name": f"result-{number}", "type": "string", "value": "x"} for number in range(300)
    ]
    obj["spec"]["filler"] = obj["spec"]["filler"][: -(object_size(obj) - OBJECT_CAPACITY)]
    assert object_size(obj) == OBJECT_CAPACITY
    stored = with_annotations(obj, attested(obj, outcome(envelope="")))
    assert object_size(stored) <= OBJECT_BYTES - 4096
    assert verify(stored).ok
    stored["status"]["results"][7]["value"] = "y"
    verified = verify(stored)
    assert "WrongStatus" in reasons(verified)
    assert "does not list its results" in verified.faults[0].message
    assert {result.state for result in verified.results} == {"unsigned"}


def test_an_object_without_room_has_no_signature():
    with pytest.raises(InputError, match="bytes left for a signature"):
        attested(sized(OBJECT_BYTES - 5000))


def test_certificates_of_three_levels_fit_into_the_headroom():
    issuer = new_authority(DOMAIN, at=AT)
    for serial in "23":
        issuer = issuer.subordinate(ca_template(DOMAIN, at=AT, serial_number=serial))
    annotations = attested(sized(OBJECT_CAPACITY), outcome(envelope=""), by=signer(issuer=issuer))
    assert TEKTON | {VERDICT} == set(annotations)
