"""Run the results server: open its store and ports, serve, clean up old results, and shut down."""

import asyncio
import contextlib
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, disable_created_metrics

from resultsfw.errors import InputError
from resultsfw.kube import KubeCluster, connect
from resultsfw.operations.access import RequiredPermission, missing_permissions
from resultsfw.operations.api_metrics import ApiMetrics
from resultsfw.operations.debug import install_signal_handler
from resultsfw.operations.logs import set_up
from resultsfw.operations.status_pages import not_listening, parse_address
from resultsfw.ratelimit import TokenBucket
from resultsfw.server.api import Service, make_app
from resultsfw.server.connections import Connections, Listener, listen
from resultsfw.server.debug_state import DebugState
from resultsfw.server.local import LocalReviewer, flags_for
from resultsfw.server.refusals import RefusalError
from resultsfw.server.review import ACCESS_REVIEWS, AUDIENCE, TOKEN_REVIEWS, ClusterReviewer, Reviewer
from resultsfw.server.runs import ClusterRuns
from resultsfw.server.status_app import make_status_app
from resultsfw.server.store import Store
from resultsfw.server.stores import open_store
from resultsfw.server.tls import Certificate
from resultsfw.server.uvicorn_server import Server, bound_memory, raise_file_limit
from resultsfw.site import page
from resultsfw.tekton.api.kinds import TASKRUNS

__all__ = ["KEEP_DAYS", "LIMIT", "NAMESPACE_BYTES", "Options", "run_server"]

log = logging.getLogger(__name__)

LIMIT: Final = 10 * 1024 * 1024
"""Bytes of a body: what 1.5 MiB of values take if every byte of them is escaped, with their names."""

DRAIN: Final = 20
"""Seconds in which running requests may finish after SIGTERM; Kubernetes kills after 30."""

NAMESPACE_BYTES: Final = 128 * 1024 * 1024
"""The default quota of stored bytes per namespace."""

KEEP_DAYS: Final = 3.0
"""The default retention time in days: a weekend without a controller."""

_CONNECTIONS: Final = 1000
_PER_ADDRESS: Final = 64
_PAGES_CONNECTIONS: Final = 64
_PAGES_PER_ADDRESS: Final = 16

_CERTIFICATE_POLL: Final = 1.0
"""Seconds between two checks of the certificate's files."""

_CLEANUP: Final = 600.0
"""Seconds between two cleanups of the store; each also recounts it."""

_READY: Final = 5.0
"""Seconds for which the answer of /readyz is cached."""

_DAY: Final = 86_400.0

_RIGHTS: Final = "resultsfw install --backend http, or kubectl apply -f config/backends/http/"
_RUN_RIGHTS: Final = f"grant it as {page('backends/http', 'results-of-runs-that-do-not-exist')} says"

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of the server. See ``resultsfw results-server --help``."""

    store: str
    store_password_file: str | None = None
    listen: str = ":8443"
    listen_status: str = ":8080"
    local: bool = False
    tls_cert: str | None = None
    tls_key: str | None = None
    insecure_http: bool = False
    audience: str = AUDIENCE
    limit_bytes: int = LIMIT
    namespace_bytes: int = NAMESPACE_BYTES
    keep_days: float = KEEP_DAYS
    check_runs: bool = False
    kubeconfig: str | None = None
    context: str | None = None
    log_level: str = "info"


def run_server(options: Options) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Raises:
        InputError: An option is invalid; nothing was started.
    """
    address = parse_address(options.listen)
    status_address = parse_address(options.listen_status) if options.listen_status else None
    certificate_of = _certificate(options, address[0])
    if options.check_runs and options.local:
        raise InputError("--check-runs requires a cluster, and --local has none", subject="--check-runs")
    with contextlib.ExitStack() as stack:
        results = open_store(
            options.store, quota=options.namespace_bytes, password_file=options.store_password_file
        )
        stack.enter_context(contextlib.closing(results))
        reviewer: Reviewer = LocalReviewer(options.audience)
        cluster, registry = None, CollectorRegistry()
        if not options.local:
            connection = connect(
                options.kubeconfig,
                options.context,
                limit=TokenBucket(200, 400),
                metrics=ApiMetrics(registry),
            )
            cluster = KubeCluster(connection)
            reviewer = ClusterReviewer(cluster, options.audience)
        set_up(options.log_level)
        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each
        connections = Connections(_CONNECTIONS, _PER_ADDRESS)
        service = Service(
            results=results,
            reviewer=reviewer,
            limit=options.limit_bytes,
            runs=ClusterRuns(cluster) if cluster is not None and options.check_runs else None,
            connections=connections,
            registry=registry,
        )
        certificate = certificate_of(service)
        bound_memory()
        raise_file_limit(_CONNECTIONS + _PAGES_CONNECTIONS)
        sock = stack.enter_context(_listening(address, connections, "--listen"))
        status = None
        if status_address is not None:
            limits = Connections(_PAGES_CONNECTIONS, _PAGES_PER_ADDRESS)
            status = stack.enter_context(_listening(status_address, limits, "--listen-status"))
        if options.local:
            scheme = "https" if certificate else "http"
            url = f"{scheme}://{_bracket_ipv6(address[0])}:{sock.getsockname()[1]}"
            sys.stdout.write(stack.enter_context(flags_for(url, options.audience)))
            sys.stdout.flush()
        ready = _Readiness(results, cluster, check_runs=options.check_runs)
        app = make_app(service)
        debug = DebugState(service, app)
        install_signal_handler(debug)
        servers = [Server(app, sock, certificate.context if certificate else None, DRAIN)]
        if status is not None:
            servers.append(Server(make_status_app(service.metrics, ready, debug), status, None, 1))
        asyncio.run(_serve(service, certificate, servers, options))
    log.info("stopped")
    return 0


