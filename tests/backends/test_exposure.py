"""What the results sidecar alone is given stays with it, whichever backend adds it."""

import copy

import pytest
import yaml
from sidecarlogs import a_run

from resultsfw import ResultsManager
from resultsfw.errors import BackendError
from resultsfw.local.store import Store
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw_backends import config_map, http

BARE = {
    "metadata": {"name": "p", "namespace": "default"},
    "spec": {"containers": [{"name": "step-one", "args": ["-step_metadata_dir", "x"]}]},
}
OPTIONS = {
    "http": {"url": "https://server:1"},
    "config-map": {},
    "object-store": {"url": "s3://bucket/results", "options": {"region": "r"}, "secret": "store"},
}
VOLUMES = {"http": http._VOLUME, "config-map": config_map.VOLUME}


def prepared(backend, **spec):
    flags = {"results-from": backend, f"config.{backend}": yaml.safe_dump(OPTIONS[backend])}
    pod = copy.deepcopy(BARE)
    pod["spec"].update(copy.deepcopy(spec))
    return ResultsManager.from_flags(flags).prepare_pod(a_run("a"), pod, cluster=Store())


@pytest.mark.parametrize("field", ["shareProcessNamespace", "hostPID"])
@pytest.mark.parametrize("backend", OPTIONS)
def test_a_pod_whose_containers_share_processes_is_refused(backend, field):
    with pytest.raises(BackendError, match=f'the pod has "{field}: true"'):
        prepared(backend, **{field: True})
    assert prepared(backend, **{field: False})


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
@pytest.mark.parametrize("backend", VOLUMES)
def test_a_container_that_mounts_the_sidecars_volume_is_refused(backend, kind):
    mount = {"name": VOLUMES[backend], "mountPath": "/stolen"}
    spec = {"containers": BARE["spec"]["containers"], "initContainers": []}
    spec[kind] = [*spec[kind], {"name": "thief", "image": "i", "volumeMounts": [mount]}]
    with pytest.raises(BackendError, match=f'container "thief" mounts volume "{VOLUMES[backend]}"'):
        prepared(backend, **spec)


@pytest.mark.parametrize("backend", VOLUMES)
def test_only_the_sidecar_mounts_its_volume(backend):
    spec = prepared(backend)["spec"]
    mounting = {
        container["name"]
        for kind in ("initContainers", "containers")
        for container in spec[kind]
        for mount in container.get("volumeMounts") or ()
        if mount["name"] == VOLUMES[backend]
    }
    assert mounting == {RESULTS_SIDECAR}
    assert VOLUMES[backend].startswith("resultsfw-")  # the prefix that Tasks may not use


def test_a_volume_with_a_token_for_the_results_server_is_refused():
    source = {"serviceAccountToken": {"audience": "resultsfw-results", "path": "token"}}
    with pytest.raises(BackendError, match='volume "own" has a token for the audience "resultsfw-results"'):
        prepared("http", volumes=[{"name": "own", "projected": {"sources": [source]}}])
    other = {"serviceAccountToken": {"audience": "vault", "path": "token"}}
    assert prepared("http", volumes=[{"name": "own", "projected": {"sources": [other]}}])
