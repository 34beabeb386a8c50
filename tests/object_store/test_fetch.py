"""The program that places values as files, as a process of its own."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import resultsfw_sidecar
from resultsfw_sidecar import wire
from resultsfw_transports import store as stores
from resultsfw_transports.fetch import ENV_FETCH


def asked(place, file, data, *, size=None, digest=None, path="default/uid/one"):
    return {
        "file": str(file),
        "path": path,
        "bytes": len(data) if size is None else size,
        "digest": digest or f"sha256:{hashlib.sha256(data).hexdigest()}",
    }


def started(place, tmp_path, *wanted, **more):
    message = tmp_path / "message"
    message.touch()
    variables = {
        wire.ENV_TERMINATION_LOG: str(message),
        wire.ENV_TRANSPORT: "resultsfw_transports.fetch",
        stores.ENV_URL: place.url,
        stores.ENV_OPTIONS: json.dumps(place.options),
        ENV_FETCH: json.dumps(wanted),
        "PYTHONPATH": str(Path(resultsfw_sidecar.__file__).parents[1]),
        **place.env,
        **more,
    }
    command = [sys.executable, "-m", "resultsfw_sidecar", "fetch"]
    return subprocess.Popen(command, env=variables, umask=0o077), message


def fetched(place, tmp_path, *wanted, **more):
    process, message = started(place, tmp_path, *wanted, **more)
    return process.wait(timeout=60), message.read_text()


def test_values_lie_as_files_that_everybody_can_read(place, tmp_path):
    large, small = os.urandom(9_000_000), "ä".encode()
    place.store().put("default/uid/one", large)
    place.store().put("default/uid/two", small)
    files = tmp_path / "large", tmp_path / "small"
    wanted = asked(place, files[0], large), asked(place, files[1], small, path="default/uid/two")
    assert fetched(place, tmp_path, *wanted) == (0, "")
    assert [one.read_bytes() for one in files] == [large, small]
    assert [one.stat().st_mode & 0o777 for one in files] == [0o644] * 2


DATA = b"0123456789" * 1000


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"path": "default/uid/none"}, "it is gone"),
        ({"size": 9_999}, "it has 10000 bytes there: it is not what was stored"),
        ({"size": 10_001}, "it has 10000 bytes there: it is not what was stored"),
        ({"digest": f"sha256:{'0' * 64}"}, "it has another digest"),
    ],
)
def test_what_is_not_what_was_stored_is_told_and_no_file_is_left(place, tmp_path, wrong, said):
    place.store().put("default/uid/one", DATA)
    folder = tmp_path / "params"
    folder.mkdir()
    one = asked(place, folder / "big", DATA, **wrong)
    status, message = fetched(place, tmp_path, one)
    assert status == 1
    assert message.startswith(f"{folder}/big: its {one['bytes']} bytes could not be placed: {place.url}/")
    assert said in message
    assert list(folder.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told(folder, tmp_path):
    folder.store().put("default/uid/one", DATA)
    status, message = fetched(folder, tmp_path, asked(folder, tmp_path / "no/where/big", DATA))
    assert status == 1
    assert "No such file or directory" in message


@pytest.mark.parametrize(
    "more", [{ENV_FETCH: "["}, {stores.ENV_URL: "ftp://x"}, {wire.ENV_TRANSPORT: "json"}]
)
def test_an_environment_that_makes_no_sense_is_told(folder, tmp_path, more):
    status, message = fetched(folder, tmp_path, **more)
    assert status == 1
    assert message


def test_a_pod_that_is_stopped_is_not_waited_for(folder, tmp_path):
    fifo = tmp_path / "a store/default/uid/one"
    fifo.parent.mkdir(parents=True)
    data = bytes(12_000_000)
    fifo.write_bytes(data)
    target = tmp_path / "target"
    target.mkdir()
    os.mkfifo(target / "big.part")  # nobody reads: it waits in the middle
    process, message = started(folder, tmp_path, asked(folder, target / "big", data))
    with (target / "big.part").open("rb", buffering=0) as reader:
        assert reader.read(1)
        process.send_signal(signal.SIGTERM)
        while reader.read(65_536):
            pass
    assert process.wait(timeout=60) == 1
    assert "the pod is being stopped" in message.read_text()
