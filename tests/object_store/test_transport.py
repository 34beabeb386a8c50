"""The pod's part: which values go into the store, what they are called there, and what is refused."""

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sidecars import FOLDER, Pod

from resultsfw_sidecar.files import File, RefusedError
from resultsfw_transports import stored
from resultsfw_transports.store import PART, Store, StoreError
from resultsfw_transports.stored import measured, text_pieces

MB = 1_000_000


def digest_of(data):
    return hashlib.sha256(data).hexdigest()


def test_small_values_stay_and_large_ones_are_stored_under_their_digest(place, tmp_path, capfdbinary):
    pod = Pod(tmp_path / "tekton", place, inline=5, arrays=["many"])
    values = {
        "few": b"12345",
        "large": b"123456",
        "many": b'["a","b"]',
        "none": b"",
        "parts": b"x" * (2 * PART + 9),
    }
    for name, value in values.items():
        (pod.results / name).write_bytes(value)
    records = pod.run(capfdbinary)
    assert [records[name]["value"] for name in ("few", "none")] == ["12345", ""]
    store = place.store()
    for name, media in (("large", "text/plain; charset=utf-8"), ("many", "application/json")):
        path = f"{FOLDER}/{digest_of(values[name])}"
        assert records[name]["location"] == f"{place.url}/{path}"
        assert (records[name]["bytes"], records[name]["media"]) == (len(values[name]), media)
        assert b"".join(store.pieces(path, len(values[name]))) == values[name]
    path = records["parts"]["location"].removeprefix(place.url + "/")
    assert b"".join(store.pieces(path, 2 * PART + 9)) == values["parts"]
    assert pod.message.read_text() == ""


