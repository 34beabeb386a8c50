"""The entrypoint copies a Step's stdout and stderr into files (``stdoutConfig``, ``stderrConfig``)."""

import os

import pytest


def test_streams_are_copied_beside_the_log_and_may_be_results(entrypoint):
    out, err = entrypoint.tekton / "results/out", entrypoint.tekton / "new/folder/err"
    script = "echo one; echo two >&2; seq 20000; exit 3"
    status, output = entrypoint.sh(
        script,
        "-stdout_path",
        str(out),
        "-stderr_path",
        str(err),
        "-on_error",
        "continue",
        "-results",
        "none",
    )
    assert status == 0
    numbers = "".join(f"{number}\n" for number in range(1, 20001))
    assert out.read_text() == f"one\n{numbers}"
    assert err.read_text() == "two\n"
    assert len(output) == len(f"one\ntwo\n{numbers}")
    assert entrypoint.keys()["ExitCode"] == "3"


def test_a_result_that_is_a_copy_of_stdout_is_in_the_message(entrypoint):
    entrypoint.write("both", "before\n")
    both = str(entrypoint.tekton / "results/both")
    entrypoint.sh("echo a; echo b >&2", "-stdout_path", both, "-stderr_path", both, "-results", "both")
    assert sorted(entrypoint.keys()["both"].splitlines()) == ["a", "b", "before"]


def test_what_a_process_in_the_background_prints_is_copied(entrypoint):
    out = entrypoint.tekton / "out"
    assert entrypoint.sh("(read line; echo late) < /dev/null &", "-stdout_path", str(out))[0] == 0
    assert out.read_text() == "late\n"


def test_a_timeout_ends_a_process_that_keeps_a_stream_open(entrypoint):
    out = entrypoint.tekton / "out"
    status, output = entrypoint.sh("echo first; sleep 1000 &", "-stdout_path", str(out), "-timeout", "1s")
    assert status == 1
    assert "Step ran longer than its timeout of 1 s" in output
    assert out.read_text() == "first\n"


@pytest.mark.parametrize("trick", ["fifo", "folder"])
def test_a_file_that_cannot_be_written_fails_the_step_before_it_starts(entrypoint, trick):
    out = entrypoint.tekton / "results/out"
    os.mkfifo(out) if trick == "fifo" else out.mkdir()
    status, output = entrypoint.sh("echo started", "-stdout_path", str(out))
    assert status == 1
    assert "a stream cannot be copied to" in output
    assert "started" not in output
