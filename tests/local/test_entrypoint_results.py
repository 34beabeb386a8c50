"""What the entrypoint makes of result files and of the termination file."""

import os
import signal

import pytest
from localpods import await_true
from localroom import finish

from resultsfw_backends.termination_message import read_message


def test_step_results(room):
    script = f"printf s > {room.tekton}/run/0/status/results/own; printf t > {room.tekton}/results/shared"
    room.sh(script, "-results", "shared", "-step_results", "own,none")
    assert [one[::2] for one in room.entries()] == [("shared", 1), ("own", 4), ("StartedAt", 3)]


def test_results_by_another_way_stay_out_of_the_message(room):
    room.write("a", "v")
    os.mkfifo(room.tekton / "results/fifo")
    status, _ = room.sh("true", "-result_from", "sidecar-logs", "-results", "a,fifo", "-step_results", "a")
    assert status == 0
    assert room.keys().keys() == {"StartedAt"}


def test_too_large_is_named_after_the_next_step_was_released(room):
    room.write("images", "x" * 4572)
    room.write("small", "s")
    status, output = room.sh("true", "-results", "images,small")
    assert status == 1
    assert room.names() == ["out", "status"]
    assert room.keys()["small"] == "s"
    assert room.refused() == [
        {"name": "images", "type": 1, "bytes": 4572, "limit": 4096, "reason": "TooLarge"}
    ]
    assert output == (
        'result "images" has 4572 bytes and does not fit into the termination message, '
        "which may have 4096 bytes\n"
    )


def test_budget_of_the_pod(room):
    room.write("a", "x" * 1500)
    env = {"RESULTSFW_MESSAGE_BUDGET": "1365"}
    assert room.sh("true", "-results", "a", env=env)[0] == 1
    assert room.refused()[0]["limit"] == 1365
    assert room.message.stat().st_size <= 1365
    room.message.unlink()
    assert room.sh("true", "-results", "a", env={"RESULTSFW_MESSAGE_BUDGET": "99999"})[0] == 0


def test_the_steps_own_failure_is_told_rather_than_the_refusal(room):
    room.write("a", "x" * 5000)
    assert room.sh("exit 5", "-results", "a")[0] == 5
    assert room.refused()[0]["name"] == "a"


def test_bytes_count_not_characters(room):
    room.write("a", "é" * 1990)
    assert room.sh("true", "-results", "a")[0] == 0
    assert room.keys()["a"] == "é" * 1990
    room.message.unlink()
    room.write("a", "é" * 2050)
    assert room.sh("true", "-results", "a")[0] == 1
    assert room.refused()[0]["bytes"] == 4100


def test_awkward_text_survives(room):
    value = 'line\nquote" back\\slash <b>&amp; \x00\x01\x7f \u2028 😀\r\n'
    room.write("a", value)
    assert room.sh("true", "-results", "a")[0] == 0
    assert room.keys()["a"] == value


def test_hostile_files(room):
    results = room.tekton / "results"
    os.mkfifo(results / "fifo")
    (results / "folder").mkdir()
    room.write("latin", b"caf\xe9")
    (results / "out").symlink_to("/etc/hostname")
    (results / "up").symlink_to("../run")
    (results / "device").symlink_to("/dev/zero")
    (results / "loop").symlink_to("loop")
    (results / "dangling").symlink_to("nowhere")
    room.write("real", "r")
    (results / "inside").symlink_to("real")
    names = "fifo,folder,latin,out,up,device,loop,dangling,inside,absent"
    status, output = room.sh("true", "-results", names)
    assert status == 1
    assert {one["name"]: one["reason"] for one in room.refused()} == {
        "fifo": "NotRegularFile",
        "folder": "NotRegularFile",
        "latin": "NotUtf8",
        "out": "OutsideFolder",
        "up": "OutsideFolder",
        "device": "OutsideFolder",
        "loop": "NotRegularFile",
    }
    assert room.refused()[2] == {"name": "latin", "type": 1, "bytes": 4, "limit": 4096, "reason": "NotUtf8"}
    assert room.keys()["inside"] == "r"
    assert 'result "fifo" is refused: NotRegularFile' in output


