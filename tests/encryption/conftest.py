"""Keys of an operator, made once."""

import sys
from pathlib import Path

import pytest

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parent))

from operatorkeys import add_key


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    add_key(folder, "2026-05")
    return folder
