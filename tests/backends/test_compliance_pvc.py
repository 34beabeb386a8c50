"""pvc passes the suite that a stranger's backend must pass; the claim is mounted where values are read."""

import pytest
from shared_reader import SharedReader

from resultsfw.testing import BackendSuite, Folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="class")
def backend_claims(tmp_path_factory):
    return tmp_path_factory.mktemp("claims")


@pytest.fixture(scope="class")
def folder(backend_claims):
    claim = backend_claims / "default/results"
    claim.mkdir(parents=True)
    return claim


@pytest.fixture(scope="class")
def backend_config(folder):
    return {"inline-bytes": 16, "folder": str(folder)}


@pytest.fixture(scope="class")
def backend_external_state(folder):
    return Folder(folder)


class TestPvc(SharedReader, BackendSuite):
    """Some of the suite's values stay in the log, the others are stored; records are object-store's."""

    backend = "pvc"
