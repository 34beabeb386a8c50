"""An authority, a Workload API, and a pod whose results are signed."""

import sys
from pathlib import Path

import pytest

from resultsfw.testing.signing_ca import new_authority
from resultsfw.testing.workload_api import WorkloadApi

sys.path.insert(0, str(Path(__file__).parent))  # for signedpods
from signedpods import DOMAIN, POD_ID, Pod


@pytest.fixture(scope="session")
def authority():
    return new_authority(DOMAIN)


@pytest.fixture(scope="session")
def credential(authority):
    return authority.issue_svid(POD_ID)


@pytest.fixture
def api():
    """A Workload API that has no identities yet."""
    with WorkloadApi() as running:
        yield running


@pytest.fixture
def pod(tmp_path):
    made = Pod(tmp_path / "tekton")
    yield made
    made.close()
