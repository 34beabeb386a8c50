"""What the entrypoint makes of result files and of the termination file."""

import os
import signal

import pytest
from entrypoint_harness import finish
from localpods import await_true

from resultsfw_backends.termination_message import read_message


def test_task_and_step_results_are_in_the_message(entrypoint):
    tekton = entrypoint.tekton
    script = f"printf s > {tekton}/run/0/status/results/own; printf t > {tekton}/results/shared"
    entrypoint.sh(script, "-results", "shared", "-step_results", "own,none")
    assert [one[::2] for one in entrypoint.entries()] == [("shared", 1), ("own", 4), ("StartedAt", 3)]


def test_results_of_another_transport_are_not_in_the_message(entrypoint):
    entrypoint.write("a", "v")
    os.mkfifo(entrypoint.tekton / "results/fifo")
    status, _ = entrypoint.sh(
        "true", "-result_from", "sidecar-logs", "-results", "a,fifo", "-step_results", "a"
    )
    assert status == 0
    assert entrypoint.keys().keys() == {"StartedAt"}


def test_a_result_too_large_is_named_and_fails_only_this_step(entrypoint):
    entrypoint.write("images", "x" * 4572)
    entrypoint.write("small", "s")
    status, output = entrypoint.sh("true", "-results", "images,small")
    assert status == 1
    assert entrypoint.names() == ["out", "status"]
    assert entrypoint.keys()["small"] == "s"
    assert entrypoint.refused() == [
        {"name": "images", "type": 1, "bytes": 4572, "limit": 4096, "reason": "TooLarge"}
    ]
    assert output == (
        'result "images" has 4572 bytes and does not fit into the termination message, '
        "which may have 4096 bytes\n"
    )


def test_the_budget_of_the_pod_limits_the_message(entrypoint):
    entrypoint.write("a", "x" * 1500)
    env = {"RESULTSFW_MESSAGE_BUDGET": "1365"}
    assert entrypoint.sh("true", "-results", "a", env=env)[0] == 1
    assert entrypoint.refused()[0]["limit"] == 1365
    assert entrypoint.message.stat().st_size <= 1365
    entrypoint.message.unlink()
    assert entrypoint.sh("true", "-results", "a", env={"RESULTSFW_MESSAGE_BUDGET": "99999"})[0] == 0


def test_the_steps_failure_takes_precedence_over_a_refusal(entrypoint):
    entrypoint.write("a", "x" * 5000)
    assert entrypoint.sh("exit 5", "-results", "a")[0] == 5
    assert entrypoint.refused()[0]["name"] == "a"


def test_limits_count_bytes_and_not_characters(entrypoint):
    entrypoint.write("a", "é" * 1990)
    assert entrypoint.sh("true", "-results", "a")[0] == 0
    assert entrypoint.keys()["a"] == "é" * 1990
    entrypoint.message.unlink()
    entrypoint.write("a", "é" * 2050)
    assert entrypoint.sh("true", "-results", "a")[0] == 1
    assert entrypoint.refused()[0]["bytes"] == 4100


def test_awkward_text_arrives_unchanged(entrypoint):
    value = 'line\nquote" back\\slash <b>&amp; \x00\x01\x7f \u2028 😀\r\n'
    entrypoint.write("a", value)
    assert entrypoint.sh("true", "-results", "a")[0] == 0
    assert entrypoint.keys()["a"] == value


def test_hostile_result_files_are_refused_by_name(entrypoint):
    results = entrypoint.tekton / "results"
    os.mkfifo(results / "fifo")
    (results / "folder").mkdir()
    entrypoint.write("latin", b"caf\xe9")
    (results / "out").symlink_to("/etc/hostname")
    (results / "up").symlink_to("../run")
    (results / "device").symlink_to("/dev/zero")
    (results / "loop").symlink_to("loop")
    (results / "dangling").symlink_to("nowhere")
    entrypoint.write("real", "r")
    (results / "inside").symlink_to("real")
    names = "fifo,folder,latin,out,up,device,loop,dangling,inside,absent"
    status, output = entrypoint.sh("true", "-results", names)
    assert status == 1
    assert {one["name"]: one["reason"] for one in entrypoint.refused()} == {
        "fifo": "NotRegularFile",
        "folder": "NotRegularFile",
        "latin": "NotUtf8",
        "out": "OutsideFolder",
        "up": "OutsideFolder",
        "device": "OutsideFolder",
        "loop": "NotRegularFile",
    }
    assert entrypoint.refused()[2] == {
        "name": "latin",
        "type": 1,
        "bytes": 4,
        "limit": 4096,
        "reason": "NotUtf8",
    }
    assert entrypoint.keys()["inside"] == "r"
    assert 'result "fifo" is refused: NotRegularFile' in output


