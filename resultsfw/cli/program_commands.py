"""The commands about the program itself: ``version`` and ``completion``."""

import json
import platform
from importlib import metadata

import click

from resultsfw.cli import completion as completions
from resultsfw.cli.options import output_option

__all__ = ["completion", "version"]


@click.command(short_help="Print the versions of resultsfw, its plugin contract and Python.")
@output_option("text", "json")
def version(output: str) -> int:
    """Print the versions of resultsfw, of the contract that plugins are written for, and of Python."""
    from resultsfw import API_VERSION  # noqa: PLC0415 - what --help does not need

    facts = {
        "resultsfw": metadata.version("resultsfw"),
        "pluginContract": API_VERSION,
        "python": platform.python_version(),
    }
    if output == "json":
        click.echo(json.dumps(facts, indent=2))
    else:
        click.echo(f"resultsfw {facts['resultsfw']}, plugin contract {API_VERSION}, Python {facts['python']}")
    return 0


@click.command(short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(completions.SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> int:
    """Print the script by which a SHELL completes commands, options, and names of backends.

    \b
    bash, in ~/.bashrc:                     eval "$(resultsfw completion bash)"
    zsh, in ~/.zshrc:                       eval "$(resultsfw completion zsh)"
    fish, in ~/.config/fish/config.fish:    resultsfw completion fish | source

    "kubectl results" is completed by kubectl's own completion.
    """  # noqa: D301 - click reads the character, not its name
    click.echo(completions.script(context.find_root().command, "resultsfw", shell))
    return 0
