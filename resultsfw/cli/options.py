"""Options and exit statuses that several commands share."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from resultsfw.images import REGISTRY_VARIABLE

__all__ = [
    "DOCTOR_STATUSES",
    "INSTALL_STATUSES",
    "LIST_STATUSES",
    "NEW_STATUSES",
    "READ_STATUSES",
    "RUN_STATUSES",
    "SAVED_STATUSES",
    "SERVER_STATUSES",
    "SERVE_STATUSES",
    "VALUE_STATUSES",
    "VERIFY_STATUSES",
    "cluster_options",
    "combined",
    "connection_options",
    "files_option",
    "flag_options",
    "flags_namespace_option",
    "given_options",
    "image_options",
    "kubeconfig_options",
    "log_level_option",
    "logs_option",
    "output_option",
    "run_namespace_option",
    "source_options",
    "watch_option",
]

_STATUSES: Final = """
\b
Exit status:
  0    {}
  1    {}
  2    {} refused
  3    a fault of resultsfw itself
  130  interrupted
"""
RUN_STATUSES: Final = _STATUSES.format("every run succeeded", "a run failed", "the input was")
READ_STATUSES: Final = _STATUSES.format(
    "the runs are listed", "the cluster cannot be read, or has no such run", "the input was"
)
SAVED_STATUSES: Final = _STATUSES.format(
    "the run succeeded", "the run failed, has not finished, or cannot be read", "the input was"
)
VALUE_STATUSES: Final = _STATUSES.format(
    "the value is complete", "the value cannot be fetched", "the input, or the value that was fetched, was"
)
VERIFY_STATUSES: Final = _STATUSES.format("every run verifies", "a run does not verify", "the input was")
LIST_STATUSES: Final = _STATUSES.format(
    "everything is listed", "the plugin NAME, or a plugin that FILE names, is broken", "the input was"
)
NEW_STATUSES: Final = _STATUSES.format("the files are written", "", "the input was").replace("  1    \n", "")
INSTALL_STATUSES: Final = _STATUSES.format(
    "everything is applied", "the cluster refused something", "the input was"
)
DOCTOR_STATUSES: Final = _STATUSES.format("nothing is missing", "something is missing", "the input was")
SERVE_STATUSES: Final = _STATUSES.format(
    "stopped by a signal", "the lease was lost", "the input, or a plugin that the flags name, was"
)
SERVER_STATUSES: Final = _STATUSES.format(
    "stopped by a signal", "the cluster cannot be used", "the input was"
)

_Command = TypeVar("_Command", bound=Callable[..., Any])
_Decorator = Callable[[_Command], _Command]


def combined(*decorators: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Return several decorators as one, the first outermost."""

    def decorate(command: _Command) -> _Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


def output_option(*choices: str) -> Callable[[_Command], _Command]:
    """Return the option ``--output``, whose default is the first choice."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(choices),
        default=choices[0],
        show_default=True,
        help="Output format.",
    )


def log_level_option() -> Callable[[_Command], _Command]:
    """Return the option ``--log-level``."""
    return click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"]),
        default="info",
        show_default=True,
        help="Log only messages of this level and above.",
    )


flag_options = combined(
    click.option(
        "--results-from",
        metavar="NAME",
        help='Use this backend to carry the results; "resultsfw backends" lists all.',
    ),
    click.option(
        "--max-result-size", metavar="N", help="Limit the size of one result to N bytes.  [default: 4096]"
    ),
    click.option(
        "--feature-flags",
        metavar="FILE",
        help='Read the flags from the ConfigMap "feature-flags" in FILE; the options above override it. A '
        'ConfigMap "config-defaults" in FILE is applied, too.',
    ),
)

kubeconfig_options = combined(
    click.option(
        "--kubeconfig", metavar="FILE", help="Path of the kubeconfig file.  [default: as for kubectl]"
    ),
    click.option(
        "--context", metavar="NAME", help="Context of the kubeconfig.  [default: the current context]"
    ),
)

files_option = click.option(
    "-f",
    "--filename",
    "files",
    metavar="FILE",
    multiple=True,
    help='Read objects that "kubectl get -o yaml" saved, instead of a cluster: a file, a folder or "-" for '
    "standard input; can be repeated.",
)

run_namespace_option = click.option(
    "-n",
    "--namespace",
    metavar="NAME",
    help="Namespace of the runs.  [default: that of the kubeconfig's context; with -f, all]",
)

logs_option = click.option(
    "--log",
    "logs",
    metavar="CONTAINER=FILE",
    multiple=True,
    help='The log of a container, saved by "kubectl logs POD -c CONTAINER"; can be repeated.',
)

flags_namespace_option = click.option(
    "--flags-namespace",
    default="tekton-pipelines",
    show_default=True,
    metavar="NAME",
    help='Namespace of the ConfigMap "feature-flags" on a cluster.',
)

source_options = combined(
    files_option, logs_option, run_namespace_option, kubeconfig_options, flags_namespace_option, flag_options
)

connection_options = combined(
    kubeconfig_options,
    click.option(
        "--namespace",
        default="tekton-pipelines",
        show_default=True,
        help='Namespace of the ConfigMap "feature-flags".',
    ),
)

image_options = combined(
    click.option(
        "--image-registry",
        default="",
        envvar=REGISTRY_VARIABLE,
        metavar="REGISTRY",
        help="Registry, and folder in it, with the images of resultsfw: HOST[:PORT][/FOLDER].  [default: "
        f"${REGISTRY_VARIABLE}]",
    ),
    click.option("--entrypoint-image", metavar="IMAGE", help="Image of Tekton's entrypoint."),
    click.option("--shell-image", metavar="IMAGE", help='Image with "sh", which writes scripts.'),
    click.option("--nop-image", metavar="IMAGE", help="Image that exits at once, used to stop Sidecars."),
    click.option(
        "--workingdirinit-image",
        metavar="IMAGE",
        help="Image of Tekton's workingdirinit, which creates working directories.",
    ),
    click.option(
        "--sidecar-image",
        default="",
        metavar="IMAGE",
        help='Image of the results sidecar; overrides "config.sidecar-logs".',
    ),
)

watch_option = click.option(
    "--watch-namespaces",
    default="",
    metavar="NAMES",
    help='Reconcile only runs in these namespaces, separated by ",".  [default: all namespaces]',
)

cluster_options = combined(
    connection_options,
    click.option(
        "--leader-elect/--no-leader-elect",
        default=True,
        show_default=True,
        help="Elect a leader, so that only one replica reconciles at a time.",
    ),
    click.option(
        "--lease-namespace",
        metavar="NAME",
        help="Namespace of the leader election Lease.  [default: --namespace]",
    ),
    watch_option,
    image_options,
)


def given_options(flags: dict[str, Any]) -> Any:
    """Return the `Given` of the values of `flag_options`."""
    from resultsfw.cli.files.settings import Given  # noqa: PLC0415 - the settings are for commands that use flags

    return Given(
        file=flags["feature_flags"],
        results_from=flags["results_from"],
        max_result_size=flags["max_result_size"],
    )
