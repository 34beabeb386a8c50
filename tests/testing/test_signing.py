"""Results are signed and verified by reference, and through a stranger's backend."""

import json

import pytest
from sample_backends import template

from resultsfw.testing.compliance import chosen
from resultsfw.testing.extension_verification import VerificationCases
from resultsfw.testing.signing import SigningSuite
from resultsfw.testing.signing_ca import new_authority
from resultsfw.testing.workload_api import WorkloadApi, served_svid

pytestmark = pytest.mark.slow


class TestPvc(SigningSuite):
    """The results sidecar signs; of the suite's values some are in its log, the others on the claim."""

    backend = "pvc"
    test_signed_plain_pod = None  # the template has it

    @pytest.fixture(scope="class")
    @classmethod
    def backend_claims(cls, tmp_path_factory):
        return tmp_path_factory.mktemp("claims")

    @pytest.fixture(scope="class")
    @classmethod
    def backend_config(cls, backend_claims):
        folder = backend_claims / "default/results"
        folder.mkdir(parents=True)
        return {"inline-bytes": 24, "folder": str(folder)}


class TestTemplate(SigningSuite):
    """What `resultsfw new-backend` writes: a signer of its own, and no line of the backend's."""

    backend = template


class TestExtension(VerificationCases):
    """The extension itself believes nothing unsigned, whatever stands in place of an envelope."""

    extension = "signed"

    @pytest.fixture(scope="class")
    @classmethod
    def extension_config(cls):
        name, root = "spiffe://example.org/controller", new_authority("example.org")
        with WorkloadApi(svids=[served_svid(name, root.issue_svid(name), root)]) as api:
            yield {"trust-domain": "example.org", "policy": "mark", "controller-socket": api.address}


def test_the_suite_for_installed_backends_has_their_signed_results_where_results_are_signed(tmp_path):
    flags = {"results-from": "sidecar-logs", "extensions": "signed", "config.signed": "trust-domain: a.org"}
    file = tmp_path / "flags.yaml"
    file.write_text(json.dumps({"kind": "ConfigMap", "data": flags}))
    assert chosen(str(file)) == ({"sidecar-logs": {}}, True)
    del flags["extensions"]
    file.write_text(json.dumps({"kind": "ConfigMap", "data": flags}))
    assert chosen(str(file)) == ({"sidecar-logs": {}}, False)
