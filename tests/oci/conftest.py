"""Registries that the tests run on: one in this process, whose answers a test may choose, and a real one."""

import sys
from pathlib import Path

import pytest

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parent))

from registryserver import PROGRAM, RealRegistry, RegistryServer


@pytest.fixture
def make_registry():
    made = []

    def make(**options):
        made.append(registry := RegistryServer(**options))
        return registry

    yield make
    for registry in made:
        registry.close()


@pytest.fixture
def registry(make_registry):
    return make_registry()


@pytest.fixture(scope="session")
def real_registry(tmp_path_factory):
    if PROGRAM is None:
        pytest.skip("there is no program docker-registry here (Debian: apt-get install docker-registry)")
    started = RealRegistry(tmp_path_factory.mktemp("registry"))
    yield started
    started.close()


@pytest.fixture(params=["strict", pytest.param("real", marks=pytest.mark.slow)])
def any_registry(request):
    return request.getfixturevalue("registry" if request.param == "strict" else "real_registry")
