"""The commands that need no cluster: they read files, installed plugins and what runs on this machine.

The work of each command is in a module of its own, imported when the command runs: ``--help`` stays fast.
"""

from typing import Any

import click

from resultsfw.cli.options import (
    LIST_STATUSES,
    NEW_STATUSES,
    SAVED_STATUSES,
    VALUE_STATUSES,
    VERIFY_STATUSES,
    flag_options,
    given_options,
    kubeconfig_options,
    output_option,
    saved_run_options,
)
from resultsfw.errors import InputError

__all__ = ["backends", "collect", "explain", "new_backend", "new_extension", "value", "verify"]


@click.command(epilog=SAVED_STATUSES, short_help="Print the status that a saved TaskRun should have.")
@saved_run_options
@output_option("yaml", "json", "table")
def collect(output: str, **saved: Any) -> int:
    """Print a saved TaskRun with the status that the controller computes from its saved Pod and logs.

    Nothing runs, and no cluster is asked.
    """
    from resultsfw.cli.collect import collect_saved  # noqa: PLC0415 - see above

    return collect_saved(_read_saved(saved), output=output)


@click.command(epilog=SAVED_STATUSES, short_help="Trace each result of a saved TaskRun.")
@saved_run_options
@output_option("text", "json")
def explain(output: str, **saved: Any) -> int:
    """Trace each declared result of a saved TaskRun: who can write it, what carried it, where it ended."""
    from resultsfw.cli.explain import explain_saved  # noqa: PLC0415 - see above

    return explain_saved(_read_saved(saved), output=output)


@click.command(epilog=VALUE_STATUSES, short_help="Print the value of a result of a saved TaskRun.")
@click.argument("file", metavar="FILE")
@click.argument("name", metavar="RESULT")
@flag_options
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write the value to this file, replacing it.  [default: standard output]",
)
@click.option(
    "--cluster",
    is_flag=True,
    help="Let the backend read the value through the cluster, as pvc does by a pod.",
)
@kubeconfig_options
def value(file: str, name: str, output: str | None, cluster: bool, **given: Any) -> int:
    """Print the value of a RESULT of the TaskRun in FILE, saved by "kubectl get taskrun NAME -o yaml".

    If the status holds a reference, the backend that it names fetches the value, as the flags configure
    it. Nothing is printed until the whole value is fetched and verified. "STEP.RESULT" is a Step's own
    result.
    """
    from resultsfw.cli.value import Access, print_value  # noqa: PLC0415 - see above

    kubeconfig, context = given.pop("kubeconfig"), given.pop("context")
    access = Access(cluster or bool(kubeconfig or context), kubeconfig, context)
    return print_value(file, name, flags=given_options(given), output=output, access=access)


@click.command(epilog=VERIFY_STATUSES, short_help="Verify saved TaskRuns by their signatures.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
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
@output_option("text", "json")
def verify(
    files: tuple[str, ...],
    *,
    bundles: tuple[str, ...],
    trust_domain: str | None,
    controller_id: str | None,
    output: str,
) -> int:
    """Verify that the TaskRuns in the FILEs are what their controller wrote and their pods signed.

    A FILE is saved by "kubectl get taskruns,pipelineruns -o yaml" or comes from an archive; "-" is standard
    input. A PipelineRun verifies if the FILEs have all its TaskRuns and these verify. Neither a cluster nor
    the network is used.
    """
    from resultsfw.cli.verify import verify_files  # noqa: PLC0415 - see above

    return verify_files(
        files, bundles=bundles, trust_domain=trust_domain, controller_id=controller_id, output=output
    )


@click.command(
    epilog=LIST_STATUSES, short_help="List the installed backends and extensions, or describe one."
)
@click.argument("name", required=False)
@click.option(
    "--feature-flags",
    metavar="FILE",
    help='Use the options ("config.NAME") of the ConfigMap "feature-flags" in FILE.  [default: no options]',
)
@output_option("table", "json")
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


def _read_saved(saved: dict[str, Any]) -> Any:
    from resultsfw.cli.saved import Saved  # noqa: PLC0415 - see above

    logs: dict[str, str] = {}
    for option in saved["logs"]:
        container, equals, file = option.partition("=")
        if not (container and equals and file):
            raise InputError(f'--log "{option}" is not of the form CONTAINER=FILE', subject="--log")
        if container in logs:
            raise InputError(f'--log names container "{container}" twice', subject="--log")
        logs[container] = file
    return Saved(taskrun=saved["taskrun"], pod=saved["pod"], logs=logs, flags=given_options(saved))
