"""Tests on a real cluster: skipped by name unless RESULTSFW_KUBECONFIG says which.

The cluster needs Tekton's CRDs, the images named by the variables below, and no controller for runs with
``spec.managedBy: resultsfw.dev/controller`` (Tekton's own leaves those alone).
"""

import os
import uuid
from pathlib import Path

import pytest
from api import ApiServer

from resultsfw.tekton.pod import PodOptions


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)
            if "RESULTSFW_KUBECONFIG" not in os.environ:
                item.add_marker(pytest.mark.skip(reason="RESULTSFW_KUBECONFIG is not set"))


@pytest.fixture(scope="session")
def server() -> ApiServer:
    return ApiServer(Path(os.environ["RESULTSFW_KUBECONFIG"]))


@pytest.fixture(scope="session")
def options() -> PodOptions:
    return PodOptions(
        entrypoint_image=os.environ.get("RESULTSFW_ENTRYPOINT_IMAGE", "tekton/entrypoint:1"),
        shell_image=os.environ.get("RESULTSFW_SHELL_IMAGE", "busybox:1"),
        nop_image=os.environ.get("RESULTSFW_NOP_IMAGE", "tekton/nop:1"),
    )


@pytest.fixture
def name() -> str:
    """A name for a run that nobody else has."""
    return f"t-{uuid.uuid4().hex[:8]}"
