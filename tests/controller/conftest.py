"""A cluster without nodes, and whoever works on it."""

import sys
from pathlib import Path

import pytest

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parent))

from controllerroom import Room


@pytest.fixture
def room(tmp_path):
    one = Room(tmp_path)
    yield one
    one.close()
