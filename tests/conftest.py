"""Fixtures of all tests: the captures.

A test that takes ``capture`` runs once for each of them; one that wants only some says
``@pytest.mark.parametrize("capture", ["sl-basic"], indirect=True)``.
"""

import sys
from pathlib import Path

import pytest

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parent))

import captures
from pluginsite import Site


@pytest.fixture
def capture(request):
    """A capture, a fresh copy."""
    return captures.load(request.param)


@pytest.fixture
def site(tmp_path):
    """A folder for distributions."""
    folder = tmp_path / "site"
    folder.mkdir()
    return Site(folder)


def pytest_generate_tests(metafunc):
    """All captures, for a test that does not choose."""
    chosen = any("capture" in mark.args[0] for mark in metafunc.definition.iter_markers("parametrize"))
    if "capture" in metafunc.fixturenames and not chosen:
        metafunc.parametrize("capture", captures.names(), indirect=True)
