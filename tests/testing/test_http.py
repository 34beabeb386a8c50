"""The backend ``http`` passes the suite, with a results server for the engine."""

from urllib.parse import urlsplit

import pytest
import yaml
from faulty_proxy import FaultyProxy
from localserver import local_server

from resultsfw.testing import BackendSuite
from resultsfw.testing.folder import Folder
from resultsfw.testing.store_faults import StoreFaultCases

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def server_config(store):
    with local_server(store) as data:
        yield yaml.safe_load(data["config.http"])


@pytest.fixture(scope="module")
def backend_external_state(store):
    return Folder(store)


class TestHttp(BackendSuite):
    backend = "http"

    @pytest.fixture(scope="class")
    @classmethod
    def backend_config(cls, server_config):
        return server_config


class TestHttpFaults(StoreFaultCases):
    """The server cannot be reached, or does not answer."""

    backend = "http"
    test_store_fault_for_writers = None  # the sidecar tries for 20 s: tests/sidecar

    @pytest.fixture(scope="class")
    @classmethod
    def proxy(cls, server_config):
        with FaultyProxy(urlsplit(server_config["url"]).port) as proxy:
            yield proxy

    @pytest.fixture(scope="class")
    @classmethod
    def backend_config(cls, server_config, proxy):
        return {**server_config, "url": f"http://127.0.0.1:{proxy.port}", "timeout": 0.5}

    @pytest.fixture(scope="class")
    @classmethod
    def backend_store_faults(cls, proxy):
        return proxy.faults
