"""The sidecar encrypts whatever carries the value, and its reader gets the value back."""

import builtins
import json
import os
import sys
from pathlib import Path

import pytest

sys.path += [str(Path(__file__).parents[1] / name) for name in ("object_store", "oci")]

from ocipods import Sidecar, prepared
from ocipods import configured as oci_config
from places import Place
from registryserver import RegistryServer
from sidecars import Pod, Waits

from resultsfw import Reference, ResultsManager
from resultsfw.keys import open_keys
from resultsfw_sidecar import wire
from resultsfw_sidecar.program import run
from resultsfw_transports import claim
from resultsfw_transports.stored import ENV_SEALING

VALUE = b"readable " * 30_000


@pytest.fixture
def pod(tmp_path, keys):
    """A pod whose sidecar encrypts for the operator's key and stores into a folder."""
    made = Pod(tmp_path / "pod", Place(f"file://{tmp_path}/store", {}, {}), inline=0)
    key = open_keys("secret-file", {"folder": str(keys)}).sealing_key()
    sealing = {"id": key.id, "key": key.public_key, "owner": "default/run-uid"}
    made.variables[ENV_SEALING] = json.dumps(sealing)
    return made


def read(backend, options, keys, record):
    config = {**options, "encryption": {"options": {"folder": str(keys)}}}
    core = ResultsManager.from_flags({"results-from": backend, f"config.{backend}": json.dumps(config)})
    reference = Reference(
        backend=backend,
        location=record["location"],
        size=record["bytes"],
        digest=record["digest"],
        encryption=record["encryption"],
    )
    return b"".join(core.dereference(reference, None, namespace="default"))


def contents(folder):
    return [path.read_bytes() for path in folder.rglob("*") if path.is_file()]


def test_an_object_store_has_a_key_of_its_own_for_each_value(pod, tmp_path, keys, capfdbinary):
    for name in ("one", "same"):
        (pod.results / name).write_bytes(VALUE)
    (pod.results / "short").write_bytes("ä".encode())
    (pod.results / "empty").touch()
    records = pod.run(capfdbinary)
    assert records["empty"]["value"] == ""
    for name, value in (("one", VALUE), ("same", VALUE), ("short", "ä".encode())):
        assert records[name]["bytes"] == len(value)
        assert read("object-store", {"url": pod.place.url}, keys, records[name]) == value
    assert records["one"]["digest"] != records["same"]["digest"]
    stored = contents(tmp_path / "store")
    assert len(stored) == 3
    assert not [data for data in stored if b"readable" in data]


def test_a_claim_has_nothing_of_the_value(pod, tmp_path, keys, capfdbinary):
    folder = tmp_path / "claim/default/run-uid.0"
    folder.mkdir(parents=True)
    (pod.results / "big").write_bytes(VALUE)
    pod.variables |= {
        wire.ENV_TRANSPORT: "resultsfw_transports.claim",
        claim.ENV_FOLDER: str(folder),
        claim.ENV_LOCATION: "pvc://results/default/run-uid",
        claim.ENV_ATTEMPT: "0",
    }
    record = pod.run(capfdbinary)["big"]
    assert read("pvc", {"folder": str(tmp_path / "claim")}, keys, record) == VALUE
    [stored] = contents(tmp_path / "claim")
    assert b"readable" not in stored


def test_a_registry_has_nothing_of_the_value(tmp_path, keys, capfdbinary):
    registry = RegistryServer()
    try:
        options = {"repository": f"{registry.host}/results", "plain-http": True}
        config = oci_config(registry.host, encryption={"options": {"folder": str(keys)}})
        log, records = Sidecar(tmp_path / "t", prepared(config)).run(capfdbinary, a=VALUE)
        assert read("oci", options, keys, records["a"]) == VALUE
        [body] = [json.loads(body) for _, body in registry.manifests["results/default"].values()]
        blobs = registry.blobs["results/default"]
    finally:
        registry.close()
    [layer] = body["layers"]
    assert layer["mediaType"] == "application/vnd.resultsfw.result.value.v1.encrypted"
    assert not [data for data in (log, *blobs.values()) if b"readable" in data]


@pytest.mark.parametrize(
    ("value", "reason"), [(b"x" * 101, wire.TOO_LARGE), (b"x" * 70 + b"\xff", wire.NOT_UTF8)]
)
def test_limits_and_encoding_are_those_of_the_value(pod, tmp_path, capfdbinary, value, reason):
    pod.variables[wire.ENV_MAX_RESULT_SIZE] = "100"
    (pod.results / "wrong").write_bytes(value)
    (pod.results / "right").write_bytes(b"x" * 100)
    records = pod.run(capfdbinary)
    assert records["wrong"]["reason"] == reason
    assert records["right"]["bytes"] == 100
    assert len(contents(tmp_path / "store")) == 1


@pytest.mark.parametrize("sealing", ["", "{}", "[]", '{"id": "a", "key": "no key", "owner": "o"}', None])
def test_without_a_key_or_the_library_nothing_is_stored(pod, tmp_path, capfdbinary, monkeypatch, sealing):
    if sealing is None:  # an image without the library
        genuine = builtins.__import__

        def without(name, *rest):
            if name.startswith(("cryptography", "encryption")):
                raise ImportError("No module named 'cryptography'")
            return genuine(name, *rest)

        monkeypatch.delitem(sys.modules, "resultsfw_transports.encryption", raising=False)
        monkeypatch.setattr(builtins, "__import__", without)
    else:
        pod.variables[ENV_SEALING] = sealing
    (pod.results / "big").write_bytes(VALUE)
    variables = {os.fsencode(key): os.fsencode(value) for key, value in pod.variables.items()}
    run([os.fsencode(argument) for argument in pod.arguments()], variables, Waits())
    records = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [record["type"] for record in records] == ["error"]
    assert records[0]["reason"] == wire.BAD_ENVIRONMENT
    assert not contents(tmp_path / "store")
