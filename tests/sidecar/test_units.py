"""What only shows from inside: durations, flags, files that change while they are read."""

import contextlib
import os
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resultsfw_sidecar.files import Folder, RefusedError
from resultsfw_sidecar.inotify import Inotify
from resultsfw_sidecar.settings import Environment, Flags, SettingsError, go_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("100ms", 0.1),
        ("1s", 1),
        ("1m30s", 90),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("2us", 2e-6),
        ("2µs", 2e-6),
        ("2μs", 2e-6),
        ("3ns", 3e-9),
        ("+1s", 1),
        ("0", 0),
        ("1h2m3s4ms", 3723.004),
        *(
            (bad, None)
            for bad in ["", "1", "s", ".s", "1..2s", "-1s", "1 s", "1sec", "1S", "ms1", "1e3s", "١s", "0x1s"]
        ),
    ],
)
def test_go_durations(text, seconds):
    assert go_duration(text) == (None if seconds is None else pytest.approx(seconds))


@settings(deadline=None)
@given(st.text())
def test_no_duration_is_too_strange(text):
    assert Environment({b"SIDECAR_LOG_POLLING_INTERVAL": text.encode("utf-8", "replace")}).interval > 0


@pytest.mark.parametrize(
    ("text", "interval"),
    [("", 0.1), ("0", 0.001), ("-1s", 0.1), ("x", 0.1), ("20ms", 0.02), ("9" * 400 + "h", 3600)],
)
def test_intervals(text, interval):
    assert Environment({b"SIDECAR_LOG_POLLING_INTERVAL": text.encode()}).interval == pytest.approx(interval)


@settings(deadline=None)
@given(st.lists(st.binary()))
def test_any_flags(arguments):
    with contextlib.suppress(SettingsError):
        Flags(arguments)


@pytest.mark.parametrize(
    ("arguments", "native"),
    [
        ([], False),
        (["-kubernetes-sidecar-mode"], True),
        (["-kubernetes-sidecar-mode", "true"], True),
        (["--kubernetes-sidecar-mode=T"], True),
        (["-kubernetes-sidecar-mode", "false"], False),
        (["-kubernetes-sidecar-mode=0"], False),
        (["-kubernetes-sidecar-mode", "-result-names", "a"], True),
    ],
)
def test_native_flag(arguments, native):
    assert Flags([argument.encode() for argument in arguments]).native is native


def test_flags_take_any_value():
    flags = Flags([b"--results-dir=/a=b", b"-result-names", b"-x,,y", b"-step-names", b"-step-results"])
    assert (flags.results_folder, flags.task_results) == (b"/a=b", ["-x", "y"])
    assert Flags([]).results_folder == b"/tekton/results"
    assert Flags([b"-step-results", b"null"]).step_results == {}


@pytest.fixture
def folder(tmp_path):
    opened = Folder.at(os.fsencode(tmp_path))
    yield opened
    opened.close()


def test_a_file_that_grows_meanwhile(folder, tmp_path, monkeypatch):
    """A read that another write fell into is done again."""
    pread = os.pread
    more = [b"b", b"c"]
    (tmp_path / "x").write_bytes(b"a")

    def slow(file, size, at):
        data = pread(file, size, at)
        if more:
            with (tmp_path / "x").open("ab") as writer:
                writer.write(more.pop(0))
        return data

    monkeypatch.setattr(os, "pread", slow)
    assert folder.read("x", 10) == b"abc"


def test_a_file_that_never_stands_still(folder, tmp_path, monkeypatch):
    """A mixture of two writes was never a value: it is refused, after a bounded number of reads."""
    pread = os.pread
    reads = []
    (tmp_path / "x").write_bytes(b"a")

    def slow(file, size, at):
        reads.append(at)
        if at == 0:
            with (tmp_path / "x").open("ab") as writer:
                writer.write(b"a")
        return pread(file, size, at)

    monkeypatch.setattr(os, "pread", slow)
    with pytest.raises(RefusedError, match="still being written"):
        folder.read("x", 1000)
    assert len(reads) < 20


def test_a_file_that_grows_over_the_limit(folder, tmp_path, monkeypatch):
    pread = os.pread
    (tmp_path / "x").write_bytes(b"a")

    def slow(file, size, at):
        (tmp_path / "x").write_bytes(b"a" * 50)
        return pread(file, size, at)

    monkeypatch.setattr(os, "pread", slow)
    with pytest.raises(RefusedError) as refused:
        folder.read("x", 10)
    assert (refused.value.reason, refused.value.size, refused.value.limit) == ("TooLarge", 50, 10)


def test_a_file_that_does_not_say_its_size():
    """Those of /proc have 0 bytes, and content; as any kernel's or FUSE's may."""
    folder = Folder.at(b"/proc/self")
    try:
        assert folder.read("status", 100_000).endswith(b"\n")
        with pytest.raises(RefusedError) as refused:
            folder.read("status", 10)
        assert refused.value.reason == "TooLarge"
        assert refused.value.size > 10
    finally:
        folder.close()


def test_a_file_swapped_for_a_link_meanwhile(folder, tmp_path):
    """However the two race, what lies outside never comes out."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "outside").write_bytes(b"secret")
    inside = Folder.at(os.fsencode(tmp_path / "inside"))
    stop = threading.Event()

    def swap():
        turn = 0
        while not stop.is_set():
            turn += 1
            other = tmp_path / f"other{turn % 2}"
            if turn % 3:
                other.symlink_to("../outside" if turn % 3 == 1 else "/proc/self/fd/0")
            else:
                other.write_bytes(b"value")
            other.replace(tmp_path / "inside" / "x")

    thread = threading.Thread(target=swap)
    thread.start()
    seen = set()
    try:
        for _ in range(2000):
            try:
                seen.add(inside.read("x", 100))
            except RefusedError as refused:
                seen.add(refused.reason)
    finally:
        stop.set()
        thread.join(60)
        inside.close()
    assert b"secret" not in seen


def test_no_file_is_left_open(tmp_path):
    """Hundreds of Steps and refusals must not run out of descriptors."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "x").symlink_to("sub/../sub/../sub/none")
    (tmp_path / "out").symlink_to("sub/../..")
    (tmp_path / "dir").symlink_to("sub/.")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count
    folder = Folder.at(os.fsencode(tmp_path))
    for name in ("x", "out", "dir", "none"):
        with contextlib.suppress(RefusedError):
            assert folder.read(name, 10) is None
    folder.folder(b"sub").close()
    folder.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - a count


def test_inotify_is_not_trusted_on_other_file_systems(tmp_path):
    assert Inotify.of([b"/proc/self"]) is None
    assert Inotify.of([os.fsencode(tmp_path / "none")]) is None
