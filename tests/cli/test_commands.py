"""The program as a whole: help, version, errors, a broken pipe."""

import logging
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from resultsfw.cli import commands, main
from resultsfw.errors import NotFoundError


def test_help_lists_every_command(program):
    ran = program("--help")
    assert ran.status == 0
    for command in ("run", "collect", "explain", "backends"):
        assert f"  {command} " in ran.out


@pytest.mark.parametrize(
    "command", ["run", "collect", "explain", "backends", "install", "new-backend", "new-extension"]
)
def test_every_command_has_help_with_its_exit_statuses(cli, command):
    ran = cli(command, "-h")
    assert ran.status == 0
    assert "Exit status:" in ran.out
    assert "..." not in ran.out.replace("FILE...", "").replace("NAME...", "")


def test_a_call_without_a_command_is_refused_with_the_help(cli):
    ran = cli()
    assert ran.status == 2
    assert "Commands:" in ran.err


def test_version_option_prints_the_version(cli):
    assert cli("--version").out.startswith("resultsfw 0")


def test_help_imports_neither_engine_nor_rich():
    """What a command needs is imported when it is asked for."""
    code = (
        "import sys; from resultsfw.cli import main; main(['--help']);"
        "print([m for m in sys.modules if m.startswith(('rich', 'resultsfw.local', 'resultsfw.tekton'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def fails_with(monkeypatch, error):
    def fail(**_):
        raise error

    monkeypatch.setattr(commands.resultsfw.commands["backends"], "callback", fail)


def test_an_unexpected_exception_is_one_line_with_status_3(cli, monkeypatch):
    fails_with(monkeypatch, ZeroDivisionError("by\nzero"))
    ran = cli("backends")
    assert ran.status == 3
    assert ran.err.startswith(
        "error: a fault of resultsfw itself: ZeroDivisionError: by zero; please report it"
    )
    assert ran.err.count("\n") == 1


def test_debug_variable_adds_the_traceback(cli, monkeypatch, write):
    write("x", "")
    monkeypatch.setenv("RESULTSFW_DEBUG", "1")
    ran = cli("run", "gone.yaml")
    assert ran.status == 2
    assert "Traceback" in ran.err
    assert ran.err.endswith("error: gone.yaml: no such file\n")
    fails_with(monkeypatch, ZeroDivisionError("zero"))
    with pytest.raises(ZeroDivisionError):
        cli("backends")


def test_an_error_names_its_subject_and_escapes_control_characters(cli, monkeypatch):
    fails_with(monkeypatch, NotFoundError("is\ngone \x1b[31m", subject="Pod a/b"))
    ran = cli("backends")
    assert ran.status == 1
    assert ran.err == "error: Pod a/b: is gone \\x1b[31m\n"


def test_a_keyboard_interrupt_gives_status_130(cli, monkeypatch):
    fails_with(monkeypatch, KeyboardInterrupt())
    assert cli("backends").status == 130


def test_a_closed_stdout_prints_no_error(saved):
    with subprocess.Popen(
        [sys.executable, "-m", "resultsfw.cli", "collect", *saved("sl-basic"), "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_console_script_is_main():
    [script] = entry_points(group="console_scripts", name="resultsfw")
    assert script.load() is main


def test_a_traceback_is_written_at_once(monkeypatch):
    """Lines of other threads, such as those about Steps, were among those of a traceback."""
    written = []
    monkeypatch.setattr(commands.click, "echo", lambda text, **_: written.append(text))
    error = LookupError("here")
    failed = logging.LogRecord("n", logging.ERROR, "f", 1, "it failed", None, (type(error), error, None))
    commands._Handler().emit(failed)
    [text] = written
    assert text == "error: it failed\nLookupError: here"
