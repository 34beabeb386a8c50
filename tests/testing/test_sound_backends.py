"""Sound backends pass: by a log, with an object of their own, by reference in a folder."""

import pytest
from sample_backends import Kept, Owned, Store, template

from resultsfw.testing import BackendSuite, Folder

pytestmark = pytest.mark.slow


class TestTemplate(BackendSuite):
    """As it stands in the package."""

    backend = template


class TestOwned(BackendSuite):
    backend = Owned


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("kept")


class TestKept(BackendSuite):
    backend = Kept

    @pytest.fixture(scope="class")
    @classmethod
    def backend_config(cls, folder):
        return {"folder": str(folder)}

    @pytest.fixture(scope="class")
    @classmethod
    def backend_external_state(cls, folder):
        return Folder(folder)

    @pytest.fixture(scope="class")
    @classmethod
    def backend_store_faults(cls, folder):
        return Store(folder).faults
