"""The commands and their options; each one's work is a module of its own, imported when it is asked for."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from typing import Any, Final, TypeVar

import click

from resultsfw.errors import ClusterError, InputError, ResultsError

__all__ = ["DEBUG", "FAILED", "INTERNAL", "INTERRUPTED", "REFUSED", "main"]

FAILED: Final = 1
REFUSED: Final = 2
INTERNAL: Final = 3
INTERRUPTED: Final = 128 + signal.SIGINT

DEBUG: Final = "RESULTSFW_DEBUG"
"""Variable: set to 1, errors come with their traceback, and debug messages are shown."""

STATUSES: Final = """
\b
Exit status:
  0    {}
  1    {}
  2    {} refused
  3    a fault of resultsfw itself
  130  interrupted
"""
RUN_STATUSES: Final = STATUSES.format("every run succeeded", "a run failed", "the input was")
SAVED_STATUSES: Final = STATUSES.format("the run succeeded", "it failed, or is not finished", "the input was")
VALUE_STATUSES: Final = STATUSES.format("it is all there", "it cannot be had", "the input, or what came,")
LIST_STATUSES: Final = STATUSES.format("all is listed", "the one named is broken", "an unknown name was")
NEW_STATUSES: Final = STATUSES.format("it is written", "", "the input was").replace("  1    \n", "")
INSTALL_STATUSES: Final = STATUSES.format("all is applied", "the cluster refused something", "the input was")
DOCTOR_STATUSES: Final = STATUSES.format("nothing is missing", "something is missing", "the input was")
SERVE_STATUSES: Final = STATUSES.format(
    "stopped by a signal", "the lease was lost", "the input, or a plugin that the flags name, was"
)
STORE_STATUSES: Final = STATUSES.format("stopped by a signal", "the cluster cannot be used", "the input was")

_Command = TypeVar("_Command", bound=Callable[..., Any])


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status. Errors are one line on standard error."""
    debug = os.environ.get(DEBUG, "") not in ("", "0")
    _log_to_stderr(debug=debug)
    if isinstance(sys.stdout, TextIOWrapper):  # a locale without a character for it must stop no table
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status = resultsfw.main(args=argv, prog_name="resultsfw", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        return _refused(error.format_message(), error)
    except ResultsError as error:
        if debug:
            logging.getLogger(__name__).exception("traceback")
        _tell(error.message, error.subject)
        return FAILED if isinstance(error, ClusterError) else REFUSED
    except Exception as error:
        if debug:
            raise
        _tell(
            f"a fault of resultsfw itself: {type(error).__name__}: {error}; "
            f"please report it, with what {DEBUG}=1 prints",
            "",
        )
        return INTERNAL
    return int(status or 0)


def _refused(message: str, error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(message, err=True)
        return REFUSED
    command = context.command_path if context else "resultsfw"
    _tell(f"{message.rstrip('.')}; see {command} --help", "")
    return REFUSED


def _tell(message: str, subject: str) -> None:
    line = " ".join(message.split("\n"))
    named = line if subject in line else f"{subject}: {line}"
    click.echo(f"error: {_printable(named)}", err=True)


def _printable(line: str) -> str:
    """What a file or a value brings along cannot steer the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in line)


class _Handler(logging.Handler):
    """Log records as lines on standard error, wherever that is at the moment (progress redirects it)."""

    def emit(self, record: logging.LogRecord) -> None:
        line = _printable(record.getMessage())
        click.echo(f"{record.levelname.lower()}: {line}", err=True)
        if record.exc_info and logging.getLogger("resultsfw").isEnabledFor(logging.DEBUG):
            click.echo(logging.Formatter().formatException(record.exc_info), err=True)


def _log_to_stderr(*, debug: bool) -> None:
    logger = logging.getLogger("resultsfw")
    logger.handlers = [_Handler()]
    logger.propagate = False
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)


def _all(*decorators: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several decorators as one, the first outermost."""

    def decorate(command: _Command) -> _Command:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


_flags = _all(
    click.option(
        "--results-from",
        metavar="NAME",
        help='The backend that carries results; "resultsfw backends" lists them.',
    ),
    click.option("--max-result-size", metavar="N", help="Bytes one result may have.  [default: 4096]"),
    click.option(
        "--feature-flags",
        metavar="FILE",
        help='Manifest of the ConfigMap "feature-flags"; the options here win over it.',
    ),
)

_saved = _all(
    click.option(
        "--taskrun",
        metavar="FILE",
        required=True,
        help="The TaskRun, as kubectl get taskrun NAME -o yaml saved it.",
    ),
    click.option("--pod", metavar="FILE", help="Its Pod, as kubectl get pod NAME -o yaml saved it."),
    click.option(
        "--log",
        "logs",
        metavar="CONTAINER=FILE",
        multiple=True,
        help="The log of one container, as kubectl logs POD -c CONTAINER saved it; once for each.",
    ),
    _flags,
)


def _output(*choices: str, default: str | None = None) -> Callable[[_Command], _Command]:
    return click.option(
        "-o", "--output", type=click.Choice(choices), default=default or choices[0], show_default=True
    )


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=f"With {DEBUG}=1 in the environment, errors come with their traceback.",
)
@click.version_option(package_name="resultsfw", prog_name="resultsfw", message="%(prog)s %(version)s")
def resultsfw() -> None:
    """Carries the results of a Task's Steps into its TaskRun: every one whole, or with a reason."""


@resultsfw.command(epilog=RUN_STATUSES, short_help="Run TaskRuns and PipelineRuns on this machine.")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@_flags
@click.option(
    "--workdir", metavar="DIR", help="Keep volumes and logs below this folder.  [default: a temporary one]"
)
@click.option("--keep", is_flag=True, help="Leave the folder there when all is over, and say where it is.")
@click.option("--graph", metavar="SVG", help="Draw the PipelineRun and what flowed in it into this file.")
@_output("table", "json", "yaml")
def run(
    files: tuple[str, ...],
    output: str,
    workdir: str | None,
    keep: bool,
    graph: str | None,
    **flags: str | None,
) -> int:
    """Run the TaskRuns and PipelineRuns in the FILEs on this machine: Steps as processes, no images.

    FILEs are YAML or JSON manifests, "-" is standard input. Tasks and Pipelines that a run refers to by
    name, and the ConfigMap "feature-flags", can stand among them.
    """
    from resultsfw.cli.run import run_files  # noqa: PLC0415 - the engine is for this command only

    return run_files(files, flags=_given(flags), output=output, workdir=workdir, keep=keep, graph=graph)


@resultsfw.command(epilog=SAVED_STATUSES, short_help="Print the status a saved run gets.")
@_saved
@_output("yaml", "json", "table")
def collect(output: str, **saved: Any) -> int:
    """Print the status that a saved TaskRun gets from its saved Pod and logs. Nothing is run or asked."""
    from resultsfw.cli.collect import collect_saved  # noqa: PLC0415 - see above

    return collect_saved(_read_saved(saved), output=output)


@resultsfw.command(epilog=SAVED_STATUSES, short_help="Say where each result of a saved run went.")
@_saved
@_output("text", "json")
def explain(output: str, **saved: Any) -> int:
    """Say in plain words which way each declared result went, and where one was lost or refused."""
    from resultsfw.cli.explain import explain_saved  # noqa: PLC0415 - see above

    return explain_saved(_read_saved(saved), output=output)


@resultsfw.command(epilog=VALUE_STATUSES, short_help="Print the value of a saved run's result.")
@click.argument("file", metavar="FILE")
@click.argument("name", metavar="RESULT")
@_flags
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write it there, in place of what is there.  [default: standard output]",
)
def value(file: str, name: str, output: str | None, **flags: str | None) -> int:
    """Print the value of a RESULT of the TaskRun in FILE, as kubectl get taskrun NAME -o yaml saved it.

    Where the status holds a reference, the value is fetched by the backend it names, which the flags
    configure. Nothing is printed before all of it is there and verified. "STEP.RESULT" is a Step's own.
    """
    from resultsfw.cli.value import print_value  # noqa: PLC0415 - see above

    return print_value(file, name, flags=_given(flags), output=output)


