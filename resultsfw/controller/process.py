"""Run the controller: serve status pages, sync the caches, lead or wait, and shut down."""

import gc
import logging
import os
import queue
import signal
import socket
import threading
import uuid
from enum import Enum
from types import FrameType
from typing import Final

from prometheus_client import disable_created_metrics

from resultsfw.controller.assembly import assemble
from resultsfw.controller.live_flags import CONFIG_MAP
from resultsfw.controller.metrics import Metrics
from resultsfw.controller.options import Options
from resultsfw.controller.permissions import controller_permissions
from resultsfw.kube import LeaderElector, connect
from resultsfw.operations.access import missing_permissions
from resultsfw.operations.debug import install_signal_handler
from resultsfw.operations.logs import set_up
from resultsfw.operations.status_pages import StatusServer, parse_address
from resultsfw.ratelimit import TokenBucket

__all__ = ["Process", "run_process"]

log = logging.getLogger(__name__)

REFUSED: Final = 2
"""Exit status if a plugin that the flags select cannot be used: that of invalid input."""

DRAIN: Final = 20.0
"""Seconds in which running reconciliations may finish after SIGTERM; Kubernetes kills after 30."""


class _Exit(Enum):
    """Why the process exits; the value is logged."""

    SIGNAL = "a signal"
    UNUSABLE_PLUGIN = "a plugin that the flags select cannot be used"
    STARTUP_FAILED = "startup failed"
    LEASE_LOST = "the lease was lost"


def run_process(options: Options) -> int:
    """Run until a signal or the loss of the lease; return the exit status."""
    set_up(options.log_level)
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the time of creation of each series, as one more series each
    return Process(options).run()


class Process:
    """The controller as a process.

    Args:
        options: See `Options`.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        # A SimpleQueue may be filled from a signal handler while the same thread waits on it.
        self._inbox: queue.SimpleQueue[_Exit] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._is_leader = threading.Event()
        self._synced = threading.Event()
        self.metrics = Metrics()
        self._connection = connect(
            options.kubeconfig,
            options.context,
            threads=options.threads,
            limit=TokenBucket(options.qps, options.burst),
            metrics=self.metrics.api,
        )
        self._parts = assemble(
            options,
            self._connection,
            self.metrics,
            is_leader=self._is_leader.is_set,
            on_unusable_plugin=lambda: self._inbox.put(_Exit.UNUSABLE_PLUGIN),
        )
        self.metrics.unwatched_namespaces.set_function(self._parts.watches.missing)
        self._elector: threading.Thread | None = None

    def run(self) -> int:
        """Run until a signal, and return the exit status.

        0 after a signal, 1 after the loss of the lease or an error, 2 if a plugin cannot be used that is
        selected at the start.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        install_signal_handler(self._parts.debug)
        server = StatusServer(
            parse_address(self._options.listen),
            {
                "/healthz": self._healthz,
                "/readyz": self._readyz,
                "/metrics": lambda: (True, self.metrics.text()),
            },
            {"/debug": self._parts.debug},
        )
        log.info("status pages on port %d", server.port)
        threading.Thread(target=self._start, name="start", daemon=True).start()
        why = self._inbox.get()
        if why is _Exit.UNUSABLE_PLUGIN:  # which one, and why, is logged already
            self._step_down()
            self._parts.events.close(2)
            return REFUSED
        if why is not _Exit.SIGNAL:
            self._step_down()
            self._parts.flags.close()
            log.error("exiting: %s", why.value)
            return 1
        log.info("shutting down: running reconciliations have %.0f s to finish", DRAIN)
        self._parts.pipelineruns.queue.shut_down()
        if not self._parts.taskruns.queue.shut_down_with_drain(DRAIN):
            log.warning("some reconciliations did not finish in time; the next leader repeats them")
        self._parts.events.close(2)
        self._parts.flags.close()
        self._stop.set()  # the elector releases the lease
        if self._elector is not None:
            self._elector.join(5)
        self._is_leader.clear()
        server.close()
        log.info("stopped")
        return 0

    # Starting.

    def _start(self) -> None:
        """Sync the caches, then lead, or wait to become the leader."""
        try:
            self._log_missing_permissions()
            for reflector in self._parts.configmaps:
                reflector.start()
                reflector.synced.wait()
            if self._parts.configmaps[-1].get(self._options.namespace, CONFIG_MAP) is None:
                self._parts.flags.on_feature_flags(None)
            self._parts.watches.start(self._parts.caches)
            self._parts.watches.wait()
            self._parts.customruns.start()
            self._parts.flags.ready.wait()
            self._synced.set()
            log.info("caches synced")
            _tune_garbage_collector()
            if not self._options.leader_elect:
                self._lead()
                return
            identity = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
            elector = LeaderElector(
                self._connection,
                self._options.lease_namespace,
                self._options.lease_name,
                identity,
                on_started=self._lead,
                on_stopped=self._on_lease_lost,
                lease_seconds=self._options.lease_seconds,
                renew_deadline=self._options.renew_deadline,
                retry=self._options.renew_deadline / 7,
            )
            self._parts.debug.elector = elector
            self._elector = threading.Thread(target=self._elect, args=(elector,), name="elector", daemon=True)
            self._elector.start()
        except Exception:
            log.exception("startup failed")
            self._inbox.put(_Exit.STARTUP_FAILED)

    def _log_missing_permissions(self) -> None:
        lease = self._options.lease_namespace if self._options.leader_elect else None
        needed = controller_permissions(self._options.namespace, lease, self._options.lease_name)
        for line in missing_permissions(self._parts.cluster, needed, self._options.watch_namespaces):
            log.error("%s", line)

    def _elect(self, elector: LeaderElector) -> None:
        try:
            elector.run(self._stop)
        except Exception:
            log.exception("leader election failed")
        self._on_lease_lost()

    def _lead(self) -> None:
        self._is_leader.set()
        self.metrics.leader.set(1)
        log.info("this replica is the leader")
        self._parts.taskruns.start()
        self._parts.pipelineruns.start()
        self._parts.watchdog.start()

    # Stopping.

    def _on_lease_lost(self) -> None:
        """Handle the end of the leadership, whether by shutdown or because another replica took the lease."""
        if not self._stop.is_set():
            self._step_down()
            self._inbox.put(_Exit.LEASE_LOST)

    def _step_down(self) -> None:
        """Begin and write nothing more: another leader may reconcile the same runs."""
        self._stop.set()
        self._is_leader.clear()
        self.metrics.leader.set(0)
        self._parts.taskruns.queue.shut_down()
        self._parts.pipelineruns.queue.shut_down()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._inbox.put(_Exit.SIGNAL)

    # Status pages.

    def _healthz(self) -> tuple[bool, bytes]:
        if not (self._parts.taskruns.is_healthy and self._parts.pipelineruns.is_healthy):
            return False, b"a worker thread ended\n"
        if stalled := self._parts.watchdog.stalled():
            return False, f"a worker is stalled by {', '.join(stalled)}\n".encode()
        return True, b"ok\n"

    def _readyz(self) -> tuple[bool, bytes]:
        if not self._parts.flags.ready.is_set():
            return False, b"no feature flags in effect yet\n"
        if not self._synced.is_set():
            return False, b"caches not synced yet\n"
        return True, b"leader\n" if self._is_leader.is_set() else b"standby\n"


def _tune_garbage_collector() -> None:
    """Let the garbage collector skip what exists now, and run less often.

    Nothing here makes reference cycles: a decoded pod is some 700 objects that are freed with their last
    reference. Counted as new objects they made the collector search the whole process every few watch events.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
