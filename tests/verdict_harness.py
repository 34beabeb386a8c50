"""A TaskRun whose pod signed its results and whose controller signed its status."""

import copy
from datetime import timedelta
from functools import cache

from signing_harness import AT, DOMAIN, REFERENCE, RUN, SPEC, Signed, authority, bundle

from resultsfw import CollectionOutcome, Verification
from resultsfw.references import format_reference
from resultsfw.signatures import Signer, controller_identity, verify_taskrun
from resultsfw.status import VERIFIED
from resultsfw_extensions._signed_verdict import attest

CONTROLLER = controller_identity(DOMAIN)
SIGNED_AT = AT + timedelta(minutes=5)
RIGHT = Verification(status="True", reason="TaskRunResultsVerified", message="all of them")
WRONG = Verification(status="False", reason="TaskRunResultsVerificationFailed", message="not all of them")


def signer(spiffe_id=str(CONTROLLER), *, issuer=None, at=SIGNED_AT):
    credential = (issuer or authority()).issue_svid(spiffe_id, at=at)
    return Signer(spiffe_id, (credential.der, *credential.intermediates_der), credential.key)


def condition(kind, verification):
    return {
        "type": kind,
        "status": verification.status,
        "reason": verification.reason,
        "message": verification.message,
        "lastTransitionTime": "2026-06-01T12:04:00Z",
    }


def taskrun(verification=RIGHT):
    """The TaskRun, with its status and without a signature over it."""
    status = {
        "podName": "build-1-pod",
        "startTime": "2026-06-01T11:59:00Z",
        "completionTime": "2026-06-01T12:04:00Z",
        "conditions": [
            condition("Succeeded", Verification(status="True", reason="Succeeded", message="All")),
            condition(VERIFIED, verification),
        ],
        "results": [
            {"name": "digest", "type": "string", "value": "sha256:1"},
            {"name": "tags", "type": "array", "value": ["a", "b"]},
            {"name": "image", "type": "object", "value": {"url": "x"}},
            {"name": "log", "type": "string", "value": format_reference(REFERENCE)},
        ],
        "steps": [
            {
                "name": "build",
                "container": "step-build",
                "terminated": {"exitCode": 0, "finishedAt": "2026-06-01T12:03:00Z", "reason": "Completed"},
                "results": [{"name": "digest", "type": "string", "value": "sha256:2"}],
            }
        ],
        "taskSpec": SPEC,
        "retriesStatus": [{"podName": "build-1-pod-retry0"}],
    }
    return {
        "apiVersion": "tekton.dev/v1",
        "kind": "TaskRun",
        "metadata": {
            "namespace": RUN.namespace,
            "name": RUN.name,
            "uid": RUN.uid,
            "creationTimestamp": "2026-06-01T11:58:00Z",
        },
        "spec": {},
        "status": copy.deepcopy(status),
    }


@cache
def _signed():
    return _sign(taskrun(), RIGHT)


def signed(verification=RIGHT, *, envelope=None, by=None, run=RUN, obj=None, at=SIGNED_AT):
    """The TaskRun as its controller stored it."""
    if (verification, envelope, by, run, obj, at) == (RIGHT, None, None, RUN, None, SIGNED_AT):
        return copy.deepcopy(_signed())
    return _sign(obj or taskrun(verification), verification, envelope=envelope, by=by, run=run, at=at)


def _sign(obj, verification, *, envelope=None, by=None, run=RUN, at=SIGNED_AT):
    collected = CollectionOutcome(
        envelope=Signed().envelope() if envelope is None else envelope, verification=verification
    )
    made = attest(run, obj["status"], obj, collected, by or signer(), at=at)
    obj["status"]["annotations"] = made
    return obj


def verify(obj, *authorities, controller=CONTROLLER):
    return verify_taskrun(obj, bundle(*authorities), controller=controller)


def reasons(verified):
    return [str(fault.reason) for fault in verified.faults]
