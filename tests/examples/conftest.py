"""What tests of the examples share with those of the controller: an API server on loopback."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parents[1] / "controller"))

from storeserver import ApiServer


@pytest.fixture
def api() -> Iterator[ApiServer]:
    server = ApiServer()
    yield server
    server.down()
