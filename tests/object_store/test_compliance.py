"""The suite for all backends, on a folder."""

from typing import ClassVar

import pytest

from resultsfw.testing import BackendSuite, Folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="class")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="class")
def backend_config(request, store):
    return {"url": f"file://{store}", **request.cls.config}


@pytest.fixture(scope="class")
def backend_external_state(store):
    return Folder(store)


@pytest.fixture(scope="class")
def backend_store_faults(store):
    return {"down": Folder(store).down}


class TestObjectStore(BackendSuite):
    """Some of the suite's values stay in the log, the others are stored."""

    backend = "object-store"
    config: ClassVar = {"inline-bytes": 16}
