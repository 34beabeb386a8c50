"""The command ``run``; its work is in `resultsfw.cli.run.run_files`, imported when the command runs."""

import click

from resultsfw.cli.options import RUN_STATUSES, flag_options, given_options, output_option

__all__ = ["run"]


@click.command(epilog=RUN_STATUSES, short_help="Run TaskRuns and PipelineRuns on this machine.")
@click.argument("names", nargs=-1, metavar="[FILE...]")
@click.option(
    "-f",
    "--filename",
    "filenames",
    multiple=True,
    metavar="FILE",
    help="A manifest, as a FILE argument; can be repeated.",
)
@click.option("-R", "--recursive", is_flag=True, help="Read the folders in a folder, too.")
@click.option(
    "-p",
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="Give the runs that declare it this param: text; an array as A,B or JSON; an object as "
    "KEY:VALUE,KEY:VALUE or JSON; can be repeated.",
)
@click.option(
    "-w",
    "--workspace",
    "workspaces",
    multiple=True,
    metavar="name=NAME,SOURCE",
    help="Bind a workspace; SOURCE is emptyDir=, claimName=CLAIM, config=CONFIGMAP, secret=SECRET, "
    "volumeClaimTemplateFile=FILE, or folder=DIR, which the Steps can read and write; subPath=DIR and "
    "item=KEY=PATH can follow; can be repeated.",
)
@click.option("--logs", is_flag=True, help="Print the logs of the Steps while they run, on standard error.")
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
@click.option(
    "--keep",
    is_flag=True,
    help="Keep the working directory at the end, print its path, and print the Pods with -o json or yaml.",
)
@click.option("--graph", metavar="SVG", help="Draw the PipelineRun, and the results it passed, in this file.")
@click.option(
    "--resolver",
    "resolvers",
    multiple=True,
    type=click.Choice(["git", "http"]),
    help="Allow this resolver to fetch Tasks, Pipelines and StepActions, whose Steps then run as your "
    "processes; can be repeated.  [default: neither]",
)
@output_option("table", "json", "yaml", "name")
def run(
    names: tuple[str, ...],
    *,
    filenames: tuple[str, ...],
    recursive: bool,
    params: tuple[str, ...],
    workspaces: tuple[str, ...],
    logs: bool,
    output: str,
    workdir: str | None,
    claims: str | None,
    keep: bool,
    graph: str | None,
    resolvers: tuple[str, ...],
    **flags: str | None,
) -> int:
    """Run the TaskRuns and PipelineRuns in the FILEs on this machine: Steps as processes, no images.

    A FILE is a YAML or JSON manifest or a folder of them; "-" is standard input. The files contain everything
    that a run uses: Tasks, Pipelines and StepActions that it refers to by name or by the resolver "cluster",
    ConfigMaps, Secrets, ServiceAccounts and PersistentVolumeClaims. The ConfigMaps "feature-flags" and
    "config-defaults" are applied. If the files contain a Task or Pipeline and no run, that one is run.
    """
    from resultsfw.cli.run.run_files import RunRequest, run_files  # noqa: PLC0415 - the engine is for this command only

    files = (*filenames, *names)
    if not files:
        raise click.UsageError("name a FILE, or give one with -f", click.get_current_context())
    request = RunRequest(
        files=files,
        recursive=recursive,
        params=params,
        workspaces=workspaces,
        logs=logs,
        flags=given_options(flags),
        output=output,
        workdir=workdir,
        claims=claims,
        keep=keep,
        graph=graph,
        resolvers=resolvers,
    )
    return run_files(request)
