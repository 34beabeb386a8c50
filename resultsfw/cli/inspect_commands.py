"""The commands that inspect runs, on a cluster or in saved files: list, explain, value, verify, collect.

The work of each command is in a module of its own, imported when the command runs: ``--help`` stays fast.
"""

from typing import Any

import click

from resultsfw.cli.options import (
    READ_STATUSES,
    SAVED_STATUSES,
    VALUE_STATUSES,
    VERIFY_STATUSES,
    files_option,
    flag_options,
    flags_namespace_option,
    given_options,
    kubeconfig_options,
    logs_option,
    output_option,
    run_namespace_option,
    source_options,
)
from resultsfw.errors import InputError

__all__ = ["collect", "explain", "list_", "value", "verify"]


@click.command("list", epilog=READ_STATUSES, short_help="List runs, and how many of their results arrived.")
@click.argument("words", nargs=-1, metavar="[taskruns|pipelineruns] [NAME...]")
@files_option
@run_namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="List the runs of all namespaces.")
@click.option("-l", "--selector", default="", metavar="LABELS", help="List runs with these labels only.")
@kubeconfig_options
@output_option("table", "wide", "name", "json", "yaml")
def list_(words: tuple[str, ...], output: str, selector: str, **given: Any) -> int:
    """List TaskRuns and PipelineRuns: their status, and how many of their declared results arrived.

    A NAME is NAME, taskrun/NAME (tr/NAME) or pipelinerun/NAME (pr/NAME).
    """
    from resultsfw.cli.inspect.list_runs import list_runs  # noqa: PLC0415 - see above

    with _source(given) as source:
        spaces = bool(given["all_namespaces"])
        return list_runs(words, source, selector=selector, output=output, all_namespaces=spaces)


@click.command(epilog=SAVED_STATUSES, short_help="Trace each result of a run.")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@source_options
@output_option("text", "json", "yaml", "html")
def explain(names: tuple[str, ...], output: str, **given: Any) -> int:
    """Trace each declared result of a run: who can write it, what carried it, where it ended.

    A NAME is NAME, taskrun/NAME (tr/NAME) or pipelinerun/NAME (pr/NAME); of a PipelineRun all TaskRuns are
    traced. With -f it may be left out if there is only one run.
    """
    from resultsfw.cli.inspect.explain import explain_runs  # noqa: PLC0415 - see above
    from resultsfw.cli.sources.run_names import parse_names  # noqa: PLC0415 - see above

    asked = parse_names(names)  # first: a file in place of a name needs no cluster to be refused
    with _source(given) as source:
        return explain_runs(asked, source, output=output)


@click.command(epilog=VALUE_STATUSES, short_help="Print the value of a result of a run.")
@click.argument("words", nargs=-1, required=True, metavar="NAME RESULT")
@files_option
@run_namespace_option
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write the value to this file, replacing it.  [default: standard output]",
)
@click.option(
    "--cluster",
    is_flag=True,
    help="With -f: let the backend read the value through the cluster, as pvc does by a Pod.",
)
@kubeconfig_options
@flags_namespace_option
@flag_options
def value(words: tuple[str, ...], output: str | None, cluster: bool, **given: Any) -> int:
    """Print the value of a RESULT of the run NAME; with -f, NAME may be left out if there is only one run.

    If the status holds a reference, the backend that it names fetches the value, as the flags configure
    it. Nothing is printed until the whole value is fetched and verified. "STEP.RESULT" is a Step's own
    result.
    """
    from resultsfw.cli.inspect.value import Access, print_value  # noqa: PLC0415 - see above
    from resultsfw.cli.sources.run_names import parse_names  # noqa: PLC0415 - see above

    if len(words) > 2 or (len(words) == 1 and not given["files"]):  # noqa: PLR2004 - NAME and RESULT
        raise click.UsageError("give the NAME of a run and its RESULT (with -f, RESULT alone may be enough)")
    *names, result = words
    access = Access()
    if given["files"]:
        kubeconfig, context = given.pop("kubeconfig"), given.pop("context")
        access = Access(cluster or bool(kubeconfig or context), kubeconfig, context)
    asked = parse_names(names)  # see explain
    with _source(given) as source:
        return print_value(asked, result, source, output=output, access=access)


