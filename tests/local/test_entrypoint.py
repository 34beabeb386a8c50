"""The program that plays Tekton's entrypoint, alone, as a real process."""

import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from entrypoint_harness import finish
from localpods import await_true, processes_with

from resultsfw.local.process_spec import ENTRYPOINT


def test_a_successful_command_writes_message_post_file_and_exit_code(entrypoint):
    status, output = entrypoint.sh(f"echo hi; printf v > {entrypoint.tekton}/results/a", "-results", "a,b")
    assert (status, output) == (0, "hi\n")
    assert entrypoint.names() == ["out", "status"]
    assert (entrypoint.tekton / "run/0/status/exitCode").read_text() == "0"
    (a, started) = entrypoint.entries()
    assert a == ("a", "v", 1)
    assert started[0] == "StartedAt"
    assert started[2] == 3
    assert time.strptime(started[1][:19], "%Y-%m-%dT%H:%M:%S")
    assert started[1][19] == "."
    assert started[1].endswith("Z")
    assert len(started[1]) == 24


def test_a_failed_command_writes_the_error_post_file(entrypoint):
    entrypoint.write("a", "v")
    status, _ = entrypoint.sh("exit 3", "-results", "a")
    assert status == 3
    assert entrypoint.names() == ["out.err", "status"]
    assert not (entrypoint.tekton / "run/0/status/exitCode").exists()
    assert entrypoint.entries()[0] == ("a", "v", 1)


def test_an_ignored_failure_releases_the_next_step(entrypoint):
    status, _ = entrypoint.sh("exit 3", "-on_error", "continue")
    assert status == 0
    assert entrypoint.names() == ["out", "status"]
    assert (entrypoint.tekton / "run/0/status/exitCode").read_text() == "3"
    assert entrypoint.entries()[1] == ("ExitCode", "3", 3)


def test_a_command_killed_by_a_signal_exits_with_255(entrypoint):
    """Go says -1 of a process that a signal ended, and the system makes 255 of it (capture sl-cancelled)."""
    assert entrypoint.sh("kill -9 $$")[0] == 255
    assert entrypoint.names() == ["out.err", "status"]
    assert entrypoint.sh("kill -9 $$", "-on_error", "continue", step=1)[0] == 0
    assert entrypoint.keys()["ExitCode"] == "-1"


def test_it_waits_for_a_file(entrypoint):
    wait = entrypoint.tekton / "run/0/out"
    process = entrypoint.start("-wait_file", str(wait), command=("echo", "now"), step=1)
    await_true((entrypoint.tekton / "run/1/status/artifacts").is_dir)
    assert process.poll() is None
    wait.touch()
    assert finish(process) == (0, "now\n")


def test_it_waits_for_content(entrypoint):
    ready = entrypoint.tekton / "ready"
    ready.touch()
    process = entrypoint.start("-wait_file", str(ready), "-wait_file_content", command=("echo", "now"))
    await_true((entrypoint.tekton / "run/0/status/artifacts").is_dir)
    assert process.poll() is None
    ready.write_text("READY")
    assert finish(process) == (0, "now\n")


def test_it_waits_for_a_file_in_a_folder_that_is_created_later(entrypoint):
    later = entrypoint.tekton / "later/ready"
    process = entrypoint.start("-wait_file", str(later), command=("echo", "now"))
    await_true((entrypoint.tekton / "run/0/status/artifacts").is_dir)
    later.parent.mkdir()
    later.touch()
    assert finish(process) == (0, "now\n")


def test_it_skips_after_a_failed_step_and_passes_the_failure_on(entrypoint):
    (entrypoint.tekton / "run/0/out.err").touch()
    entrypoint.write("a", "v")
    status, output = entrypoint.sh(
        "echo no", "-wait_file", f"{entrypoint.tekton}/run/0/out", "-results", "a", step=1
    )
    assert status == 1
    assert output == "Skipping step because a previous step failed\n"
    assert entrypoint.names(1) == ["out.err", "status"]
    assert entrypoint.keys().keys() == {"StartedAt", "Reason"}
    assert entrypoint.keys()["Reason"] == "Skipped"


