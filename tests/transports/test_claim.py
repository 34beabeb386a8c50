"""The pod's part of the backend `pvc`: values become files, and are placed, printed and removed."""

import base64
import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import resultsfw_sidecar
from resultsfw_sidecar import wire
from resultsfw_sidecar.program import run
from resultsfw_transports import claim, claim_tasks, stored, value_folder
from resultsfw_transports.placing import place

MB = 1_000_000
UID = "51b37f1b-97b7-4b83-81a0-acdc337a94c2"
LOCATION = "pvc://results/default/run-uid"


class Waits:
    """Stands for `Stop`: nobody stops it."""

    requested = False

    def wait(self, *_args):
        raise AssertionError("all Steps have ended")


class Pod:
    """What the sidecar sees of a pod whose Steps have ended, and of the claim."""

    def __init__(self, root):
        self.results, self.folder, self.message = root / "tekton/results", root / "claim", root / "message"
        for path in (self.results, self.folder, root / "tekton/run/0"):
            path.mkdir(parents=True)
        (root / "tekton/run/0/out").touch()
        self.message.touch()
        self.variables = {
            wire.ENV_WIRE: "1",
            wire.ENV_POD_UID: UID,
            wire.ENV_MAX_RESULT_SIZE: str(10**9),
            wire.ENV_TEKTON_ROOT: str(root / "tekton"),
            wire.ENV_TERMINATION_LOG: str(self.message),
            wire.ENV_TRANSPORT: "resultsfw_transports.claim",
            stored.ENV_INLINE: "16",
            stored.ENV_JSON: "[]",
            claim.ENV_FOLDER: str(self.folder),
            claim.ENV_LOCATION: LOCATION,
            claim.ENV_ATTEMPT: "2",
        }

    def arguments(self):
        names = ",".join(sorted(path.name for path in self.results.iterdir()))
        return ["-results-dir", str(self.results), "-result-names", names]

    def run(self, capfdbinary):
        """Run the sidecar in this process; return its records by name."""
        variables = {os.fsencode(key): os.fsencode(value) for key, value in self.variables.items()}
        capfdbinary.readouterr()
        run([os.fsencode(argument) for argument in self.arguments()], variables, Waits())
        first, *between, last = map(json.loads, capfdbinary.readouterr().out.splitlines())
        assert (first["type"], last["type"]) == ("start", "end")
        return {record["name"]: record for record in between}


@pytest.fixture
def pod(tmp_path):
    return Pod(tmp_path)


def digest_of(data):
    return hashlib.sha256(data).hexdigest()


def fetched(**variables):
    return claim_tasks.fetch(
        {name.encode(): json.dumps(value).encode() for name, value in variables.items()}, Waits()
    )


def test_large_values_become_files_that_every_user_can_read(pod, capfdbinary):
    value = b"x" * 100_000
    for name in ("large", "same"):
        (pod.results / name).write_bytes(value)
    (pod.results / "small").write_bytes(b"small")
    before = os.umask(0o077)
    try:
        records = pod.run(capfdbinary)
    finally:
        os.umask(before)
    assert records["small"]["value"] == "small"
    for name in ("large", "same"):
        assert records[name]["location"] == f"{LOCATION}/{digest_of(value)}.2"
        assert (records[name]["bytes"], records[name]["digest"]) == (100_000, f"sha256:{digest_of(value)}")
    [file] = pod.folder.iterdir()
    assert (file.name, file.read_bytes(), file.stat().st_mode & 0o777) == (digest_of(value), value, 0o644)


def test_a_restarted_sidecar_writes_nothing_twice_and_clears_what_it_left(pod, capfdbinary, monkeypatch):
    (pod.results / "large").write_bytes(b"x" * 1000)
    (pod.folder / f".{digest_of(b'x' * 1000)}.{UID}.part").write_bytes(b"half")
    first = pod.run(capfdbinary)
    assert [file.name for file in pod.folder.iterdir()] == [digest_of(b"x" * 1000)]
    monkeypatch.setattr(claim, "put", None)  # a call would fail
    assert pod.run(capfdbinary) == first


