"""The command ``run``; its work is in `resultsfw.cli.run`, imported when the command runs."""

import click

from resultsfw.cli.options import RUN_STATUSES, flag_options, given_options, output_option

__all__ = ["run"]


@click.command(epilog=RUN_STATUSES, short_help="Run TaskRuns and PipelineRuns on this machine.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@flag_options
@click.option(
    "--workdir",
    metavar="DIR",
    help="Create volumes and logs below this directory.  [default: a temporary directory]",
)
@click.option(
    "--claims",
    metavar="DIR",
    help="Keep PersistentVolumeClaims here: claim C of namespace N is DIR/N/C.  [default: a temporary "
    "directory]",
)
@click.option("--keep", is_flag=True, help="Keep the working directory at the end, and print its path.")
@click.option("--graph", metavar="SVG", help="Draw the PipelineRun with the results it passed to this file.")
@click.option(
    "--resolver",
    "resolvers",
    multiple=True,
    type=click.Choice(["git", "http"]),
    help="Allow this resolver to fetch Tasks, Pipelines and StepActions, whose Steps then run as your "
    "processes; can be repeated.  [default: neither]",
)
@output_option("table", "json", "yaml")
def run(
    files: tuple[str, ...],
    *,
    output: str,
    workdir: str | None,
    claims: str | None,
    keep: bool,
    graph: str | None,
    resolvers: tuple[str, ...],
    **flags: str | None,
) -> int:
    """Run the TaskRuns and PipelineRuns in the FILEs on this machine: Steps as processes, no images.

    A FILE is a YAML or JSON manifest; "-" is standard input. The files contain everything that a run uses:
    Tasks, Pipelines and StepActions that it refers to by name or by the resolver "cluster", ConfigMaps,
    Secrets, ServiceAccounts and PersistentVolumeClaims. The ConfigMaps "feature-flags" and
    "config-defaults" are applied.
    """
    from resultsfw.cli.run import run_files  # noqa: PLC0415 - the engine is for this command only

    return run_files(
        files,
        flags=given_options(flags),
        output=output,
        workdir=workdir,
        claims=claims,
        keep=keep,
        graph=graph,
        resolvers=resolvers,
    )
