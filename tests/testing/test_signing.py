"""Results are signed and verified by reference, and through a stranger's backend."""

import importlib
import json
import sys

import pytest
from sample_backends import template

from resultsfw.testing.compliance import chosen
from resultsfw.testing.signing import SigningSuite

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


def test_the_suite_for_installed_backends_has_their_signed_results_where_results_are_signed(tmp_path):
    flags = {"results-from": "sidecar-logs", "extensions": "signed", "config.signed": "trust-domain: a.org"}
    file = tmp_path / "flags.yaml"
    file.write_text(json.dumps({"kind": "ConfigMap", "data": flags}))
    assert chosen(str(file)) == ({"sidecar-logs": {}}, True)
    del flags["extensions"]
    file.write_text(json.dumps({"kind": "ConfigMap", "data": flags}))
    assert chosen(str(file)) == ({"sidecar-logs": {}}, False)


@pytest.mark.parametrize(
    ("module", "library"),
    [("workload_api", "grpc"), ("workload_api", "spiffe._proto"), ("signing_ca", "cryptography")],
)
def test_without_the_libraries_the_error_says_what_to_install(module, library, monkeypatch):
    monkeypatch.delitem(sys.modules, f"resultsfw.testing.{module}")
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=r"pip install 'resultsfw\[signed\]'"):
        importlib.import_module(f"resultsfw.testing.{module}")
