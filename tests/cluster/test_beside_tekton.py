"""The same manifests under both controllers on one cluster: users see no difference."""

from pathlib import Path

import pytest
from compare import Comparison, manifests, start_controller

FOLDER = Path(__file__).parent / "manifests"
MANIFESTS = dict(manifests([FOLDER], "*"))


@pytest.fixture(scope="module")
def controller(server):
    place = start_controller(server)
    yield place
    place.close()


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_ends_as_under_tekton(server, controller, name):
    comparison = Comparison(server, controller.managed_by, {}, seconds=240)
    compared = comparison.compare(name, MANIFESTS[name])
    assert not compared.differences, "\n".join(compared.differences)
    assert compared.tekton.runs
    assert not compared.tekton.refused
