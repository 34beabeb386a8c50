"""What cannot be passed on is refused by name, with its numbers, and takes nothing else with it."""

import json
import os
import shutil
import signal
import socket
import stat

import pytest

CEILING = 1_572_864


@pytest.fixture
def variant():
    """Reading does not depend on how we were started."""
    return ["module", "inotify"]


@pytest.fixture
def refused(pod):
    """Prints `x` between two good results; gives the record of `x`."""

    def refused(name="x", **options):
        pod.write("before", b"1")
        pod.write("zafter", b"2")
        log = pod.print("before", name, "zafter", **options)
        assert log.status == 0
        assert log.values == {"before": "1", "zafter": "2"}
        record = log.results[1]
        assert list(record) == ["name", "type", "of", "reason", "bytes", "limit", "message"]
        assert (record["name"], record["type"], record["of"]) == (name, "refused", "task")
        return record["reason"], record["bytes"], record["limit"], record["message"]

    return refused


def test_exactly_the_limit(pod):
    pod.write("x", b"x" * 4096)
    assert pod.print("x", variables={"RESULTSFW_MAX_RESULT_SIZE": "4096"}).values == {"x": "x" * 4096}


def test_exactly_the_limit_in_bytes_not_characters(refused, pod):
    pod.write("x", "é".encode() * 2049)
    reason, size, limit, _ = refused(variables={"RESULTSFW_MAX_RESULT_SIZE": "4096"})
    assert (reason, size, limit) == ("TooLarge", 4098, 4096)


def test_one_byte_more(refused, pod):
    pod.write("x", b"x" * 4097)
    reason, size, limit, message = refused(variables={"RESULTSFW_MAX_RESULT_SIZE": "4096"})
    assert (reason, size, limit) == ("TooLarge", 4097, 4096)
    assert "4097" in message
    assert "4096" in message


@pytest.mark.parametrize("asked", ["", "1572864", "99999999"])
def test_the_ceiling(refused, pod, asked):
    pod.write("x", b"x" * (CEILING + 1))
    assert refused(variables={"RESULTSFW_MAX_RESULT_SIZE": asked})[:3] == ("TooLarge", CEILING + 1, CEILING)


def test_at_the_ceiling(pod):
    pod.write("x", b"x" * CEILING)
    assert pod.print("x").values == {"x": "x" * CEILING}


def test_together_too_large_and_a_later_smaller_one_still_fits(pod):
    for name, size in (("a", 60), ("b", 50), ("c", 40), ("d", 1)):
        pod.write(name, b"x" * size)
    log = pod.print("a", "b", "c", "d", variables={"RESULTSFW_MAX_RUN_SIZE": "100"})
    assert list(log.values) == ["a", "c"]
    assert [(r["name"], r["reason"], r["bytes"], r["limit"]) for r in log.results if "reason" in r] == [
        ("b", "RunTooLarge", 110, 100),
        ("d", "RunTooLarge", 101, 100),
    ]


def test_the_run_limit_counts_steps_results_too(pod):
    pod.write("a", b"x" * 60)
    (pod.step_folder("step-s", 0) / "b").write_bytes(b"x" * 60)
    flags = ["-step-results", '{"step-s":["b"]}']
    last = pod.print("a", flags=flags, variables={"RESULTSFW_MAX_RUN_SIZE": "100"}).results[-1]
    assert (last["name"], last["of"], last["reason"], last["bytes"]) == (
        "step-s.b",
        "step",
        "RunTooLarge",
        120,
    )


@pytest.mark.parametrize(
    ("value", "at"),
    [
        (b"caf\xe9", 3),
        (b"\xed\xa0\x80", 0),  # half a character of UTF-16
        (b"\xc0\x80", 0),  # NUL in two bytes
        (b"a\xf0\x9f\x9a", 1),  # cut
        (b"x" * 65_535 + b"\xc3", 65_535),
        (b"\x80" * 70_000, 0),
    ],
)
def test_not_utf8(refused, pod, value, at):
    pod.write("x", value)
    reason, size, limit, message = refused()
    assert (reason, size, limit) == ("NotUtf8", None, None)
    assert message.endswith(f"offset {at}")


def test_fifo(refused, pod):
    os.mkfifo(pod.results / "x")
    reason, size, limit, message = refused()
    assert (reason, size, limit) == ("NotRegularFile", None, None)
    assert "a FIFO" in message


def test_directory(refused, pod):
    (pod.results / "x").mkdir()
    reason, _, _, message = refused()
    assert reason == "NotRegularFile"
    assert "a directory" in message


def test_socket(refused, pod, monkeypatch):
    monkeypatch.chdir(pod.results)  # an address is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("x")
        assert refused()[0] == "NotRegularFile"


