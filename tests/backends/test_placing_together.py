"""A run that is given values of several backends gets the files of each."""

import pytest

from resultsfw import Reference, ResultsManager, Run, Step
from resultsfw.errors import BackendError
from resultsfw.local.store import Store
from resultsfw_backends._claim import CLAIMS

RUN = Run(namespace="team", name="run", uid="u1", steps=(Step(name="s", container="step-s"),))
POD = {
    "metadata": {"name": "run-pod", "namespace": "team"},
    "spec": {"containers": [{"name": "step-s", "image": "i"}]},
}
MOUNT = {"name": "files", "mountPath": "/files"}


def reference(backend, root, name):
    return Reference(backend=backend, location=f"{root}/team/u0/{name}", size=7, digest=f"sha256:{'b' * 64}")


def test_each_backend_has_an_init_container_of_its_own(tmp_path):
    """Two had the same name, and the API server refused the pod."""
    store = f"file://{tmp_path}"
    core = ResultsManager.from_flags(
        {
            "results-from": "object-store",
            "allowed-results-from": "object-store,oci,pvc",
            "config.object-store": f"url: {store}",
            "config.oci": "repository: registry.example.com/results",
            "config.pvc": "claim: results",
        }
    )
    files = {
        "/files/a": reference("object-store", store, "b" * 64),
        "/files/b": reference("oci", "oci://registry.example.com/results", f"own+sha256:{'a' * 64}"),
        "/files/c": reference("pvc", "pvc://results", f"{'b' * 64}.0"),
    }
    with pytest.raises(BackendError, match="give place_files the cluster"):
        core.place_files(RUN, POD, files, MOUNT)
    cluster = Store()
    claim = {"metadata": {"name": "results", "namespace": "team"}, "spec": {"accessModes": ["ReadWriteMany"]}}
    cluster.create(CLAIMS, claim)
    pod = core.place_files(RUN, POD, files, MOUNT, cluster=cluster)
    names = [container["name"] for container in pod["spec"]["initContainers"]]
    assert names == ["fetch-results-object-store", "fetch-results-oci", "fetch-results-pvc"]
    assert "initContainers" not in POD["spec"]
