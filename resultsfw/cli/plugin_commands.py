"""The commands about plugins: those that are installed, and the projects of new ones.

The work of each command is in a module of its own, imported when the command runs: ``--help`` stays fast.
"""

import click

from resultsfw.cli.options import LIST_STATUSES, NEW_STATUSES, output_option

__all__ = ["backends", "new_backend", "new_extension"]


@click.command(
    epilog=LIST_STATUSES, short_help="List the installed backends and extensions, or describe one."
)
@click.argument("name", required=False)
@click.option(
    "--feature-flags",
    metavar="FILE",
    help='Use the options ("config.NAME") of the ConfigMap "feature-flags" in FILE.  [default: no options]',
)
@output_option("table", "json", "yaml")
def backends(name: str | None, feature_flags: str | None, output: str) -> int:
    """List the installed backends and extensions, and why any is broken; with a NAME, describe that one.

    Each is imported in a process of its own; an extension is also created and closed there.
    """
    from resultsfw.cli.backends import describe_backend, list_backends  # noqa: PLC0415 - see above

    if name is None:
        return list_backends(output=output, feature_flags=feature_flags)
    return describe_backend(name, output=output, feature_flags=feature_flags)


_into = click.option(
    "--into",
    default=".",
    show_default=True,
    metavar="DIR",
    help="Create the project's directory in this one.",
)


@click.command("new-backend", epilog=NEW_STATUSES, short_help="Create the project of a new backend.")
@click.argument("name")
@_into
def new_backend(name: str, into: str) -> int:
    """Create a project that contains a working backend NAME, its tests and a CI workflow.

    NAME is the value for the feature flag "results-from": lower case letters, digits, hyphens.
    """
    from resultsfw.cli.new_project import BACKEND, write_project  # noqa: PLC0415 - see above

    return write_project(BACKEND, name, into=into)


@click.command("new-extension", epilog=NEW_STATUSES, short_help="Create the project of a new extension.")
@click.argument("name")
@_into
def new_extension(name: str, into: str) -> int:
    """Create a project that contains a working extension NAME, its tests and a CI workflow.

    NAME is what the feature flag "extensions" lists: lower case letters, digits, hyphens.
    """
    from resultsfw.cli.new_project import EXTENSION, write_project  # noqa: PLC0415 - see above

    return write_project(EXTENSION, name, into=into)
