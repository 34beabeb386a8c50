"""The suite for all backends, on a registry that checks what it is sent."""

from functools import partial
from typing import ClassVar

import pytest
from registryserver import RegistryServer, StoredValues
from shared_reader import SharedReader

from resultsfw.testing import BackendSuite

pytestmark = pytest.mark.slow


@pytest.fixture(scope="class")
def used_registry():
    registry = RegistryServer()
    yield registry
    registry.close()


@pytest.fixture(scope="class")
def backend_config(request, used_registry):
    return {
        "repository": f"{used_registry.host}/results",
        "plain-http": True,
        "patience": 1,
        **request.cls.config,
    }


@pytest.fixture(scope="class")
def backend_external_state(used_registry):
    return StoredValues(used_registry)


@pytest.fixture(scope="class")
def backend_store_faults(used_registry):
    return {fault: partial(used_registry.fault, fault) for fault in ("down", "slow", "full")}


class TestOci(SharedReader, BackendSuite):
    """Some of the suite's values stay in the log, the others are pushed; records are object-store's."""

    backend = "oci"
    config: ClassVar = {"inline-bytes": 16}
