"""Completion of commands, options, paths and names of backends: bash's own, and kubectl's protocol."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from resultsfw.cli import commands, completion

PROGRAMS = Path(sys.executable).parent


def candidates(text):
    """The candidates without their help, and the directive."""
    *rows, directive = text.splitlines()
    return [row.partition("\t")[0] for row in rows], directive


@pytest.mark.parametrize(
    ("words", "expected", "directive"),
    [
        (["expl"], ["explain"], ":4"),
        (["install", "--monit"], ["--monitoring"], ":4"),
        (["run", "--results-from", "sidecar"], ["sidecar-logs"], ":4"),
        (["install", "--backend", "cust"], ["custom-resource"], ":4"),
        (["backends", "re"], ["redact"], ":4"),
        (["--color", ""], ["auto", "always", "never"], ":4"),
        (["run", ""], [], ":0"),
        (["run", "--workdir", ""], [], ":16"),
        ([], [*sorted(commands.resultsfw.commands)], ":4"),
    ],
)
def test_kubectl_gets_candidates_and_a_directive(words, expected, directive):
    assert candidates(completion.kubectl_complete(commands.resultsfw, words)) == (expected, directive)


def test_bash_completes_backends_by_the_script_that_is_printed(cli):
    script = cli("completion", "bash").out
    typed = "COMP_WORDS=(resultsfw run --results-from config) COMP_CWORD=3"
    typed += '; _resultsfw_completion resultsfw; echo "${COMPREPLY[@]}"'
    done = subprocess.run(
        ["bash", "-c", f"{script}\n{typed}"],
        check=True,
        capture_output=True,
        text=True,
        env={"PATH": f"{PROGRAMS}:{os.environ['PATH']}"},
    )
    assert done.stdout.split() == ["config-map"]


def test_names_of_runs_are_those_of_the_files_that_are_given(tmp_path):
    file = tmp_path / "runs.json"
    runs = [
        {"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": name}}
        for name in ("build-1", "build-2", "test-1")
    ]
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": runs}))
    complete = completion.kubectl_complete(commands.resultsfw, ["explain", "-f", str(file), "build"])
    assert candidates(complete) == (["build-1", "build-2"], ":4")
    assert candidates(
        completion.kubectl_complete(commands.resultsfw, ["explain", "-f", str(tmp_path / "none"), ""])
    ) == ([], ":4")


def test_names_that_a_shell_would_run_or_that_are_no_names_are_not_offered(tmp_path, capsys):
    names = [
        "$(touch pwned)",
        "`id`",
        "a\nfile,b",
        "tab\tthere",
        "*",
        "; ls",
        "\ud800",
        "-x",
        5,
        None,
        "good",
    ]
    file = tmp_path / "runs.json"
    runs = [{"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": name}} for name in names]
    bare = {"apiVersion": "tekton.dev/v1", "kind": "TaskRun"}
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [bare, *runs]}))
    for words in (["explain", "-f", str(file), ""], ["list", "-f", str(file), ""]):
        assert candidates(completion.kubectl_complete(commands.resultsfw, words)) == (["good"], ":4")
    assert candidates(completion.kubectl_complete(commands.resultsfw, ["explain", "-f", "-", ""])) == (
        [],
        ":4",
    )
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_of_their_own(cli, shell):
    assert "_RESULTSFW_COMPLETE" in cli("completion", shell).out


def test_kubectl_calls_the_plugin_by_its_name():
    assert (PROGRAMS / "kubectl-results").exists()
    done = subprocess.run(
        [PROGRAMS / "kubectl-results", "explain", "--no-such-option"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "kubectl results explain --help" in done.stderr
