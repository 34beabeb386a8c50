"""The results server as a process: what it is made of, how it starts, and how it ends."""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn

from resultsfw.controller.doctor import Need, missing
from resultsfw.controller.http import parse_address
from resultsfw.controller.logs import set_up
from resultsfw.errors import InputError
from resultsfw.kube import KubeCluster, RateLimit, connect
from resultsfw.server.api import Service, make_app
from resultsfw.server.local import LocalReviewer, flags_for
from resultsfw.server.protocol import Bounded
from resultsfw.server.refusals import RefusalError
from resultsfw.server.review import ACCESS_REVIEWS, AUDIENCE, TOKEN_REVIEWS, ClusterReviewer, Reviewer
from resultsfw.server.store import Results, open_store
from resultsfw.server.tls import Certificate

__all__ = ["LIMIT", "Options", "run_server"]

log = logging.getLogger(__name__)

LIMIT: Final = 10 * 1024 * 1024
"""Bytes of a body: what 1.5 MiB of values take where every byte of them is escaped, and names."""

DRAIN: Final = 20
"""Seconds in which requests that were begun may end after SIGTERM; Kubernetes gives 30 in all."""

_CONNECTIONS: Final = 1000
_LOOK: Final = 1.0
"""Seconds between two looks at the certificate's files."""

_SWEEP: Final = 3600.0
"""Seconds between two looks for what nobody purged."""

_READY: Final = 5.0
"""Seconds for which the answer of /readyz holds."""

_DAY: Final = 86_400.0

_RIGHTS: Final = "kubectl apply -k config/backends/http/"

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an operator decides; see ``resultsfw results-server --help``."""

    store: str
    listen: str = ":8443"
    local: bool = False
    tls_cert: str | None = None
    tls_key: str | None = None
    insecure_http: bool = False
    audience: str = AUDIENCE
    limit_bytes: int = LIMIT
    keep_days: float = 30
    kubeconfig: str | None = None
    context: str | None = None
    log_level: str = "info"


def run_server(options: Options) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status.

    Raises:
        InputError: An option is refused; nothing was started.
    """
    address = parse_address(options.listen)
    certificate_of = _certificate(options, address[0])
    results = open_store(options.store)
    reviewer: Reviewer = LocalReviewer(options.audience)
    cluster = None
    if not options.local:
        cluster = KubeCluster(connect(options.kubeconfig, options.context, limit=RateLimit(200, 400)))
        reviewer = ClusterReviewer(cluster, options.audience)
    set_up(options.log_level)
    service = Service(
        results=results, reviewer=reviewer, limit=options.limit_bytes, ready=_Readiness(results, cluster)
    )
    certificate = certificate_of(service)
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(_listening(address))
        if options.local:
            scheme = "https" if certificate else "http"
            url = f"{scheme}://{_named(address[0])}:{sock.getsockname()[1]}"
            sys.stdout.write(stack.enter_context(flags_for(url, options.audience)))
            sys.stdout.flush()
        asyncio.run(_serve(service, certificate, sock, options))
    log.info("stopped")
    return 0


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _certificate(options: Options, host: str) -> Callable[[Service], Certificate | None]:
    """Makes the certificate, if the server is to have one."""
    cert, key = options.tls_cert, options.tls_key
    if options.local and host not in _LOOPBACK:
        raise InputError(
            f"--listen {options.listen}: --local takes tokens that anybody can make; listen on 127.0.0.1",
            subject="--listen",
        )
    if cert and key and not options.insecure_http:
        # Read here already: what is wrong with it is said before anything is started.
        Certificate(cert, key)

        def made(service: Service) -> Certificate:
            reloads = service.metrics.certificates
            return Certificate(cert, key, lambda taken: reloads.labels("taken" if taken else "refused").inc())

        return made
    if host not in _LOOPBACK:
        raise InputError(
            f"--listen {options.listen}: without --tls-cert and --tls-key only an address such as "
            "127.0.0.1:8443 is served, or who sees the network sees tokens",
            subject="--listen",
        )
    if cert or key or not (options.insecure_http or options.local):
        raise InputError("give --tls-cert and --tls-key, or --insecure-http", subject="--tls-cert")
    return lambda _: None


class _Readiness:
    """Why the server cannot serve; the answer holds for some seconds."""

    def __init__(self, results: Results, cluster: KubeCluster | None) -> None:
        self._results = results
        self._cluster = cluster
        self._lock = threading.Lock()
        self._why = ""
        self._until = 0.0

    def __call__(self) -> str:
        with self._lock:
            if time.monotonic() >= self._until:
                self._why = self._look()
                self._until = time.monotonic() + _READY
            return self._why

    def _look(self) -> str:
        try:
            self._results.probe()
        except RefusalError as error:
            return error.message
        if self._cluster is None:
            return ""
        why = "to know whose a token is"
        needs = [
            Need(verb="create", kind=kind, why=why, fix=_RIGHTS) for kind in (TOKEN_REVIEWS, ACCESS_REVIEWS)
        ]
        return "; ".join(missing(self._cluster, needs))


@contextlib.contextmanager
def _listening(address: tuple[str, int]) -> Iterator[socket.socket]:
    host, port = address
    try:
        if not host and socket.has_dualstack_ipv6():
            sock = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512)
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            sock = socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise InputError(f"--listen {host}:{port}: {error.strerror}", subject="--listen") from error
    with sock:
        yield sock


class _Server(uvicorn.Server):
    """Uvicorn's, whose signals are ours: it would end by the signal, and not with status 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield


async def _serve(
    service: Service, certificate: Certificate | None, sock: socket.socket, options: Options
) -> None:
    config = uvicorn.Config(
        make_app(service),
        http=Bounded,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=DRAIN,
    )
    config.load()
    config.ssl = certificate.context if certificate else None
    server = _Server(config)
    loop = asyncio.get_running_loop()

    def stop() -> None:
        log.info("told to stop: what was begun may end within %d s", DRAIN)
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    works = (
        [asyncio.create_task(_every(_SWEEP, _sweeper(service, options.keep_days)))]
        if options.keep_days
        else []
    )
    if certificate is not None:
        works.append(asyncio.create_task(_every(_LOOK, certificate.refresh)))
    scheme = "https" if certificate else "http"
    log.info("results server on %s port %d", scheme, sock.getsockname()[1])
    try:
        await server.serve([sock])
    finally:
        for work in works:
            work.cancel()


async def _every(seconds: float, do: Callable[[], None]) -> None:
    while True:
        try:
            await asyncio.to_thread(do)
        except Exception:
            log.exception("a fault of the server")
        await asyncio.sleep(seconds)


def _sweeper(service: Service, days: float) -> Callable[[], None]:
    def sweep() -> None:
        try:
            removed = service.results.sweep(days * _DAY)
        except RefusalError as error:
            log.warning("what is older than %g days was not removed: %s", days, error.message)
            return
        if removed:
            service.metrics.swept.inc(removed)
            log.warning("%d results older than %g days were removed: nobody had purged them", removed, days)

    return sweep
