"""The extension `signed` keeps the contract of extensions, by the suite for their authors."""

import pytest

from resultsfw.testing import ExtensionSuite
from resultsfw.testing.signing_ca import new_authority
from resultsfw.testing.workload_api import WorkloadApi, served_svid

pytestmark = pytest.mark.slow

CONTROLLER = "spiffe://example.org/controller"


class TestSigned(ExtensionSuite):
    """No pod of the suite signs: its results count by the policy mark."""

    extension = "signed"

    @pytest.fixture(scope="class")
    @classmethod
    def extension_config(cls):
        authority = new_authority("example.org")
        svid = served_svid(CONTROLLER, authority.issue_svid(CONTROLLER), authority)
        with WorkloadApi(svids=[svid]) as api:
            yield {"trust-domain": "example.org", "policy": "mark", "controller-socket": api.address}