@resultsfw.command(
    epilog=LIST_STATUSES, short_help="List the installed backends and extensions, or describe one."
)
@click.argument("name", required=False)
@_output("table", "json")
def backends(name: str | None, output: str) -> int:
    """List the installed backends and extensions, with what is broken and why; with a NAME, describe one.

    Each is imported in a process of its own, and none of them into this one.
    """
    from resultsfw.cli.backends import describe_backend, list_backends  # noqa: PLC0415 - see above

    return list_backends(output=output) if name is None else describe_backend(name, output=output)


@resultsfw.command("new-backend", epilog=NEW_STATUSES, short_help="Write a backend to start from.")
@click.argument("name")
@click.option("--into", default=".", show_default=True, metavar="DIR", help="Where its folder is made.")
def new_backend(name: str, into: str) -> int:
    """Write an installable distribution with a working backend NAME, its tests and its CI file.

    NAME is what the feature flag "results-from" will say: lower case letters, digits, hyphens.
    """
    from resultsfw.cli.new_backend import write_backend  # noqa: PLC0415 - see above

    return write_backend(name, into=into)


_connection = _all(
    click.option("--kubeconfig", metavar="FILE", help="As kubectl takes it.  [default: as kubectl finds it]"),
    click.option("--context", metavar="NAME", help="Of the kubeconfig.  [default: its current one]"),
    click.option(
        "--namespace",
        default="tekton-pipelines",
        show_default=True,
        help='Where the ConfigMap "feature-flags" is.',
    ),
)