FAULTS = {
    errno.ENOSPC: "No space left on device: there were {free} bytes free in pvc://",
    errno.EDQUOT: "Disk quota exceeded: there were {free} bytes free in pvc://",
    errno.EROFS: "Read-only file system: pvc://",
    errno.EACCES: "Permission denied: pvc://results/default/run-uid; fs-group is the group",
    errno.EIO: "Input/output error: pvc://",
}


@pytest.mark.parametrize("number", FAULTS)
def test_a_value_that_cannot_be_written_is_refused_by_name_bytes_and_reason(
    pod, capfdbinary, monkeypatch, number
):
    def failing(_file):
        raise OSError(number, os.strerror(number))

    for name in ("large", "larger"):
        (pod.results / name).write_bytes(name.encode() * 200)
    (pod.results / "small").write_bytes(b"small")
    monkeypatch.setattr(claim, "free_bytes", lambda _folder: 123)
    monkeypatch.setattr(os, "fsync", failing)
    records = pod.run(capfdbinary)
    assert records["small"]["value"] == "small"
    for name in ("large", "larger"):
        size = len(name) * 200
        assert (records[name]["reason"], records[name]["bytes"]) == ("Undelivered", size)
        wanted = f"its {size} bytes could not be stored: {FAULTS[number].format(free=123)}"
        assert records[name]["message"].startswith(wanted)
        assert f"Undelivered: {name}: {wanted}" in pod.message.read_text()
        assert records[name]["limit"] == (123 if "{free}" in FAULTS[number] else None)
    assert list(pod.folder.iterdir()) == []


def test_a_folder_that_is_not_mounted_is_no_place_for_values(pod, capfdbinary):
    pod.folder.rmdir()
    (pod.results / "large").write_bytes(b"x" * 100)
    record = pod.run(capfdbinary)["large"]
    assert (record["reason"], "No such file or directory" in record["message"]) == ("Undelivered", True)


def test_a_file_that_changes_while_it_is_written_leaves_nothing(pod, capfdbinary, monkeypatch):
    target = pod.results / "value"
    target.write_bytes(b"x" * 100)
    genuine = stored.measured

    def changing(file):
        found = genuine(file)
        with target.open("ab") as more:
            more.write(b"x")
        return found

    monkeypatch.setattr(stored, "measured", changing)
    record = pod.run(capfdbinary)["value"]
    assert (record["reason"], "still being written" in record["message"]) == ("Unreadable", True)
    assert list(pod.folder.iterdir()) == []


@given(st.binary(max_size=40), st.integers(1, 9))
def test_what_is_printed_is_the_value(tmp_path_factory, data, line):
    folder = tmp_path_factory.mktemp("folder")
    (folder / "name").write_bytes(data)
    printed = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claim_tasks, "LINE", line)
        patch.setattr(os, "write", lambda _file, piece: printed.append(piece) or len(piece))
        wanted = {"folder": str(folder), "name": "name", "bytes": len(data)}
        assert fetched(**{claim_tasks.ENV_PRINT: wanted}) == []
    assert b"".join(map(base64.b64decode, b"".join(printed).split(b"\n"))) == data


def test_of_a_value_that_grew_only_a_byte_more_is_printed(tmp_path, capfdbinary):
    (tmp_path / "name").write_bytes(b"x" * 50_000)
    fetched(**{claim_tasks.ENV_PRINT: {"folder": str(tmp_path), "name": "name", "bytes": 10}})
    assert base64.b64decode(capfdbinary.readouterr().out) == b"x" * 11


def test_a_value_is_placed_verified_or_named(tmp_path):
    data = b"value" * 1000
    (tmp_path / "name").write_bytes(data)

    def placed(**changed):
        wanted = {
            "file": str(tmp_path / "file"),
            "folder": str(tmp_path),
            "name": "name",
            "location": LOCATION,
            "bytes": len(data),
            "digest": f"sha256:{digest_of(data)}",
            **changed,
        }
        return fetched(**{claim_tasks.ENV_PLACE: [wanted]})

    for changed, why in (
        ({"name": "gone"}, "it is gone: somebody removed it"),
        ({"bytes": 7}, "it has 5000 bytes there: it is not what was stored"),
        ({"digest": f"sha256:{'0' * 64}"}, "it has another digest: it is not what was stored"),
    ):
        [message] = placed(**changed)
        assert message.startswith(
            f"{tmp_path / 'file'}: its {changed.get('bytes', len(data))} bytes could not"
        )
        assert message.endswith(f"{LOCATION}: {why}")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["name"]
    assert placed() == []
    file = tmp_path / "file"
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (data, 0o644)


