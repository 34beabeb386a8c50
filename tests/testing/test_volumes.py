"""Backends whose sidecars write to a claim, or to a folder of the node, in the suite."""

# ruff: noqa: ARG002 - methods have the signatures of what they stand for

from dataclasses import replace

import pytest
from detection_harness import Outcomes
from sample_backends import Kept

from resultsfw import hookimpl
from resultsfw.testing import Folder
from resultsfw.testing.base import FinishedPods
from resultsfw.testing.harness import Harness

pytestmark = pytest.mark.slow

TESTS = ("test_restricted", "test_value[accents]", "test_whole_run", "test_purge")


class OnAClaim(Kept):
    """Its sidecar writes to the claim ``results``, which the controller has as a folder."""

    capabilities = replace(Kept.capabilities, volumes=("persistentVolumeClaim",))

    @hookimpl
    def prepare_pod(self, run, pod, limits, config):
        wire = super().prepare_pod(run, pod, limits, config)
        pod["spec"]["volumes"].append({"name": "kept", **self.source(config)})
        sidecar = pod["spec"]["initContainers"][-1]
        sidecar["volumeMounts"].append({"name": "kept", "mountPath": "/kept"})
        sidecar["command"][4] = f"/kept/{self.key(run)}"
        return wire

    def source(self, config):
        return {"persistentVolumeClaim": {"claimName": "results"}}


class OnTheNode(OnAClaim):
    """Its sidecar writes to a folder of the node."""

    capabilities = replace(Kept.capabilities, volumes=("hostPath",))

    def source(self, config):
        return {"hostPath": {"path": config.folder}}


class OnTheNodeInSecret(OnTheNode):
    """Its capabilities say nothing of it."""

    capabilities = Kept.capabilities


@pytest.mark.parametrize(
    ("backend", "failed"), [(OnAClaim, set()), (OnTheNode, set()), (OnTheNodeInSecret, {"test_restricted"})]
)
def test_volumes_that_the_capabilities_name_are_allowed(tmp_path, backend, failed):
    folder = tmp_path / "claims/default/results"
    folder.mkdir(parents=True)
    config = {"folder": str(folder)}
    outcomes = Outcomes()
    with Harness(backend, config, external_state=Folder(folder), claims=tmp_path / "claims") as harness:
        for name in failed or TESTS:
            outcomes.run(name, harness=harness, finished_pods=FinishedPods(harness))
    assert outcomes.failed.keys() == failed, outcomes.failed
    assert not outcomes.skipped
