"""An API server, a simulated kubelet and controller processes."""

import sys
from pathlib import Path

import pytest

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parent))

from controllerharness import ControllerHarness

from resultsfw.images import REGISTRY_VARIABLE


@pytest.fixture(autouse=True)
def image_registry(monkeypatch):
    """The operator's registry has the images."""
    monkeypatch.setenv(REGISTRY_VARIABLE, "r.example/team")


@pytest.fixture
def harness(tmp_path):
    one = ControllerHarness(tmp_path)
    yield one
    one.close()