def test_a_container_without_a_task_fails():
    assert fetched() == [
        "none of RESULTSFW_CLAIM_PLACE, RESULTSFW_CLAIM_PRINT and RESULTSFW_CLAIM_REMOVE is set"
    ]
    [message] = fetched(**{claim_tasks.ENV_PRINT: {"folder": "/"}})
    assert message.startswith("RESULTSFW_CLAIM_PRINT: ")


def test_placing_stops_with_the_pod(tmp_path):
    stop = Waits()
    stop.requested = True
    with pytest.raises(Exception, match="the pod is being stopped"):
        place({"file": str(tmp_path / "file"), "digest": "sha256:0", "encrypted": False}, [b"x"], stop, {})
    assert list(tmp_path.iterdir()) == []


def test_no_link_is_followed_and_nothing_but_a_file_is_read(tmp_path):
    root = tmp_path / "root"
    (root / "other").mkdir(parents=True)
    (root / "other/secret").write_bytes(b"secret")
    (root / "mine").mkdir()
    (root / "mine/link").symlink_to("../other/secret")
    (root / "folder").symlink_to("other")
    os.mkfifo(root / "mine/fifo")
    for names in (["mine", "link"], ["folder", "secret"], ["mine", "fifo"], ["other"]):
        with pytest.raises(OSError) as caught:
            list(value_folder.pieces(str(root), names, 100))
        assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR, errno.EINVAL)
    assert b"".join(value_folder.pieces(str(root), ["other", "secret"], 100)) == b"secret"


def test_a_folder_is_removed_with_what_killed_writers_left_and_no_link_followed(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    (root / "ns/uid.0/deep").mkdir(parents=True)
    (root / "ns/uid.0/.a.part").touch()
    (root / "ns/uid.0/link").symlink_to(outside)
    (root / "ns/link").symlink_to(outside)
    for name in ("uid.0", "uid.0", "link"):
        value_folder.remove(str(root), ["ns", name])
    value_folder.remove(str(root), ["another", "uid.0"])
    assert ([*(root / "ns").iterdir()], [*outside.iterdir()]) == ([], [outside / "file"])
    (root / "ns" / ("d/" * 60)).mkdir(parents=True)
    with pytest.raises(OSError, match="nested too deeply"):
        value_folder.remove(str(root), ["ns", "d"])
    with pytest.raises(FileNotFoundError):
        value_folder.remove(str(tmp_path / "not-mounted"), ["ns", "uid.0"])
    assert fetched(**{claim_tasks.ENV_REMOVE: {"folder": str(tmp_path / "none"), "name": "x"}}) == [
        "No such file or directory"
    ]


def test_a_folder_with_any_number_of_files_is_removed_in_parts(tmp_path, monkeypatch):
    """Not even its names are in memory at once."""
    monkeypatch.setattr(value_folder, "_BATCH", 7)
    monkeypatch.setattr(os, "listdir", None)
    (tmp_path / "uid.0").mkdir()
    for number in range(50):
        (tmp_path / f"uid.0/{number}").touch()
    monkeypatch.setattr(value_folder, "_MOST", 40)
    with pytest.raises(OSError, match="too many files to be removed at once"):
        value_folder.remove(str(tmp_path), ["uid.0"])
    value_folder.remove(str(tmp_path), ["uid.0"])
    assert not (tmp_path / "uid.0").exists()


@pytest.mark.slow
def test_memory_does_not_grow_with_a_value(pod):
    with (pod.results / "value").open("wb") as file:
        for _ in range(64):
            file.write(b"all work and no play makes a very long result.." * (MB // 47))
    main = """
import sys
from resultsfw_sidecar.__main__ import main
main()
print(*[line for line in open("/proc/self/status") if line.startswith("VmHWM")], file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", main, *pod.arguments()],
        env={**pod.variables, "PYTHONPATH": str(Path(resultsfw_sidecar.__file__).parents[1])},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert b'"location"' in done.stdout
    assert int(done.stderr.split()[1]) * 1024 < 30 * MB
