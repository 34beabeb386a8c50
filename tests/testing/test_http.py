"""The backend ``http`` passes the suite, with a results server for the engine."""

import pytest
import yaml
from localserver import local_server

from resultsfw.testing import BackendSuite
from resultsfw.testing.folder import Folder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def backend_config(store):
    with local_server(store) as data:
        yield yaml.safe_load(data["config.http"])


@pytest.fixture(scope="module")
def backend_external_state(store):
    return Folder(store)


class TestHttp(BackendSuite):
    backend = "http"
