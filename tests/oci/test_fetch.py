"""The program that places values as files, and a client of somebody else's that reads the same artifacts."""

import json
import os
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ocipods import Sidecar, Waits, configured, prepared
from registryserver import digest_of

from resultsfw_transports import oci_fetch
from resultsfw_transports.oci import ENV_PATIENCE, ENV_PLAIN, ENV_REGISTRY
from resultsfw_transports.oci_fetch import ENV_FETCH, _manifest_fault

LARGE = os.urandom(300_000).hex().encode()
WORDS = ("annotations", "layers", "digest", "size")
SKOPEO = shutil.which("skopeo")


@pytest.fixture
def stored(any_registry, tmp_path, capfdbinary):
    pod = prepared(configured(any_registry.host), repository_per="run")
    _, records = Sidecar(tmp_path / "t", pod).run(capfdbinary, a=LARGE)
    return any_registry, records["a"]["location"].rpartition("+")[2]


def fetched(registry, name, file, **wrong):
    wanted = {
        "file": str(file),
        "repository": "results/default/run-uid",
        "manifest": name,
        "owner": {"dev.resultsfw.namespace": "default", "dev.resultsfw.uid": "run-uid"},
        "bytes": len(LARGE),
        "digest": digest_of(LARGE),
        "location": "oci://here",
        **wrong,
    }
    variables = {
        ENV_REGISTRY: registry.host,
        ENV_PLAIN: "true",
        ENV_PATIENCE: "60",
        ENV_FETCH: json.dumps([wanted]),
    }
    return oci_fetch.fetch({name.encode(): text.encode() for name, text in variables.items()}, Waits())


def test_a_value_lies_as_a_file_that_everybody_can_read(stored, tmp_path):
    registry, manifest = stored
    assert fetched(registry, manifest, tmp_path / "file") == []
    assert (tmp_path / "file").read_bytes() == LARGE
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"bytes": 7}, "its manifest is of another value"),
        ({"digest": f"sha256:{'0' * 64}"}, "its manifest is of another value"),
        ({"owner": {"dev.resultsfw.uid": "other"}}, "its manifest is of another run"),
        ({"manifest": f"sha256:{'0' * 64}"}, "it is gone: somebody removed it"),
        ({"repository": "results/none"}, "it is gone"),
    ],
)
def test_what_is_not_what_was_stored_is_reported_and_no_file_is_left(stored, tmp_path, wrong, why):
    registry, manifest = stored
    folder = tmp_path / "params"
    folder.mkdir()
    [complaint] = fetched(registry, manifest, folder / "big", **wrong)
    assert complaint.startswith(
        f"{folder}/big: its {wrong.get('bytes', len(LARGE))} bytes could not be placed"
    )
    assert why in complaint
    assert list(folder.iterdir()) == []


def test_a_value_that_breaks_off_is_fetched_again(registry, tmp_path, capfdbinary):
    pod = prepared(configured(registry.host), repository_per="run")
    _, records = Sidecar(tmp_path / "t", pod).run(capfdbinary, a=LARGE)
    cut = [True, True]

    def cutting(handler):
        if handler.command == "GET" and "/blobs/" in handler.path and cut:
            cut.pop()
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(LARGE)))
            handler.end_headers()
            handler.wfile.write(LARGE[:1000])
            handler.close_connection = True
            return True
        return False

    registry.faults = cutting
    manifest = records["a"]["location"].rpartition("+")[2]
    assert fetched(registry, manifest, tmp_path / "file") == []
    registry.blobs["results/default/run-uid"][digest_of(LARGE)] = LARGE[:-1] + b"x"
    [complaint] = fetched(registry, manifest, tmp_path / "other")
    assert "it has another digest" in complaint


_JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3),
    max_leaves=8,
)


@given(st.one_of(st.binary(max_size=20), _JSON.map(lambda value: json.dumps(value).encode())))
def test_no_manifest_but_the_right_one_is_believed(body):
    value = {"owner": {"digest": "d"}, "digest": "d", "bytes": 1}
    assert _manifest_fault(body, value)
    whole = {"annotations": {"digest": "d"}, "layers": [{"digest": "d", "size": 1}]}
    assert _manifest_fault(json.dumps(whole).encode(), value) == ""


def test_a_manifest_that_is_too_large_to_be_ours_is_not_parsed():
    """Parsed, it takes up to thirty times its bytes; the container has 64 MiB."""
    value = {"owner": {"digest": "d"}, "digest": "d", "bytes": 1}
    whole = {"annotations": {"digest": "d"}, "layers": [{"digest": "d", "size": 1}], "more": [{}] * 30_000}
    assert _manifest_fault(json.dumps(whole).encode(), value) == "its manifest is of another run"


@pytest.mark.parametrize("variables", [{}, {ENV_FETCH: "["}, {ENV_FETCH: "[]"}])
def test_an_environment_that_makes_no_sense_is_reported(variables):
    found = oci_fetch.fetch({name.encode(): text.encode() for name, text in variables.items()}, Waits())
    assert "the environment cannot be read" in found[0]


@pytest.mark.slow
@pytest.mark.skipif(SKOPEO is None, reason="there is no program skopeo here (Debian: apt-get install skopeo)")
def test_a_client_of_somebody_else_reads_the_artifact(stored, tmp_path):
    registry, manifest = stored
    source = f"docker://{registry.host}/results/default/run-uid@{manifest}"
    command = [SKOPEO, "copy", "--src-tls-verify=false", source, f"dir:{tmp_path}/copy"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert digest_of((tmp_path / "copy/manifest.json").read_bytes()) == manifest
    assert (tmp_path / "copy" / digest_of(LARGE).partition(":")[2]).read_bytes() == LARGE
