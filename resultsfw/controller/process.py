"""The controller as a process: what it is made of, how it starts, and how it ends."""

import gc
import logging
import os
import queue
import signal
import socket
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import FrameType
from typing import Any, Final

from resultsfw.cluster import CONFIG_MAPS, PODS, Object
from resultsfw.controller import permissions
from resultsfw.controller.config import CONFIG_MAP, OTHERS, LiveFlags
from resultsfw.controller.controller import POD_SELECTOR, Controller
from resultsfw.controller.events import Events, Notice, cut, log_change, log_pipelinerun
from resultsfw.controller.failures import RunEnder
from resultsfw.controller.instrumented import InstrumentedCore
from resultsfw.controller.ledger import Ledger
from resultsfw.controller.metrics import Metrics
from resultsfw.controller.pipelineruns import PipelineRuns
from resultsfw.controller.watchdog import STALLED_AFTER, Watchdog
from resultsfw.core import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.kube import CachedCluster, KubeCluster, LeaderElector, Reflector, connect
from resultsfw.operations.access import missing_permissions
from resultsfw.operations.logs import set_up
from resultsfw.operations.status_pages import StatusServer, parse_address
from resultsfw.ratelimit import TokenBucket
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.tekton.taskrun.requeue import Timing
from resultsfw.tekton.taskrun.settings import Settings

__all__ = ["Options", "Process", "images_of", "run_process"]

log = logging.getLogger(__name__)

LEASE: Final = "resultsfw-controller"

_PIPELINE_THREADS: Final = 2
"""Workers for PipelineRuns: a look at one asks a server little and reads no pod."""

REFUSED: Final = 2
"""Exit status where a plugin that the flags name cannot be used: that of refused input."""

