"""Results are signed and verified by reference, and through a stranger's backend."""

import pytest
from sample_backends import template

from resultsfw.testing.signing import SigningSuite

pytestmark = pytest.mark.slow


class TestPvc(SigningSuite):
    """The results sidecar signs; of the suite's values some are in its log, the others on the claim."""

    backend = "pvc"

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