def _bracket_ipv6(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _certificate(options: Options, host: str) -> Callable[[Service], Certificate | None]:
    """Return a function that loads the certificate, if the server has one."""
    cert, key = options.tls_cert, options.tls_key
    if options.local and host not in _LOOPBACK:
        raise InputError(
            f"--listen {options.listen}: --local accepts tokens that anybody can make; listen on 127.0.0.1",
            subject="--listen",
        )
    if cert and key and not options.insecure_http:
        # Load it here, too: an invalid one is reported before anything is started.
        Certificate(cert, key)

        def made(service: Service) -> Certificate:
            reloads = service.metrics.certificates
            return Certificate(cert, key, lambda taken: reloads.labels("taken" if taken else "refused").inc())

        return made
    if host not in _LOOPBACK:
        raise InputError(
            f"--listen {options.listen}: without --tls-cert and --tls-key only a loopback address "
            "such as 127.0.0.1:8443 is allowed: tokens would cross the network unencrypted",
            subject="--listen",
        )
    if cert or key or not (options.insecure_http or options.local):
        raise InputError("give --tls-cert and --tls-key, or --insecure-http", subject="--tls-cert")
    return lambda _: None


class _Readiness:
    """Returns why the server cannot serve, with a cache of some seconds."""

    def __init__(self, results: Store, cluster: KubeCluster | None, *, check_runs: bool) -> None:
        self._results = results
        self._cluster = cluster
        self._check_runs = check_runs
        self._lock = threading.Lock()
        self._why = ""
        self._until = 0.0

    def __call__(self) -> str:
        with self._lock:
            if time.monotonic() >= self._until:
                self._why = self._check()
                self._until = time.monotonic() + _READY
            return self._why

    def _check(self) -> str:
        try:
            self._results.probe()
        except RefusalError as error:
            return error.message
        if self._cluster is None:
            return ""
        why = "to authenticate tokens"
        needs = [
            RequiredPermission(verb="create", kind=kind, why=why, fix=_RIGHTS)
            for kind in (TOKEN_REVIEWS, ACCESS_REVIEWS)
        ]
        if self._check_runs:
            why = "to check that a run exists (--check-runs)"
            needs.append(RequiredPermission(verb="get", kind=TASKRUNS, why=why, fix=_RUN_RIGHTS))
        return "; ".join(missing_permissions(self._cluster, needs))


@contextlib.contextmanager
def _listening(address: tuple[str, int], connections: Connections, option: str) -> Iterator[Listener]:
    try:
        sock = listen(*address, connections)
    except OSError as error:
        raise not_listening(option, address, error) from error
    with sock:
        yield sock


async def _serve(
    service: Service, certificate: Certificate | None, servers: list[Server], options: Options
) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        log.info("shutting down: running requests have %d s to finish", DRAIN)
        for server in servers:
            server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    works = [asyncio.create_task(_every(_CLEANUP, _cleanup(service, options.keep_days)))]
    if certificate is not None:
        works.append(asyncio.create_task(_every(_CERTIFICATE_POLL, certificate.refresh)))
    scheme = "https" if certificate else "http"
    main, *others = servers
    for status in others:
        log.info("status pages on port %d", status.port)
    log.info("results server on %s port %d", scheme, main.port)
    try:
        await asyncio.gather(*(server.serve() for server in servers))
    finally:
        for work in works:
            work.cancel()


async def _every(seconds: float, do: Callable[[], None]) -> None:
    while True:
        try:
            await asyncio.to_thread(do)
        except Exception:
            log.exception("internal error")
        await asyncio.sleep(seconds)


def _cleanup(service: Service, days: float) -> Callable[[], None]:
    results, metrics, runs = service.results, service.metrics, service.runs

    def remove_old() -> None:
        if removed := results.sweep(days * _DAY):
            metrics.swept.inc(removed)
            log.warning("removed %d results older than %g days that were never purged", removed, days)

    def remove_orphans() -> None:
        if runs is not None and (removed := results.orphans(runs.exists)):
            metrics.orphans.inc(removed)
            log.warning("removed %d results of TaskRuns that no longer exist", removed)

    works = [*([remove_old] if days else []), remove_orphans, results.recount]

    def clean_up() -> None:
        for work in works:  # each by itself: an API server that does not answer stops no recount
            try:
                work()
            except RefusalError as error:
                log.warning("could not clean up the store: %s", error.message)

    return clean_up
