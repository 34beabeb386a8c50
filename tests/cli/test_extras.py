"""What a command says if a module of an extra is not installed."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from resultsfw.cli import extras
from resultsfw.cli.extras import needs
from resultsfw.errors import InputError

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

WITHOUT_EXTRAS = """
import contextlib, io, json, sys

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

MODULES, commands = json.load(sys.stdin)
sys.meta_path.insert(0, NotInstalled())
from resultsfw.cli import main
outcomes = []
for command in commands:
    errors, out = io.StringIO(), io.TextIOWrapper(io.BytesIO())
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(out):
        status = main(command)
    outcomes.append((status, out.buffer.getvalue().decode(), errors.getvalue()))
json.dump(outcomes, sys.stdout)
"""

EXTRAS = {
    ("install",): "cluster",
    ("doctor",): "cluster",
    ("controller",): "cluster",
    ("list",): "cluster",
    ("value", "build", "digest"): "cluster",
    ("results-server", "--local"): "results-server",
    ("verify", "build", "--bundle", "bundle.pem"): "signed",
}
"""The extra that a command needs."""

PRINT = ("install", "--print", "--monitoring", "--results-from", "sidecar-logs")


@pytest.fixture(scope="module")
def without_extras():
    """Status, output and errors of commands in a process in which no module of any extra is installed."""
    modules = sorted(frozenset().union(*extras.MODULES.values()))
    commands = [*EXTRAS, PRINT]
    command = [sys.executable, "-c", WITHOUT_EXTRAS]
    done = subprocess.run(
        command, input=json.dumps([modules, commands]), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(commands, json.loads(done.stdout), strict=True))


def test_a_missing_module_of_an_extra_is_named_with_the_command_that_installs_it():
    message = r"\"cluster\": pip install 'resultsfw\[cluster\]' \(kubernetes is"
    with pytest.raises(InputError, match=message), needs("cluster"):
        raise ModuleNotFoundError("no", name="kubernetes.client")


def test_another_missing_module_is_a_fault():
    with pytest.raises(ImportError, match="no"), needs("cluster"):
        raise ModuleNotFoundError("no", name="resultsfw.gone")


def test_every_distribution_of_an_extra_is_known_by_its_modules():
    """A distribution that is added to an extra needs its module here; most have the same name."""
    renamed = {"prometheus-client": "prometheus_client"}
    for extra, modules in extras.MODULES.items():
        for requirement in PROJECT["optional-dependencies"][extra]:
            name = requirement.split(">")[0].split("[")[0]
            assert name == "resultsfw" or renamed.get(name, name) in modules, requirement


def test_manifests_are_printed_without_any_extra(without_extras):
    status, out, errors = without_extras[PRINT]
    assert (status, "kind: Deployment" in out) == (0, True), errors


@pytest.mark.parametrize(("command", "extra"), EXTRAS.items(), ids=[words[0] for words in EXTRAS])
def test_a_command_without_its_extra_is_refused_with_the_command_that_installs_it(
    without_extras, command, extra
):
    status, _, errors = without_extras[command]
    assert status == 2
    assert f"pip install 'resultsfw[{extra}]'" in errors
