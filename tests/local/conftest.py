"""Fixtures of the engine's tests: a store, and a kubelet that must leave nothing behind."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Test files are no packages: what they share is found here.
sys.path.insert(0, str(Path(__file__).parent))

from entrypoint_harness import EntrypointHarness
from localpods import processes_with

from resultsfw.local.kubelet import Kubelet
from resultsfw.local.store import Store


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def kubelet(store: Store, tmp_path: Path) -> Iterator[Kubelet]:
    """A kubelet; afterwards neither a process nor a folder of it is left."""
    with_folder = Kubelet(store, workdir=tmp_path / "work")
    yield with_folder
    with_folder.stop(grace_seconds=0.2)
    assert list((tmp_path / "work").iterdir()) == []
    assert processes_with(str(tmp_path)) == []


@pytest.fixture
def entrypoint(tmp_path: Path) -> EntrypointHarness:
    return EntrypointHarness(tmp_path)