def test_signals_are_forwarded_to_the_process_group(entrypoint):
    script = f"""
        sh -c 'trap "echo inner; exit" TERM; touch {entrypoint.tekton}/inner; while :; do sleep 0.02; done' &
        trap 'wait; echo outer; exit 7' TERM
        touch {entrypoint.tekton}/up
        while :; do sleep 0.02; done
    """
    process = entrypoint.start(command=("sh", "-c", script))
    await_true(lambda: (entrypoint.tekton / "up").exists() and (entrypoint.tekton / "inner").exists())
    process.send_signal(signal.SIGTERM)
    status, output = finish(process)
    assert status == 7
    assert {"inner", "outer"} <= set(output.split())
    assert entrypoint.names() == ["out.err", "status"]


def test_a_timeout_kills_the_command(entrypoint):
    mark = f"{entrypoint.tekton}/mark-of-this-test"
    script = (
        f"printf v > {entrypoint.tekton}/results/a; sh -c 'sleep 300; true {mark}' & sleep 300; true {mark}"
    )
    before = time.monotonic()
    status, _ = entrypoint.sh(script, "-timeout", "0.2s", "-results", "a")
    assert status == 1
    assert time.monotonic() - before >= 0.2
    assert entrypoint.names() == ["out.err", "status"]
    assert entrypoint.keys()["Reason"] == "TimeoutExceeded"
    assert entrypoint.keys()["a"] == "v"
    await_true(lambda: not processes_with(mark))


def test_a_negative_timeout_fails(entrypoint):
    status, output = entrypoint.sh("echo no", "-timeout", "-1s")
    assert (status, output) == (1, "negative timeout specified\n")
    assert entrypoint.names() == ["out.err", "status"]


def test_cancelling_kills_the_command(entrypoint):
    (entrypoint.tekton / "downward").mkdir()
    process = entrypoint.start(command=("sh", "-c", f"touch {entrypoint.tekton}/up; exec sleep 300"))
    await_true((entrypoint.tekton / "up").exists)
    (entrypoint.tekton / "downward/cancel").write_text("CANCEL")
    assert finish(process)[0] == 9
    assert entrypoint.names() == ["out.err", "status"]
    assert (entrypoint.tekton / "run/0/status/exitCode").read_text() == "killed"
    assert entrypoint.keys()["Reason"] == "Cancelled"


@pytest.mark.parametrize(
    ("shebang", "missing"),
    [
        ("#!/usr/bin/env node-of-the-future", "node-of-the-future"),
        ("#!/opt/none/bin/python9 -u", "python9"),
        ("#!/usr/bin/env -S FOO=1 node-of-the-future --x", "node-of-the-future"),
    ],
)
def test_a_missing_interpreter_is_named_in_a_sentence(entrypoint, shebang, missing):
    file = entrypoint.tekton / "scripts/script-0"
    file.write_text(f"{shebang}\n1")
    file.chmod(0o755)
    said = (
        f'the Step asks for "{shebang}" and this machine has no {missing}; install it or run on a cluster\n'
    )
    assert entrypoint.run(command=(str(file),)) == (127, said)
    assert entrypoint.names() == ["out.err", "status"]


def test_a_command_that_cannot_start_fails_with_the_shells_status(entrypoint):
    status, output = entrypoint.run(command=("no-such-command",), step=1)
    assert status == 127
    assert 'the Step runs "no-such-command" and this machine has no such command' in output
    status, output = entrypoint.run(command=("/no/such/file",), step=1)
    assert status == 127
    assert "is not on this machine" in output
    file = entrypoint.tekton / "scripts/data"
    file.write_text("no shebang")
    status, output = entrypoint.run(command=(str(file),), step=1)
    assert (status, "Permission denied" in output) == (126, True)
    file.chmod(0o755)
    status, output = entrypoint.run(command=(str(file),), step=1)
    assert (status, "neither a program of this machine nor" in output) == (126, True)
    assert entrypoint.run("-on_error", "continue", command=("no-such-command",), step=0)[0] == 127
    assert entrypoint.names() == ["out.err", "status"], "not an exit code that could be ignored, as in Tekton"