def test_device(refused, pod):
    try:
        os.mknod(pod.results / "x", stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero
    except PermissionError:
        pytest.skip("may not make devices here")
    reason, _, _, message = refused()
    assert reason == "NotRegularFile"
    assert "a device" in message


@pytest.mark.parametrize("target", ["real", "./real", "sub/../real", "sub/up/real", "ABSOLUTE", "chain"])
def test_a_link_inside_is_followed(pod, target):
    pod.write("real", b"value")
    (pod.results / "sub").mkdir()
    (pod.results / "sub" / "up").symlink_to("..")
    (pod.results / "chain").symlink_to("sub/up/sub/../real")
    (pod.results / "x").symlink_to(pod.results / "real" if target == "ABSOLUTE" else target)
    assert pod.print("x").values == {"x": "value"}


@pytest.mark.parametrize(
    "target",
    [
        "/etc/hostname",
        "../secret",
        "sub/../../secret",
        "sub/out",
        "/nowhere",
        "../results/real",
        "/dev/zero",
        "SIBLING",
    ],
)
def test_a_link_out_is_not(refused, pod, target):
    """Not even to something that is not there, or back inside through a path outside."""
    (pod.root / "secret").write_bytes(b"secret")
    (pod.root / "results2").mkdir()
    (pod.root / "results2" / "secret").write_bytes(b"secret")
    pod.write("real", b"value")
    (pod.results / "sub").mkdir()
    (pod.results / "sub" / "out").symlink_to("../..")
    (pod.results / "x").symlink_to(pod.root / "results2" / "secret" if target == "SIBLING" else target)
    reason, size, limit, message = refused()
    assert (reason, size, limit) == ("OutsideFolder", None, None)
    assert "out of its folder" in message
    assert "secret" not in message


def test_a_link_to_nothing_is_not_absent(refused, pod):
    (pod.results / "x").symlink_to("nothing")
    reason, _, _, message = refused()
    assert reason == "Unreadable"
    assert "link to nothing" in message


@pytest.mark.parametrize("target", ["x", "y", "x/y", "real/x"])
def test_links_that_lead_nowhere(refused, pod, target):
    pod.write("real", b"value")
    (pod.results / "y").symlink_to("x")
    (pod.results / "x").symlink_to(target)
    assert refused()[0] == "Unreadable"


def test_links_to_folders(refused, pod):
    (pod.results / "x").symlink_to(".")
    assert refused()[0] == "NotRegularFile"


def test_a_link_to_a_fifo(refused, pod):
    os.mkfifo(pod.results / "fifo")
    (pod.results / "x").symlink_to("fifo")
    assert refused()[0] == "NotRegularFile"


@pytest.mark.parametrize("name", ["..", ".", "../secret", "/etc/hostname", "sub/real"])
def test_a_name_that_is_no_file_name(refused, pod, name):
    (pod.results / "sub").mkdir()
    (pod.results / "sub" / "real").write_bytes(b"value")
    (pod.root / "secret").write_bytes(b"secret")
    assert refused(name)[0] == "OutsideFolder"


def test_a_name_that_is_too_long(refused):
    reason, _, _, message = refused("n" * 256)
    assert reason == "Unreadable"
    assert "256 bytes" in message


def test_hostile_names_of_steps(pod):
    declared = {
        "..": ["results"],
        "a/b": ["x"],
        "step-\ud800": ["x"],
        "step-x": ["", "a\0b", "\udc80"],
        "": ["x"],
    }
    pod.step_folder("step-x", 0)
    log = pod.print(flags=["-step-results", json.dumps(declared)])
    assert [(record["of"], record["reason"]) for record in log.results] == [("step", "OutsideFolder")] * 7


@pytest.mark.parametrize("border", ["status", "results"])
@pytest.mark.parametrize("target", ["/etc", "../../../../secrets"])
def test_a_step_that_links_its_own_folder_away(pod, border, target):
    """Its run folder is the Step's own; what the sidecar alone can see must not come out of it."""
    (pod.root.parent / "secrets").mkdir()
    (pod.root.parent / "secrets" / "token").write_bytes(b"secret")
    folder = pod.step_folder("step-x", 0)
    folder.rmdir()
    if border == "status":
        folder.parent.rmdir()
        folder.parent.symlink_to(target)
    else:
        folder.symlink_to(target)
    log = pod.print(flags=["-step-results", '{"step-x":["token"]}'])
    assert [(record["name"], record["reason"]) for record in log.results] == [
        ("step-x.token", "OutsideFolder")
    ]


def test_a_step_without_a_folder_of_results(pod):
    """It never began, so nothing was written; a file in the folder's place is another matter."""
    (pod.root / "steps" / "step-x").symlink_to(pod.run / "0" / "status")
    (pod.root / "steps" / "step-y").mkdir()
    (pod.root / "steps" / "step-y" / "results").touch()
    log = pod.print(flags=["-step-results", '{"step-x":["a"],"step-y":["a"]}'])
    assert [record["type"] for record in log.results] == ["absent", "refused"]
    assert log.results[1]["reason"] == "Unreadable"


@pytest.mark.parametrize("missing", ["results", "steps"])
def test_a_volume_that_is_missing_is_not_absence(pod, missing):
    (pod.root / missing).rmdir()
    log = pod.print("a", "b", flags=["-step-results", '{"step-x":["a"]}'])
    assert log.status == 0
    lost = [record["name"] for record in log.results if record.get("reason") == "Unreadable"]
    assert lost == (["a", "b"] if missing == "results" else ["step-x.a"])


@pytest.fixture
def unprivileged():
    """The start of a command that takes from root what lets it read everything."""
    if os.geteuid():
        return []
    if not (setpriv := shutil.which("setpriv")):
        pytest.skip("root, and no setpriv")
    return [setpriv, "--bounding-set=-dac_override,-dac_read_search"]


def test_a_file_that_may_not_be_read(refused, pod, unprivileged):
    pod.write("x", b"value")
    (pod.results / "x").chmod(0)
    reason, _, _, message = refused(prefix=unprivileged)
    assert reason == "Unreadable"
    assert message.endswith("Permission denied")


def test_a_run_folder_that_may_not_be_looked_into(pod, unprivileged):
    """Waiting for a file that we could never see would be for ever."""
    (pod.run / "0").chmod(0)
    log = pod.start(prefix=unprivileged).log()
    (pod.run / "0").chmod(0o700)
    assert log.status == 1
    assert log.records[-1]["type"] == "error"
    assert "Permission denied" in log.records[-1]["message"]


@pytest.mark.parametrize("size", [2**30, 2**40])
def test_a_huge_sparse_file_costs_no_memory(pod, size):
    pod.write("before", b"1")
    pod.write("x", b"")
    os.truncate(pod.results / "x", size)
    pod.end_all()
    sidecar = pod.start("before", "x", flags=["-kubernetes-sidecar-mode", "true"])
    sidecar.until("end")
    assert sidecar.status("VmHWM") < 25_000
    sidecar.signal()
    record = sidecar.log().results[1]
    assert (record["reason"], record["bytes"], record["limit"]) == ("TooLarge", size, CEILING)


@pytest.mark.slow
def test_the_worst_values_cost_little_memory(pod):
    """A control character is 6 bytes of JSON, and one emoji makes Python's text four times as wide."""
    worst = (b"\x01" * CEILING)[:-4] + "🚀".encode()
    for number in range(5):
        pod.write(f"x{number}", worst)
    pod.end_all()
    names = [f"x{number}" for number in range(5)]
    flags = ["-kubernetes-sidecar-mode", "true"]
    sidecar = pod.start(*names, flags=flags)
    sidecar.until("end")
    assert sidecar.status("VmHWM") < 25_000
    sidecar.signal()
    assert sidecar.log().values == {"x0": worst.decode()}


def test_tekton_wire_leaves_out_and_complains_elsewhere(pod):
    (pod.root.parent / "termination-log").touch()
    pod.write("small", b"1")
    pod.write("big", b"x" * 101)
    os.mkfifo(pod.results / "fifo")
    variables = {"RESULTSFW_WIRE": "0", "RESULTSFW_MAX_RESULT_SIZE": "100"}
    log = pod.print("big", "small", "fifo", variables=variables)
    assert log.raw == b'{"name":"small","value":"1","type":"task"}\n'
    assert log.status == 1
    message = (pod.root.parent / "termination-log").read_text()
    assert [line.split(":")[:2] for line in message.split("\n")] == [
        ["big", " TooLarge"],
        ["fifo", " NotRegularFile"],
    ]


def test_tekton_wire_without_a_place_to_complain(pod):
    """It is the kubelet that makes the file; we make none."""
    os.mkfifo(pod.results / "fifo")
    assert pod.print("fifo", variables={"RESULTSFW_WIRE": "0"}).status == 1
    assert not (pod.root.parent / "termination-log").exists()


def test_nothing_is_written_to_the_folders(pod):
    """The volumes may be read-only, and so is the root."""
    pod.write("a", b"1")
    pod.end_all()
    before = sorted(pod.root.rglob("*"))
    sidecar = pod.start("a", flags=["-kubernetes-sidecar-mode", "true"])
    sidecar.until("end")
    sidecar.signal(signal.SIGINT)
    assert sidecar.log().values == {"a": "1"}
    assert sorted(pod.root.rglob("*")) == before
