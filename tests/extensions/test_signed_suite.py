"""The extension `signed` keeps the contract of extensions, by the suite for their authors."""

import gc
import types

import pytest

from resultsfw.testing import ExtensionSuite
from resultsfw.testing.extension_samples import sample_run
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

    def test_state_does_not_grow(self, harness):
        """Counts objects, not bytes: CPython keeps some 200 small ones of times that it formatted."""
        harness.live(sample_run(600_000))
        before = objects_of(harness.extension.plugin)
        for number in range(20):
            harness.live(sample_run(600_001 + number))
        assert objects_of(harness.extension.plugin) <= before


def objects_of(plugin):
    """How many objects an instance keeps, those of its own threads aside."""
    found, rest = set(), [plugin._config, plugin._registration, plugin.identity]
    while rest:
        thing = rest.pop()
        shared = isinstance(thing, type | types.ModuleType | types.FunctionType | types.FrameType)
        if id(thing) not in found and not shared:
            found.add(id(thing))
            rest += gc.get_referents(thing)
    return len(found)