def test_references_to_step_results_are_replaced(entrypoint):
    results = entrypoint.tekton / "run/0/status/results"
    results.mkdir(parents=True)
    (entrypoint.tekton / "steps/step-build").symlink_to(entrypoint.tekton / "run/0/status")
    (results / "text").write_text("a b")
    (results / "list").write_text('["one","two"]')
    (results / "map").write_text('{"k":"v"}')
    reference = "$(steps.build.results."
    status, output = entrypoint.run(
        command=(
            "sh",
            "-c",
            'echo "$VALUE"; for a in "$@"; do echo "<$a>"; done',
            f"{reference}text)",
            f"{reference}text)!",
            f"{reference}list[*])",
            f"{reference}list[1])",
            f"{reference}map.k)",
        ),
        env={"VALUE": f"{reference}text) and {reference}map.k)"},
        step=1,
    )
    assert status == 0
    assert output.splitlines() == ["a b and v", "<a b!>", "<one>", "<two>", "<two>", "<v>"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("none.results.r", "no Step wrote it"),
        ("none.results.r.a.b", "is not a reference to a result of a Step"),
        ("build.results.list", "name an element"),
        ("build.results.list[7]", "2 items"),
        ("build.results.map.other", 'no key "other"'),
        ("build.results.text[0]", "the result is not an array"),
        ("build.results.text[*]", "the result is not an array"),
    ],
)
def test_an_unresolved_reference_fails_the_step_before_the_command_runs(entrypoint, name, why):
    """Tekton's entrypoint runs the command as it is written: "rm -rf $(steps.a.results.r)/*"."""
    results = entrypoint.tekton / "run/0/status/results"
    results.mkdir(parents=True)
    (entrypoint.tekton / "steps/step-build").symlink_to(entrypoint.tekton / "run/0/status")
    (results / "text").write_text("a b")
    (results / "list").write_text('["one","two"]')
    (results / "map").write_text('{"k":"v"}')
    for command, env in (
        (("sh", "-c", f"echo ran; echo $(steps.{name})"), {}),
        (("sh", "-c", "echo ran"), {"A": f"$(steps.{name})"}),
    ):
        status, output = entrypoint.run(command=command, env=env, step=1)
        assert status == 1
        assert "ran" not in output.splitlines()
        assert f"$(steps.{name})" in output
        assert why in output


def test_a_step_skipped_by_when_needs_no_results(entrypoint):
    when = '[{"input":"a","operator":"in","values":["b"]}]'
    status, _ = entrypoint.run("-when_expressions", when, command=("echo", "$(steps.none.results.r)"))
    assert status == 0


@pytest.mark.parametrize(
    ("when", "runs"),
    [
        ('[{"input":"a","operator":"in","values":["a","b"]}]', True),
        ('[{"input":"a","operator":"notin","values":["a"]}]', False),
        ('[{"input":"a","operator":"in","values":["a"]},{"input":"a","operator":"in","values":[]}]', False),
    ],
)
def test_when_expressions_decide_whether_the_step_runs(entrypoint, when, runs):
    status, output = entrypoint.sh("echo ran", "-when_expressions", when)
    assert status == 0
    assert ("ran" in output) is runs
    assert entrypoint.names() == ["out", "status"]
    assert (entrypoint.tekton / "run/0/status/exitCode").read_text() == "0"
    assert entrypoint.keys().get("Reason") == (None if runs else "Skipped")


@pytest.mark.slow
def test_when_expressions_in_cel_are_evaluated_with_step_results_in_them(entrypoint):
    results = entrypoint.tekton / "run/0/status/results"
    results.mkdir(parents=True)
    (entrypoint.tekton / "steps/step-build").symlink_to(entrypoint.tekton / "run/0/status")
    (results / "text").write_text("yes")
    for cel, status, said in (
        ("'$(steps.build.results.text)' == 'yes'", 0, "ran\n"),
        ("'$(steps.build.results.text)' == 'no'", 0, "Step was skipped due to when expressions"),
        ("params.x == 'a'", 1, "undeclared reference to 'params' (in container '')\n"),
        ("'a'", 1, "The CEL expression 'a' is not evaluated to a boolean\n"),
        ("'$(steps.build.results.none)' == 'a'", 1, "when expressions: "),
    ):
        ran = entrypoint.sh("echo ran", "-when_expressions", json.dumps([{"cel": cel}]), step=1)
        assert ran[0] == status
        assert ran[1].startswith(said)