def test_a_results_folder_that_is_a_link_is_read(entrypoint):
    """Tekton's own links lead to a Step's folder; the folder itself may be one."""
    entrypoint.write("a", "v")
    (entrypoint.tekton / "results").rename(entrypoint.tekton / "elsewhere")
    (entrypoint.tekton / "results").symlink_to("elsewhere")
    assert entrypoint.sh("true", "-results", "a")[0] == 0
    assert entrypoint.keys()["a"] == "v"


def test_a_result_over_the_budget_is_not_read(entrypoint):
    """A sparse terabyte: refused by its size alone."""
    with (entrypoint.tekton / "results/a").open("wb") as file:
        file.truncate(1 << 40)
    assert entrypoint.sh("true", "-results", "a")[0] == 1
    assert entrypoint.refused()[0]["bytes"] == 1 << 40


def test_entries_that_the_step_wrote_are_kept(entrypoint):
    digest = '{"key":"digest","value":"forged","type":1,"more":"x"}'
    forged = f'[{digest},{{"key":"Exit","value":"7","type":"InternalTektonResult"}}]'
    entrypoint.write("digest", "real")
    entrypoint.sh(f"printf '%s' '{forged}' > {entrypoint.message}", "-results", "digest")
    assert entrypoint.entries()[:3] == [("digest", "forged", 1), ("Exit", "7", 3), ("digest", "real", 1)]


@pytest.mark.parametrize("text", ["free text", '{"key":"a"}', "[1]", '[{"key":1}]', "tknz:?"])
def test_a_termination_file_that_is_no_message_is_overwritten(entrypoint, text):
    _, output = entrypoint.sh(f"printf '%s' '{text}' > {entrypoint.message}")
    assert entrypoint.keys().keys() == {"StartedAt"}
    assert "is no message" in output


@pytest.mark.parametrize(
    "trick", ["rm -f {0}; mkfifo {0}", "ln -sf {1} {0}", "rm -f {0}; ln -s /dev/full {0}"]
)
def test_a_termination_file_that_is_no_regular_file_is_replaced(entrypoint, trick, tmp_path):
    """It is replaced; what it led to is left alone, and nothing hangs."""
    other = tmp_path / "other"
    other.write_text("mine")
    entrypoint.message.touch()
    assert entrypoint.sh(trick.format(entrypoint.message, other))[0] == 0
    assert entrypoint.keys().keys() == {"StartedAt"}
    assert other.read_text() == "mine"


def test_a_missing_termination_folder_is_created(entrypoint):
    entrypoint.message = entrypoint.tekton / "deep/message"
    assert entrypoint.sh("true")[0] == 0
    assert entrypoint.keys().keys() == {"StartedAt"}


def test_a_compressed_message_holds_more(entrypoint):
    entrypoint.write("a", "x" * 50_000)
    assert entrypoint.sh("true", "-results", "a", "-compress_termination_message")[0] == 0
    found = read_message(entrypoint.message.read_text(), 4096)
    assert not found.cut
    assert found.entries[0]["value"] == "x" * 50_000


def test_a_result_written_while_the_step_is_killed_is_a_prefix(entrypoint):
    """What is there when it ends is what is reported, and the Step has failed."""
    script = f"i=0; while :; do i=$((i+1)); printf %09d $i > {entrypoint.tekton}/results/a; done"
    process = entrypoint.start("-results", "a", command=("sh", "-c", script))
    await_true((entrypoint.tekton / "results/a").exists)
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 255
    value = entrypoint.keys()["a"]
    assert value == (entrypoint.tekton / "results/a").read_text()


def test_a_results_folder_linked_outside_is_refused(entrypoint, tmp_path):
    """Guarantee 5: a Step that puts a link to elsewhere in the folder's place brings nothing out."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/a").write_text("secret")
    (entrypoint.tekton / "results").rename(entrypoint.tekton / "elsewhere")
    (entrypoint.tekton / "results").symlink_to(tmp_path / "outside")
    assert entrypoint.sh("true", "-results", "a")[0] == 1
    assert entrypoint.refused()[0]["reason"] == "OutsideFolder"
