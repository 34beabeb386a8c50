"""The commands that work on a cluster or serve one.

The work of each command is in a module of its own, imported when the command runs: ``--help`` stays fast.
"""

from typing import Any

import click

from resultsfw.cli.extras import needs
from resultsfw.cli.options import (
    DOCTOR_STATUSES,
    INSTALL_STATUSES,
    SERVE_STATUSES,
    SERVER_STATUSES,
    cluster_options,
    connection_options,
    image_options,
    kubeconfig_options,
    log_level_option,
    output_option,
    watch_option,
)

__all__ = ["controller", "doctor", "install", "results_server"]


@click.command(epilog=SERVE_STATUSES, short_help="Reconcile the TaskRuns and PipelineRuns of a cluster.")
@cluster_options
@click.option(
    "--managed-by",
    default="resultsfw.dev/controller",
    show_default=True,
    help='Reconcile only runs with this spec.managedBy; "" reconciles all.',
)
@click.option(
    "--lease-name",
    default="resultsfw-controller",
    show_default=True,
    metavar="NAME",
    help="Name of the Lease: controllers with the same --lease-namespace must not share one.",
)
@click.option(
    "--unschedulable-after",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Fail a run whose pod cannot be scheduled for this long; 0 leaves it to the run's timeout.",
)
@click.option(
    "--threads", type=click.IntRange(1, 256), default=4, show_default=True, help="Number of workers."
)
@click.option(
    "--listen",
    default=":8080",
    show_default=True,
    help="Serve /healthz, /readyz, /metrics and /debug here; port 0 picks a free port.",
)
@click.option(
    "--qps",
    type=click.FloatRange(0),
    default=200.0,
    show_default=True,
    help="Limit requests to the API server per second; 0 sets no limit.",
)
@click.option(
    "--burst",
    type=click.IntRange(1),
    default=400,
    show_default=True,
    help="Allow this many requests at once above --qps.",
)
@log_level_option()
def controller(**given: Any) -> int:
    """Reconcile the TaskRuns and PipelineRuns of a cluster until SIGTERM or SIGINT.

    Logs are JSON, one object per line.
    """
    with needs("cluster"):
        from resultsfw.cli.controller import run_controller  # noqa: PLC0415 - see above

    return run_controller(given)


@click.command(epilog=DOCTOR_STATUSES, short_help="Check what a cluster lacks for the controller.")
@cluster_options
@click.option(
    "--as",
    "impersonate",
    default="",
    metavar="USER",
    help="Check the permissions of USER instead of your own; a service account is "
    "system:serviceaccount:NAMESPACE:NAME.",
)
@output_option("table", "json", "yaml")
def doctor(output: str, impersonate: str, **given: Any) -> int:
    """Check that a cluster has all that the controller and the chosen backend need. Changes nothing.

    Checks permissions, CRDs, the ConfigMap, images, and the servers that the flags name. With --as, only the
    permissions are USER's: the rest is read with your own.
    """
    with needs("cluster"):
        from resultsfw.cli.doctor import examine_cluster  # noqa: PLC0415 - see above

    return examine_cluster(given, impersonate=impersonate, output=output)