def test_the_entrypoints_own_variables_do_not_reach_the_command(entrypoint):
    env = {"RESULTSFW_MESSAGE_BUDGET": "4000", "RESULTSFW_SCRATCH": str(entrypoint.tekton), "MINE": "1"}
    _, output = entrypoint.run(command=("env",), env=env)
    assert "MINE=1" in output
    assert "RESULTSFW" not in output


def test_the_command_starts_with_default_signal_handling(entrypoint):
    """Python ignores SIGPIPE and we block others; the Step must not inherit that."""
    _, output = entrypoint.run(command=("grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status"))
    blocked, ignored = (int(line.split()[1], 16) for line in output.splitlines())
    assert blocked == 0
    assert not ignored & (1 << signal.SIGPIPE - 1 | 1 << signal.SIGXFSZ - 1 | 1 << signal.SIGTERM - 1)


def test_init_and_decode_script_prepare_the_pod(entrypoint):
    destination = entrypoint.tekton / "bin/entrypoint"
    process = entrypoint.launch("init", "/ko-app/entrypoint", str(destination), "step-a", "step-b")
    assert finish(process) == (0, "Entrypoint initialization\n")
    assert (
        finish(entrypoint.launch("init", "/ko-app/entrypoint", str(destination), "step-a", "step-b"))[0] == 0
    )
    steps = {one.name: str(one.readlink()) for one in (entrypoint.tekton / "steps").iterdir()}
    assert steps == {
        "step-a": f"{entrypoint.tekton}/run/0/status",
        "0": f"{entrypoint.tekton}/run/0/status",
        "step-b": f"{entrypoint.tekton}/run/1/status",
        "1": f"{entrypoint.tekton}/run/1/status",
    }
    script = entrypoint.tekton / "scripts/script-0"
    script.write_text("IyEvYmluL3NoCmVjaG8gaGkK\n")
    script.chmod(0o755)
    decoded = subprocess.run(
        [destination, "decode-script", script], check=True, capture_output=True, text=True
    )
    assert decoded.stderr == f"Decoded script {script}\n"
    assert script.read_text() == "#!/bin/sh\necho hi\n"
    assert script.stat().st_mode & 0o777 == 0o755
    script.write_text("not base64!")
    assert finish(entrypoint.launch("decode-script", str(script)))[0] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-no_such_flag"], "flag provided but not defined: -no_such_flag"),
        (["-post_file"], "flag needs an argument: -post_file"),
        (["-wait_file_content=maybe"], "invalid boolean value"),
        (["-timeout", "soon"], 'invalid duration "soon"'),
        (["-breakpoint_on_failure"], "only possible on a cluster"),
        (
            ["-enable_spire"],
            "signatures by Tekton's entrypoint (-enable_spire), which is only possible on a cluster",
        ),
    ],
)
def test_invalid_arguments_are_refused(entrypoint, arguments, said):
    status, output = finish(entrypoint.launch(*arguments))
    assert status == 2
    assert said in output


def test_an_unknown_subcommand_is_refused(entrypoint):
    assert finish(entrypoint.launch("frobnicate", "x")) == (
        1,
        "frobnicate error: unknown subcommand: frobnicate x\n",
    )


def test_it_imports_no_slow_modules(entrypoint):
    """Far from pydantic's second: the modules it imports are few."""
    script = (
        "import sys; sys.path.append(sys.argv[1]); import step.entrypointer; "
        "print({'typing', 'dataclasses', 'subprocess', 'pathlib', 'argparse'} & sys.modules.keys())"
    )
    folder = str(Path(ENTRYPOINT).parent)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, folder], check=True, capture_output=True, text=True
    )
    assert done.stdout == "set()\n"


def test_many_steps_wait_for_each_other(entrypoint):
    """Twenty Steps, each behind the one before."""
    processes = []
    for index in range(20):
        (entrypoint.tekton / f"run/{index}").mkdir(exist_ok=True)
    for index in range(20):
        wait = ["-wait_file", f"{entrypoint.tekton}/run/{index - 1}/out"] if index else []
        processes.append(entrypoint.start(*wait, command=("true",), step=index))
    threads = [threading.Thread(target=finish, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert all((entrypoint.tekton / f"run/{index}/out").exists() for index in range(20))