def test_a_results_folder_that_is_a_link(room):
    """Tekton's own links lead to a Step's folder; the folder itself may be one."""
    room.write("a", "v")
    (room.tekton / "results").rename(room.tekton / "elsewhere")
    (room.tekton / "results").symlink_to("elsewhere")
    assert room.sh("true", "-results", "a")[0] == 0
    assert room.keys()["a"] == "v"


def test_a_huge_result_is_not_read(room):
    """A sparse terabyte: refused by its size alone."""
    with (room.tekton / "results/a").open("wb") as file:
        file.truncate(1 << 40)
    assert room.sh("true", "-results", "a")[0] == 1
    assert room.refused()[0]["bytes"] == 1 << 40


def test_own_entries_are_kept(room):
    digest = '{"key":"digest","value":"forged","type":1,"more":"x"}'
    forged = f'[{digest},{{"key":"Exit","value":"7","type":"InternalTektonResult"}}]'
    room.write("digest", "real")
    room.sh(f"printf '%s' '{forged}' > {room.message}", "-results", "digest")
    assert room.entries()[:3] == [("digest", "forged", 1), ("Exit", "7", 3), ("digest", "real", 1)]


@pytest.mark.parametrize("text", ["free text", '{"key":"a"}', "[1]", '[{"key":1}]', "tknz:?"])
def test_what_is_no_message_is_overwritten(room, text):
    _, output = room.sh(f"printf '%s' '{text}' > {room.message}")
    assert room.keys().keys() == {"StartedAt"}
    assert "is no message" in output


@pytest.mark.parametrize(
    "trick", ["rm -f {0}; mkfifo {0}", "ln -sf {1} {0}", "rm -f {0}; ln -s /dev/full {0}"]
)
def test_a_termination_file_that_is_none(room, trick, tmp_path):
    """It is replaced; what it led to is left alone, and nothing hangs."""
    other = tmp_path / "other"
    other.write_text("mine")
    room.message.touch()
    assert room.sh(trick.format(room.message, other))[0] == 0
    assert room.keys().keys() == {"StartedAt"}
    assert other.read_text() == "mine"


def test_a_termination_folder_that_is_missing(room):
    room.message = room.tekton / "deep/message"
    assert room.sh("true")[0] == 0
    assert room.keys().keys() == {"StartedAt"}


def test_compression(room):
    room.write("a", "x" * 50_000)
    assert room.sh("true", "-results", "a", "-compress_termination_message")[0] == 0
    found = read_message(room.message.read_text(), 4096)
    assert not found.cut
    assert found.entries[0]["value"] == "x" * 50_000


def test_artifacts(room):
    (room.tekton / "artifacts").mkdir()
    (room.tekton / "artifacts/provenance.json").write_text("{}")
    env = {"RESULTSFW_PATHS": f"/tekton\t{room.tekton}"}
    room.sh(f"echo '[]' > {room.tekton}/run/0/status/artifacts/provenance.json", env=env)
    assert room.entries()[1:] == [
        ("/tekton/run/0/status/artifacts/provenance.json", "[]\n", 5),
        ("/tekton/artifacts/provenance.json", "{}", 6),
    ]


def test_a_result_being_written_when_the_step_is_killed(room):
    """What is there when it ends is what is reported, and the Step has failed."""
    script = f"i=0; while :; do i=$((i+1)); printf %09d $i > {room.tekton}/results/a; done"
    process = room.start("-results", "a", command=("sh", "-c", script))
    await_true((room.tekton / "results/a").exists)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 255
    value = room.keys()["a"]
    assert value == (room.tekton / "results/a").read_text()


def test_a_results_folder_that_leads_out(room, tmp_path):
    """Guarantee 5: a Step that puts a link to elsewhere in the folder's place brings nothing out."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a").write_text("secret")
    (room.tekton / "results").rename(room.tekton / "elsewhere")
    (room.tekton / "results").symlink_to(tmp_path / "outside")
    assert room.sh("true", "-results", "a")[0] == 1
    assert room.refused()[0]["reason"] == "OutsideFolder"