@click.command(epilog=INSTALL_STATUSES, short_help="Install the controller on a cluster.")
@connection_options
@click.option("--print", "printed", is_flag=True, help='Print the manifests, for "kubectl apply -f -".')
@click.option("--controller-image", default="", metavar="IMAGE", help="Image of the controller's Deployment.")
@image_options
@click.option("--results-from", metavar="NAME", help="Set this feature flag.  [default: unchanged]")
@click.option("--max-result-size", metavar="N", help="Set this feature flag.  [default: unchanged]")
@click.option(
    "--enable-log-access/--no-log-access",
    default=None,
    help="Allow the controller to read pod logs.  [default: if --results-from needs it]",
)
@click.option(
    "--enable-coscheduling",
    is_flag=True,
    help="Grant the controller the permissions that the feature flag coschedule needs.",
)
@click.option(
    "--enable-encryption",
    is_flag=True,
    help="Grant the controller the permission that the option encryption of backends needs.",
)
@click.option(
    "--enable-signing",
    is_flag=True,
    help='Mount the socket of the SPIFFE Workload API into the controller, for the extension "signed".',
)
@click.option(
    "--backend",
    "backends",
    multiple=True,
    metavar="NAME",
    help="Grant the controller the permissions of this backend, too; can be repeated.  [default: those of "
    "--results-from]",
)
@click.option("--crds", is_flag=True, help="Install minimal CRDs, on a cluster without Tekton.")
@click.option(
    "--disruption-budget", is_flag=True, help="Keep one replica while nodes are drained; needs two nodes."
)
@click.option(
    "--admission-policy",
    is_flag=True,
    help="Let the API server refuse runs that the controller would refuse later.",
)
@watch_option
@click.option(
    "--controller-namespace",
    default="resultsfw",
    show_default=True,
    metavar="NAME",
    help="Namespace of the controller itself; any but the default must exist.",
)
@click.option("--network-policies", is_flag=True, help="Limit what the project's pods may send and receive.")
@click.option(
    "--monitoring", is_flag=True, help="Install monitors, alerts and a dashboard (Prometheus operator)."
)
@click.option(
    "--wait",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Wait this long at most until all replicas are ready.",
)
def install(printed: bool, wait: float | None, **given: Any) -> int:
    """Install the controller by server-side apply.

    Everything is checked before anything changes, and objects that are already as they should be are not
    written. In the ConfigMap "feature-flags" only the keys given here are set.
    """
    from resultsfw.cli.install import install_on_cluster  # noqa: PLC0415 - see above

    return install_on_cluster(given, printed=printed, wait=wait)


@click.command("results-server", epilog=SERVER_STATUSES, short_help="Serve the store of the backend http.")
@click.option(
    "--store",
    metavar="URL",
    help="Store results in file:///FOLDER, s3://BUCKET/PREFIX, gs://..., az://..., sqlite:///FILE or "
    "postgresql://USER@HOST/NAME.  [default: required; --local: a SQLite file of the user]",
)
@click.option(
    "--store-password-file",
    metavar="FILE",
    help="Password of the PostgreSQL user; read again for each connection.",
)
@click.option(
    "--listen",
    metavar="ADDRESS",
    help="Listen on HOST:PORT or :PORT; port 0 picks a free port.  [default: :8443; --local: 127.0.0.1:8443]",
)
@click.option(
    "--listen-status",
    metavar="ADDRESS",
    help="Serve /healthz, /readyz, /metrics, /debug here, without TLS.  [default: :8080; --local: nowhere]",
)
@click.option(
    "--tls-cert", metavar="FILE", help="Certificate chain of the server; reloaded when the file changes."
)
@click.option("--tls-key", metavar="FILE", help="Private key of the certificate.")
@click.option("--insecure-http", is_flag=True, help="Serve without TLS; on a loopback address only.")
@click.option(
    "--local",
    is_flag=True,
    help='Serve "resultsfw run" on this machine: accept its tokens, and print feature flags for it.',
)
@click.option(
    "--audience", default="resultsfw-results", show_default=True, help="Audience that tokens must have."
)
@click.option(
    "--limit-bytes",
    type=click.IntRange(1024),
    default=10 * 1024 * 1024,
    show_default=True,
    metavar="N",
    help="Limit the results of one pod to N bytes.",
)
@click.option(
    "--namespace-bytes",
    type=click.IntRange(0),
    default=128 * 1024 * 1024,
    show_default=True,
    metavar="N",
    help="Limit the stored results of one namespace to N bytes; 0 sets no limit.",
)
@click.option(
    "--keep-days",
    type=click.FloatRange(0),
    default=3,
    show_default=True,
    metavar="DAYS",
    help="Delete results of this age that were not purged; 0 keeps them.",
)
@click.option(
    "--check-runs",
    is_flag=True,
    help="Refuse and delete results of TaskRuns that do not exist; needs permission to get taskruns.",
)
@kubeconfig_options
@log_level_option()
def results_server(**given: Any) -> int:
    """Store the results that sidecars deliver until the controller has read them (backend http).

    The cluster reviews tokens: the server's identity there needs system:auth-delegator. Serves until
    SIGTERM or SIGINT. Logs are JSON, one object per line.
    """
    with needs("results-server"):
        from resultsfw.cli.results_server import run_results_server  # noqa: PLC0415 - see above

    return run_results_server(given)