DRAIN: Final = 20.0
"""Seconds in which looks that were begun may end after SIGTERM; Kubernetes gives 30 in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What an operator decides about the process; see ``resultsfw controller --help``."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str = "tekton-pipelines"
    managed_by: str = "resultsfw.dev/controller"
    threads: int = 4
    listen: str = ":8080"
    leader_elect: bool = True
    lease_namespace: str = "tekton-pipelines"
    lease_seconds: int = 20
    """Others wait so long after the last sign of life of a replica that died."""
    renew_deadline: float = 15
    """A replica that cannot renew its lease ends so long after its last sign of life: an API server that
    is gone for ten seconds ends nobody."""
    pods: PodOptions = field(default_factory=PodOptions)
    sidecar_image: str = ""
    unschedulable_after: float = 30.0
    stalled_after: float = STALLED_AFTER
    """A worker that is at one run for so many seconds turns ``/healthz`` red."""
    qps: float = 200.0
    burst: int = 400
    log_level: str = "info"


def images_of(options: Options) -> Mapping[str, str]:
    """The images of the pods by what they are for; the sidecar's is its backend's."""
    pods = options.pods
    return {
        "entrypoint": pods.entrypoint_image,
        "scripts": pods.shell_image,
        "working directories": pods.workingdirinit_image,
        "end of Sidecars": pods.nop_image,
    }


def run_process(options: Options) -> int:
    """Run until a signal or the loss of the lease; returns the exit status."""
    set_up(options.log_level)
    return Process(options).run()


class Process:
    """All parts of the controller, wired.

    Args:
        options: What the operator decided.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        # A SimpleQueue may be filled from a signal handler while the same thread waits on it.
        self._inbox: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._leads = threading.Event()
        self._synced = threading.Event()
        self.metrics = Metrics()
        limit = TokenBucket(options.qps, options.burst)
        connection = connect(options.kubeconfig, options.context, threads=options.threads, limit=limit)
        self._connection = connection
        self._cluster = KubeCluster(connection)
        self._events = Events(self._post, self.metrics)
        self._controller = Controller(self.metrics, managed_by=options.managed_by, threads=options.threads)
        self._pipelines = PipelineRuns(
            managed_by=options.managed_by, threads=_PIPELINE_THREADS, looked=self.metrics.pipelinerun_looked
        )
        self.metrics.watch_pipelineruns(
            lambda: len(self._pipelines.queue), lambda: self._pipelines.open if self._leads.is_set() else 0
        )
        self._flags = LiveFlags(
            build=partial(InstrumentedCore, metrics=self.metrics),
            check=self._missing,
            swap=self._swap,
            tell=self._events.send,
            metrics=self.metrics,
            sidecar_image=options.sidecar_image,
            pods=options.pods,
            hopeless=partial(self._inbox.put, "hopeless"),
        )
        self._elector: threading.Thread | None = None
        self._reflectors = self._follow()

    def run(self) -> int:
        """Serve until told to stop; returns the exit status.

        0 after a signal, 1 after the loss of the lease or a fault, 2 if a plugin cannot be used that is
        selected at the start.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._signalled)
        server = StatusServer(
            parse_address(self._options.listen),
            {
                "/healthz": self._healthy,
                "/readyz": self._ready,
                "/metrics": lambda: (True, self.metrics.text()),
            },
        )
        log.info("status pages on port %d", server.port)
        threading.Thread(target=self._start, name="start", daemon=True).start()
        why = self._inbox.get()
        if why == "hopeless":  # the flags' own words have said why
            self._give_up()
            self._events.close(2)
            return REFUSED
        if why != "signal":
            self._give_up()
            log.error("exiting: %s", why)
            return 1
        log.info("shutting down: running reconciliations have %.0f s to finish", DRAIN)
        self._pipelines.queue.shut_down()
        if not self._controller.queue.shut_down_with_drain(DRAIN):
            log.warning("some reconciliations did not finish in time; the next leader repeats them")
        self._events.close(2)
        self._stop.set()  # the elector gives the lease back
        if self._elector is not None:
            self._elector.join(5)
        self._leads.clear()
        server.close()
        log.info("stopped")
        return 0

    # The way up.

    def _start(self) -> None:
        """Follow the cluster until all of it was seen once, then work, or wait to become the leader."""
        try:
            self._check_rights()
            for reflector in self._reflectors:
                reflector.start()
                reflector.synced.wait()
                if (
                    reflector is self._configmaps
                    and self._configmaps.get(self._options.namespace, CONFIG_MAP) is None
                ):
                    self._flags.changed(None)
            self._flags.ready.wait()
            self._synced.set()
            log.info("caches synced")
            _settle()
            if not self._options.leader_elect:
                self._lead()
                return
            identity = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4().hex[:8]}"
            elector = LeaderElector(
                self._connection,
                self._options.lease_namespace,
                LEASE,
                identity,
                on_started=self._lead,
                on_stopped=self._lost,
                lease_seconds=self._options.lease_seconds,
                renew_deadline=self._options.renew_deadline,
                retry=self._options.renew_deadline / 7,
            )
            self._elector = threading.Thread(target=self._elect, args=(elector,), name="elector", daemon=True)
            self._elector.start()
        except Exception:
            log.exception("startup failed")
            self._inbox.put("startup failed")

    def _check_rights(self) -> None:
        lease = self._options.lease_namespace if self._options.leader_elect else None
        for line in missing_permissions(
            self._cluster, permissions.controller_permissions(self._options.namespace, lease)
        ):
            log.error("%s", line)

    def _elect(self, elector: LeaderElector) -> None:
        try:
            elector.run(self._stop)
        except Exception:
            log.exception("leader election failed")
        self._lost()

    def _lead(self) -> None:
        self._leads.set()
        self.metrics.leader.set(1)
        log.info("this replica is the leader")
        self._controller.work()
        self._pipelines.work()
        self._watchdog.start()

    def _lost(self) -> None:
        """The lease is not ours any more, by our own will or not."""
        if not self._stop.is_set():
            self._give_up()
            self._inbox.put("the lease was lost")

    def _give_up(self) -> None:
        """Whoever leads now works on the same runs: begin nothing more, write nothing more."""
        self._stop.set()
        self._leads.clear()
        self.metrics.leader.set(0)
        self._controller.queue.shut_down()
        self._pipelines.queue.shut_down()

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        self._inbox.put("signal")

    # What goes on.

    def _follow(self) -> list[Reflector]:
        """The watches in the order in which they begin: runs before pods, which are kept by their run."""
        restarted = self.metrics.watch_restarts
        self._configmaps = Reflector(
            self._connection,
            CONFIG_MAPS,
            namespace=self._options.namespace,
            on_change=self._on_configmap,
            on_restart=lambda *_: restarted.labels("configmaps").inc(),
            transform=_slim_configmap,
        )
        taskruns = Reflector(
            self._connection,
            TASKRUNS,
            on_change=self._on_taskrun,
            on_restart=lambda *_: restarted.labels("taskruns").inc(),
            transform=self._controller.slim_taskrun,
        )
        pods = Reflector(
            self._connection,
            PODS,
            label_selector=POD_SELECTOR,
            on_change=self._controller.on_pod,
            on_restart=lambda *_: restarted.labels("pods").inc(),
            transform=self._controller.slim_pod,
        )
        pipelineruns = Reflector(
            self._connection,
            PIPELINERUNS,
            on_change=self._on_pipelinerun,
            on_restart=lambda *_: restarted.labels("pipelineruns").inc(),
            transform=self._pipelines.slim,
        )
        self._controller.pods = pods
        cached = CachedCluster(self._cluster, {TASKRUNS: taskruns, PODS: pods})
        self._ledger = Ledger(
            cached,
            changed=(self.metrics.changed, self._events.changed, log_change),
            may_write=self._leads.is_set,
        )
        self._pipeline_ledger = Ledger(
            CachedCluster(self._cluster, {PIPELINERUNS: pipelineruns, TASKRUNS: taskruns}),
            changed=(self.metrics.pipelinerun_changed, self._events.pipelinerun_changed, log_pipelinerun),
            may_write=self._leads.is_set,
            kind=PIPELINERUNS,
        )
        for reflector in (self._configmaps, pipelineruns, taskruns, pods):
            self.metrics.watch_unreadable(reflector.kind.plural, partial(len, reflector.unreadable))
        taskrun_ender = RunEnder(self._ledger, TASKRUNS, held=taskruns.get)
        pipelinerun_ender = RunEnder(self._pipeline_ledger, PIPELINERUNS, held=pipelineruns.get)
        self._controller.end, self._pipelines.end = taskrun_ender.end, pipelinerun_ender.end
        self._controller.stalled_pause = self._pipelines.stalled_pause = self._options.stalled_after / 2
        self._watchdog = Watchdog(
            {TASKRUNS.kind: self._controller, PIPELINERUNS.kind: self._pipelines},
            {TASKRUNS.kind: taskrun_ender.stalled, PIPELINERUNS.kind: pipelinerun_ender.stalled},
            self.metrics,
            seconds=self._options.stalled_after,
        )
        self._controller.is_own = self._ledger.is_own
        self._controller.keeps_results = self._pipelines.keeps_results
        self._pipelines.is_own = self._pipeline_ledger.is_own
        self._pipelines.forget_results = taskruns.transform_anew
        return [self._configmaps, pipelineruns, taskruns, pods]

    def _on_pipelinerun(self, change: str, obj: Object) -> None:
        if change == "DELETED":
            self._pipeline_ledger.forget(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        self._pipelines.on_pipelinerun(change, obj)

    def _on_taskrun(self, change: str, obj: Object) -> None:
        if change == "DELETED":
            self._ledger.forget(obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        self._controller.on_taskrun(change, obj)
        self._pipelines.on_taskrun(change, obj)

    def _on_configmap(self, change: str, obj: Object) -> None:
        name, now = obj["metadata"]["name"], None if change == "DELETED" else obj
        if name == CONFIG_MAP:
            self._flags.changed(now)
        elif name in OTHERS:
            self._flags.other_changed(name, now)

    def _swap(self, core: ResultsManager, settings: Settings) -> None:
        """Put flags in force: looks that began before end with those they began with."""
        timing = Timing(unschedulable=self._options.unschedulable_after)
        self._controller.reconciler = Reconciler(
            core,
            self._ledger,
            options=settings.pods,
            timing=timing,
            policies=settings.policies,
            tell=self._warn,
        )
        self._pipelines.copies = core.flags.embedded_status != "minimal"
        self._pipelines.reconciler = PipelineReconciler(
            core,
            self._pipeline_ledger,
            read_whole=self._read_whole,
            tell=self._warn,
            policies=settings.policies,
        )

    def _read_whole(self, taskrun: Object) -> Object:
        """A TaskRun past the cache, which holds those that are over without what few looks read."""
        metadata = taskrun["metadata"]
        return self._cluster.get(TASKRUNS, metadata.get("namespace", ""), metadata["name"])

    def _missing(self, core: ResultsManager) -> list[str]:
        needs, broken = [], []
        for name in sorted(core.flags.allowed):
            try:
                needs += permissions.backend_permissions(name, core.backend(name).capabilities.permissions)
            except ResultsError as error:  # a run may choose it: such a run is refused, and all others go on
                broken.append(error.message)
        return [*broken, *missing_permissions(self._cluster, needs)]

    def _warn(self, obj: Object, reason: str, message: str) -> None:
        self._events.send(obj, Notice("Warning", reason, cut(message)))

    def _post(self, obj: Object, notice: Notice) -> None:
        self._cluster.event(obj, type=notice.type, reason=notice.reason, message=notice.message)

    # What is asked.

    def _healthy(self) -> tuple[bool, bytes]:
        if not (self._controller.works and self._pipelines.works):
            return False, b"a worker thread ended\n"
        if stalled := self._watchdog.stalled():
            return False, f"a worker is stalled by {', '.join(stalled)}\n".encode()
        return True, b"ok\n"

    def _ready(self) -> tuple[bool, bytes]:
        if not self._flags.ready.is_set():
            return False, b"no feature flags in effect yet\n"
        if not self._synced.is_set():
            return False, b"caches not synced yet\n"
        return True, b"leader\n" if self._leads.is_set() else b"standby\n"


def _settle() -> None:
    """Let the garbage collector pass over what is here to stay, and look less often at what comes and goes.

    Nothing here makes cycles of objects in its work: a decoded pod is some 700 objects that go with their
    last reference, and counted as new ones they had the whole process searched every few events.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _slim_configmap(obj: Object) -> Object:
    """Of the namespace's other ConfigMaps only that they are there."""
    if obj["metadata"]["name"] in (CONFIG_MAP, *OTHERS):
        return obj
    metadata: dict[str, Any] = {
        key: obj["metadata"].get(key) for key in ("name", "namespace", "uid", "resourceVersion")
    }
    return {"metadata": metadata}
