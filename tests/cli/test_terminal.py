"""Color and quiet, as options of every command and by the environment."""

import logging

import pytest

from resultsfw.cli import commands
from resultsfw.cli.probe import probe

ESCAPE = "\x1b["
FACTS = {}


@pytest.fixture(autouse=True)
def probe_once(monkeypatch):
    """Import the described backend in a process once, not for each test."""

    def known(plugins, *, options):
        wanted = tuple(plugins)
        if wanted not in FACTS:
            FACTS[wanted] = probe(wanted, options=options)
        return FACTS[wanted]

    monkeypatch.setattr("resultsfw.cli.backends.probe", known)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("words", "environment", "colored"),
    [
        ((), {}, False),  # no terminal
        (("--color", "always"), {}, True),
        ((), {"FORCE_COLOR": "1"}, True),
        ((), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
        (("--color", "never"), {"FORCE_COLOR": "1"}, False),
        (("--color", "auto"), {"FORCE_COLOR": "1"}, False),
        ((), {"FORCE_COLOR": "", "NO_COLOR": ""}, False),
    ],
)
def test_color_is_what_the_option_says_then_what_the_environment_says(
    cli, monkeypatch, words, environment, colored
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (ESCAPE in cli("backends", "sidecar-logs", *words).out) == colored
    assert (ESCAPE in cli(*words, "backends", "sidecar-logs").out) == colored


def test_of_two_the_option_after_the_command_counts(cli):
    assert ESCAPE not in cli("--color", "always", "backends", "sidecar-logs", "--color", "never").out


def test_quiet_prints_what_was_asked_for_and_errors_only(cli, caplog):
    loud, quiet = (cli(*words, "install", "--print", "--max-result-size", "8192") for words in ((), ("-q",)))
    assert "to set the flags" in loud.err
    assert quiet.err == ""
    assert quiet.out == loud.out
    assert cli("-q", "install", "--print", "--max-result-size", "no").err.startswith("error: ")


def test_quiet_drops_warnings_of_this_call_alone(cli):
    logger = logging.getLogger("resultsfw")
    cli("-q", "version")
    assert not logger.isEnabledFor(logging.WARNING)
    cli("version")
    assert logger.isEnabledFor(logging.WARNING)


def test_all_commands_have_both_options_but_those_that_serve():
    without = {
        name
        for name, command in commands.resultsfw.commands.items()
        if not {"color", "quiet"} <= {parameter.name for parameter in command.params}
    }
    assert without == {"controller", "results-server"}


def test_version_says_versions(cli):
    assert cli("version").out.startswith("resultsfw ")
    assert set(cli("version", "-o", "json").json) == {"resultsfw", "pluginContract", "python"}
