"""The commands about the program itself: ``version`` and ``completion``."""

import json
import platform
from importlib import metadata
from typing import Any

import click

from resultsfw.cli import completion as completions
from resultsfw.cli.extras import needs
from resultsfw.cli.options import kubeconfig_options, output_option

__all__ = ["completion", "version"]


@click.command(short_help="Print the versions of resultsfw, its plugin contract and Python.")
@click.option(
    "--cluster",
    "on_cluster",
    is_flag=True,
    help="Print the version of the controller on the cluster, too; implied by the options of a cluster.",
)
@click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    help="Namespace of the controller.  [default: resultsfw]",
)
@kubeconfig_options
@output_option("text", "json")
def version(
    output: str, *, on_cluster: bool, namespace: str | None, kubeconfig: str | None, context: str | None
) -> int:
    """Print the versions of resultsfw, of the contract that plugins are written for, and of Python.

    With --cluster, print also the version and image of the controller's Deployment.
    """
    from resultsfw import API_VERSION  # noqa: PLC0415 - what --help does not need

    facts: dict[str, Any] = {
        "resultsfw": metadata.version("resultsfw"),
        "pluginContract": API_VERSION,
        "python": platform.python_version(),
    }
    if on_cluster or namespace or kubeconfig or context:
        with needs("cluster"):
            from resultsfw.cli.controller_version import installed_controllers  # noqa: PLC0415 - likewise

        facts["controllers"] = installed_controllers(kubeconfig, context, namespace or "resultsfw")
    if output == "json":
        click.echo(json.dumps(facts, indent=2))
        return 0
    click.echo(f"resultsfw {facts['resultsfw']}, plugin contract {API_VERSION}, Python {facts['python']}")
    for controller in facts.get("controllers", ()):
        click.echo(_line(controller))
    return 0


def _line(controller: dict[str, Any]) -> str:
    """Return the line about a controller; what the cluster says must not steer a terminal."""
    from resultsfw.cli.output.show import plain  # noqa: PLC0415 - what --help does not need

    version = controller["version"] or "of unknown version"
    replicas = f"{controller['availableReplicas']} of {controller['replicas']} replicas available"
    return plain(
        f"controller {version}, {', '.join(controller['images'])} ({controller['namespace']}/"
        f"{controller['name']}, {replicas})"
    )


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