@click.command(epilog=VERIFY_STATUSES, short_help="Verify runs by their signatures.")
@click.argument("names", nargs=-1, metavar="[NAME...]")
@files_option
@run_namespace_option
@kubeconfig_options
@click.option(
    "--bundle",
    "bundles",
    metavar="FILE",
    multiple=True,
    required=True,
    help="The trust bundle as it was when the runs ended: certificates in PEM, or what "
    '"spire-server bundle show -format spiffe" prints; can be repeated.',
)
@click.option(
    "--trust-domain",
    metavar="DOMAIN",
    help="The trust domain.  [default: the one that the bundle's authorities name]",
)
@click.option(
    "--controller-id",
    metavar="ID",
    help="The SPIFFE ID of the controller that must have signed.  [default: "
    "spiffe://DOMAIN/ns/resultsfw/sa/resultsfw-controller]",
)
@output_option("text", "json", "yaml")
def verify(
    names: tuple[str, ...],
    *,
    bundles: tuple[str, ...],
    trust_domain: str | None,
    controller_id: str | None,
    output: str,
    **given: Any,
) -> int:
    """Verify that runs are what their controller wrote and their pods signed.

    With -f, without a NAME, all runs in the files are verified; they may come from an archive, and neither a
    cluster nor the network is used. A PipelineRun verifies if all its TaskRuns can be read and verify.
    """
    from resultsfw.cli.extras import needs  # noqa: PLC0415 - see above
    from resultsfw.cli.sources.run_names import parse_names  # noqa: PLC0415 - see above

    with needs("signed"):
        from resultsfw.cli.inspect.verify import verify_runs  # noqa: PLC0415 - see above
    asked = parse_names(names)  # see explain
    with _source(given) as source:
        return verify_runs(
            asked,
            source,
            bundles=bundles,
            trust_domain=trust_domain,
            controller_id=controller_id,
            output=output,
        )


@click.command(epilog=SAVED_STATUSES, short_help="Print the status that a saved TaskRun should have.")
@click.argument("names", nargs=-1, metavar="[NAME]")
@files_option
@logs_option
@run_namespace_option
@flag_options
@output_option("yaml", "json", "table")
def collect(names: tuple[str, ...], output: str, **given: Any) -> int:
    """Print a saved TaskRun with the status that the controller computes from its saved Pod and logs.

    Nothing runs, and no cluster is asked: -f names files with the TaskRun, its Pod, and the Task to which it
    refers.
    """
    from resultsfw.cli.inspect.collect import collect_saved  # noqa: PLC0415 - see above
    from resultsfw.cli.sources.run_names import parse_names  # noqa: PLC0415 - see above

    if not given["files"]:
        raise click.UsageError("give the files of the TaskRun and of its Pod with -f")
    with _source(given) as source:
        return collect_saved(parse_names(names), source, output=output)


def _source(given: dict[str, Any]) -> Any:
    """Return the source that the options of a command name."""
    from resultsfw.cli.output import show  # noqa: PLC0415 - see above
    from resultsfw.cli.sources.opening import open_source  # noqa: PLC0415 - see above
    from resultsfw.cli.sources.source import Where  # noqa: PLC0415 - see above

    logs: dict[str, str] = {}
    for option in given.pop("logs", ()):
        container, equals, file = option.partition("=")
        if not (container and equals and file):
            raise InputError(f'--log "{option}" is not of the form CONTAINER=FILE', subject="--log")
        if container in logs:
            raise InputError(f'--log names container "{container}" twice', subject="--log")
        logs[container] = file
    flags = {
        str(key): given.pop(key)
        for key in ("feature_flags", "results_from", "max_result_size")
        if key in given
    }
    if flags:
        given["flags"] = given_options(flags)
    return open_source(Where(logs=logs, **given), note=show.print_note)
