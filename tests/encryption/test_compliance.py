"""The suite for all backends, with encryption: neither the store nor a log has a value in it."""

from typing import ClassVar

import pytest
from shared_reader import SharedReader

from resultsfw.testing import BackendSuite, Folder
from resultsfw.testing.tasks import VALUE_MARK

pytestmark = pytest.mark.slow


@pytest.fixture(scope="class")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    yield folder
    stored = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert stored
    assert not [content for content in stored if VALUE_MARK.encode() in content]


@pytest.fixture(scope="class")
def backend_config(request, store, keys):
    return {"url": f"file://{store}", "encryption": {"options": {"folder": str(keys)}}, **request.cls.config}


@pytest.fixture(scope="class")
def backend_external_state(store):
    return Folder(store)


class TestEncryptedObjectStore(SharedReader, BackendSuite):
    """Every value is stored."""

    backend = "object-store"
    config: ClassVar = {}

    def test_purge_leaves_other_attempts(self):
        pytest.skip("attempts share a folder, which is purged when the run is deleted")
