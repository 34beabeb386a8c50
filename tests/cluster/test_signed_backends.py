"""Signed results through the backends that `test_signed` leaves out, with a real SPIRE."""

import os
import sys
from pathlib import Path

import pytest
import yaml
from results_servers import ADDRESS, AUDIENCE
from rights import bind_pods, install
from s3_store import HOST, create_secret, options_of
from signing_runs import NET_IMAGE, check_verified, results, start, written

from resultsfw.tekton.api.kinds import TASKRUNS

sys.path += [str(Path(__file__).parents[1] / name) for name in ("oci", "encryption")]

from operatorkeys import add_key
from registryserver import RegistryServer

LARGE = """
printf '["a,b","c"]' > $(results.images.path)
head -c 200000 /dev/zero | tr '\\0' x > $(results.digest.path)
"""
"""A result that is stored, and a small one."""

needs_address = pytest.mark.skipif(not ADDRESS, reason="RESULTSFW_NODE_ADDRESS is not set")
needs_forwarder = pytest.mark.skipif(
    "RESULTSFW_API_FORWARD" not in os.environ, reason="RESULTSFW_API_FORWARD is not set"
)


def check_values(place):
    run = place.until_done(180)["run"]
    check_verified(run)
    assert results(run) == {"digest": "sha256:0123", "images": ["a,b", "c"]}


def check_references(place):
    run = place.until_done(180)["run"]
    assert check_verified(run).startswith("2 results verified")
    assert results(run)["digest"]["size"] == "200000"


@needs_forwarder
@pytest.mark.parametrize("backend", ["custom-resource", "self-update"])
def test_what_an_admission_policy_lets_a_pod_write_is_signed(place, spire, backend):
    install(place.server, backend)
    if backend == "self-update":
        bind_pods(place)
    start(place, spire, backend=backend, flags={f"config.{backend}": f"image: {NET_IMAGE}"})
    place.server.create(TASKRUNS, written(place, "run"))
    check_values(place)


@needs_address
def test_what_is_delivered_to_the_results_server_is_signed(place, spire, accounts, results_server, tmp_path):
    reader = tmp_path / "reader"
    reader.write_text(accounts.token("controller", {"audiences": [AUDIENCE]}))
    reader.chmod(0o644)
    config = {
        "url": f"https://{ADDRESS}:{results_server.port}",
        "ca": results_server.ca.cert_pem.bytes().decode(),
        "token-file": str(reader),
    }
    start(place, spire, backend="http", flags={"config.http": yaml.safe_dump(config)})
    place.server.create(TASKRUNS, written(place, "run"))
    check_values(place)
    place.until(lambda: not results_server.kept(), 60)


@needs_address
def test_what_is_in_a_container_registry_is_signed(held, spire):
    registry = RegistryServer(listen=ADDRESS)
    try:
        config = {"repository": f"{registry.host}/results", "plain-http": True}
        start(held, spire, backend="oci", flags={"config.oci": yaml.safe_dump(config)})
        held.server.create(TASKRUNS, written(held, "run", LARGE))
        check_references(held)
    finally:
        registry.close()


@pytest.mark.skipif(not HOST, reason="RESULTSFW_S3_HOST is not set")
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_what_is_in_a_bucket_is_signed(held, spire, s3, tmp_path, encrypted):
    config = options_of(s3)
    if encrypted:
        tmp_path.chmod(0o755)
        add_key(tmp_path, "2026-05")
        config["encryption"] = {"options": {"folder": str(tmp_path)}}
    create_secret(held, s3)
    start(held, spire, backend="object-store", flags={"config.object-store": yaml.safe_dump(config)})
    held.server.create(TASKRUNS, written(held, "run", LARGE))
    run = held.until_done(180)["run"]
    check_verified(run)
    assert ("encryption" in results(run)["digest"]) is encrypted
