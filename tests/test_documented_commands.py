"""Commands of resultsfw that the documents show exist, with their options and choices."""

import json
import re
import shlex
from itertools import zip_longest
from pathlib import Path

import click
import pytest

from resultsfw.cli import main
from resultsfw.cli.commands import resultsfw

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "examples").rglob("README.md")),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELLS = {"", "bash", "console", "sh"}
INLINE = re.compile(r"`(resultsfw [a-z][^`\n]*)`")
NO_COMMANDS = {"v1", "..."}
"""Words after the name that begin other texts, such as a label of encryption."""
SUBSTITUTED = re.compile(r"\$\([^)]*\)")
"""What a shell replaces by the output of another command."""
END = re.compile(r"^(?:[|<>;&].*|\d?>.*)$")
"""Words at which the arguments of a command end."""


def commands(text):
    """Yield the arguments of each command of resultsfw in a page."""
    blocks = [block.replace("\\\n", " ") for kind, block in BLOCK.findall(text) if kind in SHELLS]
    shown = [line for block in blocks for line in block.splitlines()]
    for line in [*(line.removeprefix("$ ") for line in shown), *INLINE.findall(text)]:
        name, _, arguments = line.partition(" ")
        if name == "resultsfw" and "[" not in arguments:
            yield arguments


def words(arguments):
    """Return the words of a command up to a pipe or a redirection."""
    split = shlex.split(SUBSTITUTED.sub("", arguments), comments=True)
    ends = [index for index, word in enumerate(split) if END.match(word)]
    return split[: ends[0]] if ends else split


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "resultsfw " in page.read_text()], ids=lambda page: page.stem
)
def test_commands_that_a_page_shows_have_their_options(page):
    for arguments in commands(page.read_text()):
        name, *rest = words(arguments)
        if name.startswith("-") or name in NO_COMMANDS:
            continue
        command = resultsfw.commands[name.rstrip(",")]
        names = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        names |= {"-h", "--help"}
        choices = {
            option: param.type.choices
            for param in command.params
            if isinstance(param.type, click.Choice)
            for option in param.opts
        }
        for word, value in zip_longest(rest, rest[1:], fillvalue=""):
            if word.startswith("-") and word != "-":
                option, _, given = word.partition("=")
                assert option in names, f"resultsfw {arguments}"
                if option in choices and (given or value).islower():
                    assert (given or value) in choices[option], f"resultsfw {arguments}"


@pytest.mark.slow
def test_the_tutorials_result_arrives_with_the_flags_that_it_sets(tmp_path, capsys):
    text = (ROOT / "docs" / "tutorial" / "first-large-result.md").read_text()
    file = tmp_path / "numbers.yaml"
    file.write_text(re.findall(r"^cat > numbers.yaml <<'EOF'\n(.*?)^EOF$", text, re.MULTILINE | re.DOTALL)[0])
    flags = json.loads(re.findall(r"-p '(\{.*\})'", text)[0])["data"]
    options = [word for key, value in flags.items() for word in (f"--{key}", value)]
    assert main(["run", str(file), *options, "-o", "json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["items"]
    assert [len(result["value"]) for result in run["status"]["results"]] == [6000]