@given(st.one_of(st.binary(max_size=40), st.text(max_size=40).map(str.encode)), st.integers(1, 7))
def test_what_is_text_is_measured_and_what_is_none_is_refused_at_its_place(tmp_path_factory, data, piece):
    path = tmp_path_factory.mktemp("m") / "value"
    path.write_bytes(data)
    file = File(os.open(path, os.O_RDONLY), b"value", 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resultsfw_sidecar.files._LARGE_PIECE", piece)  # characters lie across borders
        try:
            data.decode()
        except UnicodeDecodeError as error:
            with pytest.raises(
                RefusedError, match=rf"byte 0x{data[error.start]:02x} at offset {error.start}$"
            ):
                measured(text_pieces(file))
        else:
            assert measured(text_pieces(file)) == (len(data), digest_of(data))
    file.close()


def test_refused_are_what_is_too_large_no_text_or_no_file(folder, tmp_path, capfdbinary):
    pod = Pod(tmp_path / "tekton", folder, inline=5, limit=100)
    (pod.results / "large").write_bytes(b"x" * 101)
    (pod.results / "latin").write_bytes(b"x" * 50 + "\u00e9".encode("latin-1") + b"x" * 20)
    os.mkfifo(pod.results / "pipe")
    (pod.results / "out").symlink_to("/etc/passwd")
    records = pod.run(capfdbinary)
    assert {name: record.get("reason") for name, record in records.items()} == {
        "large": "TooLarge",
        "latin": "NotUtf8",
        "pipe": "NotRegularFile",
        "out": "OutsideFolder",
    }
    assert (records["large"]["bytes"], records["large"]["limit"]) == (101, 100)
    assert records["latin"]["message"] == "not UTF-8: byte 0xe9 at offset 50"
    assert folder.store().size(FOLDER) is None


def test_a_file_that_is_written_to_meanwhile_is_looked_at_again(folder, tmp_path, capfdbinary, monkeypatch):
    pod = Pod(tmp_path / "tekton", folder)
    target = pod.results / "value"
    target.write_bytes(b"first, " * MB)
    genuine = stored.measured

    def changing(file):
        found = genuine(file)
        if target.stat().st_size == 7 * MB:
            target.write_bytes(b"second, " * MB)
        return found

    monkeypatch.setattr(stored, "measured", changing)
    record = pod.run(capfdbinary)["value"]
    assert (record["bytes"], record["digest"]) == (8 * MB, f"sha256:{digest_of(b'second, ' * MB)}")
    assert folder.store().size(f"{FOLDER}/{digest_of(b'first, ' * MB)}") is None


def test_a_file_that_never_stands_still_is_refused(folder, tmp_path, capfdbinary, monkeypatch):
    pod = Pod(tmp_path / "tekton", folder)
    (pod.results / "value").write_bytes(b"x" * 100)
    genuine = stored.measured

    def changing(file):
        found = genuine(file)
        with (pod.results / "value").open("ab") as more:
            more.write(b"x")
        return found

    monkeypatch.setattr(stored, "measured", changing)
    record = pod.run(capfdbinary)["value"]
    assert (record["reason"], "still being written" in record["message"]) == ("Unreadable", True)
    assert not list((tmp_path / "a store").rglob("?" * 64))


def test_equal_values_are_uploaded_once_however_often_the_sidecar_starts(
    place, tmp_path, capfdbinary, monkeypatch
):
    puts = []
    put = Store.put
    monkeypatch.setattr(Store, "put", lambda self, path, data: (puts.append(path), put(self, path, data)))
    pod = Pod(tmp_path / "tekton", place)
    for name in ("a", "b"):
        (pod.results / name).write_bytes(b"the same in both")
        (pod.results / name).write_bytes(b"the same value in both")
    first = pod.run(capfdbinary)
    assert pod.run(capfdbinary) == first
    assert first["a"]["location"] == first["b"]["location"]
    assert puts == [f"{FOLDER}/{digest_of(b'the same value in both')}"]


def test_an_object_of_another_size_under_that_name_is_replaced(folder, tmp_path, capfdbinary):
    pod = Pod(tmp_path / "tekton", folder)
    (pod.results / "a").write_bytes(b"x" * 100)
    path = f"{FOLDER}/{digest_of(b'x' * 100)}"
    folder.store().put(path, b"half")
    pod.run(capfdbinary)
    assert folder.store().size(path) == 100


def test_a_store_that_is_down_fails_what_is_large_and_names_it(folder, tmp_path, capfdbinary, monkeypatch):
    asked = []

    def down(self, path):
        asked.append(path)
        raise StoreError("Connection refused", "unavailable")

    monkeypatch.setattr(Store, "size", down)
    pod = Pod(tmp_path / "tekton", folder)
    for name in ("large", "larger"):
        (pod.results / name).write_bytes(name.encode() * 10)
    (pod.results / "small").write_bytes(b"small")
    records = pod.run(capfdbinary)
    assert records["small"]["value"] == "small"
    for name in ("large", "larger"):
        assert records[name]["reason"] == "Undelivered"
        assert f"could not be stored: Connection refused: {folder.url}" in records[name]["message"]
        assert f"Undelivered: {name}: its" in pod.message.read_text()
    assert len(asked) == 1  # the second does not wait as long as the first did


def test_who_may_only_write_writes(folder, tmp_path, capfdbinary, monkeypatch):
    """S3 forbids to ask for what is not there, where the right to list is missing."""

    def forbidden(_self, _path):
        raise StoreError("403 Forbidden", "forbidden")

    pod = Pod(tmp_path / "tekton", folder)
    (pod.results / "large").write_bytes(b"x" * 100)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "size", forbidden)
        record = pod.run(capfdbinary)["large"]
    assert folder.store().size(record["location"].removeprefix(folder.url + "/")) == 100


@pytest.mark.slow
def test_forbidden_is_no_reason_to_try_no_other(s3, tmp_path, capfdbinary, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    pod = Pod(tmp_path / "tekton", s3)
    (pod.results / "large").write_bytes(b"x" * 100)
    record = pod.run(capfdbinary)["large"]
    assert (record["reason"], "403 Forbidden" in record["message"]) == ("Undelivered", True)


@pytest.mark.parametrize("missing", ["RESULTSFW_STORE_URL", "RESULTSFW_STORE_INLINE", "RESULTSFW_STORE_JSON"])
def test_an_environment_that_makes_no_sense_is_said(folder, tmp_path, missing, capfdbinary):
    pod = Pod(tmp_path / "tekton", folder)
    for value in (None, "nonsense"):
        pod.variables |= {missing: value} if value else {}
        if value is None:
            del pod.variables[missing]
        with pytest.raises(ValueError, match="unpack"):  # no records: an error is all that is said
            pod.run(capfdbinary)
        assert pod.message.read_text().startswith("BadEnvironment: ")


@pytest.mark.slow
def test_memory_does_not_grow_with_a_value(place, tmp_path):
    size = 64 * MB
    pod = Pod(tmp_path / "tekton", place)
    line = b"all work and no play makes a very long result.\n"
    with (pod.results / "value").open("wb") as file:
        for _ in range(size // (len(line) * 1000) + 1):
            file.write(line * 1000)
    records, peak = pod.process()
    assert records["value"]["bytes"] >= size
    assert peak < size * 3 // 4
