"""Signed results through each built-in backend: the envelope arrives intact, and its content is right."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from signedruns import LocalIdentity, SignedRun

from resultsfw import ARTIFACTS, Reference
from resultsfw.signatures import Reason
from resultsfw_signing import statement
from resultsfw_signing.identity import IdentityError

sys.path.append(str(Path(__file__).parents[1] / "oci"))
sys.path.append(str(Path(__file__).parents[1] / "encryption"))
from operatorkeys import add_key
from registryserver import RegistryServer

COMPRESSED = {"compress": True}
STORING = {"inline-bytes": 16}
CASES = {
    "sidecar-logs": ("sidecar-logs", {}),
    "sidecar-logs, compressed": ("sidecar-logs", COMPRESSED),
    "http": ("http", {}),
    "http, compressed": ("http", COMPRESSED),
    "config-map": ("config-map", {}),
    "config-map, compressed": ("config-map", COMPRESSED),
    "custom-resource": ("custom-resource", {}),
    "custom-resource, compressed": ("custom-resource", COMPRESSED),
    "self-update": ("self-update", {}),
    "self-update, compressed": ("self-update", COMPRESSED),
    "object-store": ("object-store", {"url": "file://{store}", **STORING}),
    "object-store, encrypted": (
        "object-store",
        {"url": "file://{store}", "encryption": {"options": {"folder": "{keys}"}}},
    ),
    "pvc": ("pvc", {"folder": "{store}", **STORING}),
    "oci": ("oci", {"repository": "{registry}/results", "plain-http": True, **STORING}),
}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Values of the places in options."""
    keys = tmp_path_factory.mktemp("keys")
    add_key(keys, "2026-05")
    registry = RegistryServer()
    yield {"keys": str(keys), "registry": registry.host, "store": str(tmp_path_factory.mktemp("store"))}
    registry.close()


def filled(options, places):
    if isinstance(options, dict):
        return {name: filled(option, places) for name, option in options.items()}
    return options.format(**places) if isinstance(options, str) else options


@pytest.fixture(params=CASES)
def deliver(request, places, tmp_path, monkeypatch, capfdbinary):
    """Run the pod of a signed run through a backend; return the run."""

    def deliver():
        backend, options = CASES[request.param]
        run = SignedRun(backend, filled(options, places), tmp_path, monkeypatch, tekton=options == COMPRESSED)
        run.write()
        run.deliver(capfdbinary)
        return run

    return deliver


def test_the_signature_arrives_and_verifies_with_every_result(deliver):
    delivered = deliver()
    extraction = delivered.extract()
    (problem,) = extraction.problems
    assert problem.result == "binary"
    verified = delivered.verify(extraction)
    assert verified.faults == ()
    names = {(result.step, result.name) for result in verified.results}
    assert names == {
        *((None, name) for name in ("small", "list", "large", ARTIFACTS)),
        *(("one", name) for name in ("own", ARTIFACTS)),
    }
    references = [result.value for result in verified.results if isinstance(result.value, Reference)]
    assert bool(references) is (delivered.backend.capabilities.delivery == "reference")
    signed = ("RESULT_MANIFEST", "small", "list", "large")
    keys = {"SVID", "RESULT_MANIFEST", *(f"{name}.sig" for name in signed)}
    assert set(extraction.tekton_signatures) == (keys if delivered.tekton else set())


@pytest.mark.parametrize("deliver", ["sidecar-logs", "http", "self-update", "oci"], indirect=True)
def test_a_signer_that_cannot_sign_says_why_and_no_result_is_lost(deliver, monkeypatch):
    def without_identity(*_args):
        raise IdentityError(statement.FAULT_NO_IDENTITY, "none for this pod")

    monkeypatch.setattr(LocalIdentity, "certificate", without_identity)
    delivered = deliver()
    extraction = delivered.extract()
    assert (extraction.envelope, extraction.envelope_fault) == ("", "NoIdentity: none for this pod")
    assert {result.name for result in extraction.results} == {"small", "list", "large", "own", ARTIFACTS}
    (fault,) = delivered.verify(extraction).faults
    assert fault.reason is Reason.NO_SIGNATURE


@pytest.mark.parametrize("deliver", ["config-map"], indirect=True)
def test_an_envelope_of_another_attempt_does_not_verify(deliver):
    """What is stored outside the pod may be replayed; the statement is about one attempt of one pod."""
    delivered = deliver()
    extraction = delivered.extract()
    delivered.run = replace(delivered.run, attempt=1)
    (fault,) = delivered.verify(extraction).faults
    assert fault.reason is Reason.WRONG_ATTEMPT


@pytest.mark.parametrize(
    "deliver", ["http", "config-map, compressed", "custom-resource", "self-update, compressed"], indirect=True
)
def test_a_sidecar_that_is_started_again_delivers_the_same(deliver, capfdbinary):
    """Kubernetes restarts it after a minute, and a second delivery must not differ from the first."""
    delivered = deliver()
    first, message = delivered.extract(), delivered.message
    delivered.deliver(capfdbinary)
    assert (delivered.extract(), delivered.message) == (first, message)