_images = _all(
    click.option("--entrypoint-image", metavar="IMAGE", help="Tekton's entrypoint."),
    click.option("--shell-image", metavar="IMAGE", help='Has "sh"; places scripts.'),
    click.option("--nop-image", metavar="IMAGE", help="Exits at once; ends the Sidecars of a run."),
    click.option("--workingdirinit-image", metavar="IMAGE", help="Tekton's; makes working directories."),
    click.option(
        "--sidecar-image",
        default="",
        metavar="IMAGE",
        help='The results sidecar, instead of the image in "config.sidecar-logs".',
    ),
)

_cluster = _all(
    _connection,
    click.option(
        "--leader-elect/--no-leader-elect",
        default=True,
        show_default=True,
        help="One replica works at a time.",
    ),
    click.option(
        "--lease-namespace", metavar="NAME", help="Where the Lease of the leader is.  [default: --namespace]"
    ),
    _images,
)


@resultsfw.command(epilog=SERVE_STATUSES, short_help="Reconcile the TaskRuns of a cluster.")
@_cluster
@click.option(
    "--managed-by",
    default="resultsfw.dev/controller",
    show_default=True,
    help='Take the runs with this spec.managedBy; "": all.',
)
@click.option(
    "--unschedulable-after",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="End a run whose pod found no node for so long; 0: its timeout does.",
)
@click.option("--threads", type=click.IntRange(1, 256), default=4, show_default=True, help="Workers.")
@click.option(
    "--listen",
    default=":8080",
    show_default=True,
    help="Address of /healthz, /readyz and /metrics; port 0: any.",
)
@click.option(
    "--qps",
    type=click.FloatRange(0),
    default=200.0,
    show_default=True,
    help="Requests a second; 0: no limit.",
)
@click.option("--burst", type=click.IntRange(1), default=400, show_default=True, help="Requests at once.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def controller(**given: Any) -> int:
    """Reconcile the TaskRuns of a cluster until SIGTERM or SIGINT. Logs are JSON, one object a line."""
    from resultsfw.cli.controller import run_controller  # noqa: PLC0415 - see above

    return run_controller(given)


@resultsfw.command(epilog=DOCTOR_STATUSES, short_help="Say what a cluster lacks for the controller.")
@_cluster
@click.option(
    "--as",
    "impersonate",
    default="",
    metavar="USER",
    help="Ask for the rights of USER, as kubectl takes it: "
    "system:serviceaccount:NAMESPACE:NAME is a service account.",
)
@_output("table", "json")
def doctor(output: str, impersonate: str, **given: Any) -> int:
    """Say whether the identity in use may do all that the controller and the chosen backend need.

    Looks at rights, CRDs, the ConfigMap and the images; changes nothing. With --as it is USER's rights that
    are asked for, and the rest is still read as the identity in use.
    """
    from resultsfw.cli.doctor import examine_cluster  # noqa: PLC0415 - see above

    return examine_cluster(given, impersonate=impersonate, output=output)


@resultsfw.command(epilog=INSTALL_STATUSES, short_help="Install the controller on a cluster.")
@_connection
@click.option("--print", "printed", is_flag=True, help="Print the manifests instead, for kubectl apply -f -.")
@click.option("--controller-image", default="", metavar="IMAGE", help="Of the controller's Deployment.")
@_images
@click.option("--results-from", metavar="NAME", help="Set this feature flag.  [default: leave it as it is]")
@click.option("--max-result-size", metavar="N", help="Set this feature flag.  [default: leave it as it is]")
@click.option(
    "--enable-log-access/--no-log-access",
    default=None,
    help="Let the controller read the logs of pods.  [default: if --results-from needs it]",
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME",
    help="Give the controller the rights of this backend, too; may be repeated.  [default: that of "
    "--results-from]",
)
@click.option("--crds", is_flag=True, help="Bring minimal CRDs, on a cluster without Tekton.")
@click.option("--monitoring", is_flag=True, help="ServiceMonitor and alerts, for the Prometheus operator.")
@click.option("--wait", type=click.FloatRange(0), metavar="SECONDS", help="Until all replicas are ready.")
def install(printed: bool, wait: float | None, **given: Any) -> int:
    """Apply the manifests of the controller to a cluster, by server-side apply.

    All is checked before anything is touched, and what is there already as it should be stays untouched.
    Of the ConfigMap "feature-flags" only the keys named here are set.
    """
    from resultsfw.cli.install import install_on_cluster  # noqa: PLC0415 - see above

    return install_on_cluster(given, printed=printed, wait=wait)


@resultsfw.command("results-server", epilog=STORE_STATUSES, short_help="Keep results for the backend http.")
@click.option(
    "--store",
    required=True,
    metavar="URL",
    help="Where results are kept: file:///FOLDER, s3://BUCKET/PREFIX, gs://..., az://...",
)
@click.option(
    "--listen",
    metavar="ADDRESS",
    help="HOST:PORT or :PORT, port 0: any.  [default: :8443; --local: 127.0.0.1:8443]",
)
@click.option(
    "--listen-status",
    metavar="ADDRESS",
    help="The same for /healthz, /readyz and /metrics, without TLS.  [default: :8080; --local: nowhere]",
)
@click.option(
    "--tls-cert", metavar="FILE", help="The certificate with its chain; read again when it changes."
)
@click.option("--tls-key", metavar="FILE", help="Its private key.")
@click.option("--insecure-http", is_flag=True, help="Without TLS; on a loopback address only.")
@click.option(
    "--local",
    is_flag=True,
    help="For resultsfw run on this machine: take its tokens, and print feature flags for it.",
)
@click.option("--audience", default="resultsfw-results", show_default=True, help="That tokens must be for.")
@click.option(
    "--limit-bytes",
    type=click.IntRange(1024),
    default=10 * 1024 * 1024,
    show_default=True,
    metavar="N",
    help="Bytes that what one pod delivers may have.",
)
@click.option(
    "--namespace-bytes",
    type=click.IntRange(0),
    default=128 * 1024 * 1024,
    show_default=True,
    metavar="N",
    help="Bytes that one namespace may have stored; 0: any number.",
)
@click.option(
    "--keep-days",
    type=click.FloatRange(0),
    default=3,
    show_default=True,
    metavar="DAYS",
    help="Remove what is older and nobody purged; 0: nothing.",
)
@click.option(
    "--check-runs",
    is_flag=True,
    help="Refuse and remove results of TaskRuns that do not exist; needs the right to get taskruns.",
)
@click.option("--kubeconfig", metavar="FILE", help="As kubectl takes it.  [default: as kubectl finds it]")
@click.option("--context", metavar="NAME", help="Of the kubeconfig.  [default: its current one]")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
def results_server(**given: Any) -> int:
    """Keep what the results sidecars of pods deliver until the controller has read it (backend http).

    Tokens are reviewed by the cluster: its identity there needs system:auth-delegator. Serves until SIGTERM
    or SIGINT; logs are JSON, one object a line.
    """
    from resultsfw.cli.results_server import run_results_server  # noqa: PLC0415 - see above

    return run_results_server(given)


def _given(flags: dict[str, Any]) -> Any:
    from resultsfw.cli.settings import Given  # noqa: PLC0415 - see above

    return Given(
        file=flags["feature_flags"],
        results_from=flags["results_from"],
        max_result_size=flags["max_result_size"],
    )


def _read_saved(saved: dict[str, Any]) -> Any:
    from resultsfw.cli.saved import Saved  # noqa: PLC0415 - see above

    logs: dict[str, str] = {}
    for given in saved["logs"]:
        container, equals, file = given.partition("=")
        if not (container and equals and file):
            raise InputError(f'--log "{given}" is not of the form CONTAINER=FILE', subject="--log")
        if container in logs:
            raise InputError(f'--log names container "{container}" twice', subject="--log")
        logs[container] = file
    return Saved(taskrun=saved["taskrun"], pod=saved["pod"], logs=logs, flags=_given(saved))
