"""pvc passes the suite that a stranger's backend must pass; the claim is mounted where values are read."""

import pytest

from resultsfw.local import engine
from resultsfw.local.store import Store
from resultsfw.testing import BackendSuite, Folder, harness
from resultsfw_backends._claim import CLAIMS

pytestmark = pytest.mark.slow


class StoreWithClaim(Store):
    """A cluster whose namespace has the claim."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        metadata = {"name": "results", "namespace": "default"}
        self.create(CLAIMS, {"metadata": metadata, "spec": {"accessModes": ["ReadWriteMany"]}})


@pytest.fixture(scope="class")
def backend_claims(tmp_path_factory):
    return tmp_path_factory.mktemp("claims")


@pytest.fixture(scope="class")
def folder(backend_claims):
    folder = backend_claims / "default/results"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="class")
def backend_config(folder):
    with pytest.MonkeyPatch.context() as patch:
        for module in (engine, harness):
            patch.setattr(module, "Store", StoreWithClaim)
        yield {"inline-bytes": 16, "folder": str(folder)}


@pytest.fixture(scope="class")
def backend_external_state(folder):
    return Folder(folder)


class TestPvc(BackendSuite):
    """Some of the suite's values stay in the log, the others are stored."""

    backend = "pvc"
