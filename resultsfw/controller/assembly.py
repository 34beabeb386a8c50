"""Construct the parts of the controller in the order in which they depend on each other."""

import contextlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from resultsfw.cluster import CONFIG_MAPS, PODS, Kind, Object
from resultsfw.controller.cache_transforms import (
    TaskRunTransform,
    trim_configmap,
    trim_customrun,
    trim_pipelinerun,
)
from resultsfw.controller.condition_observer import ConditionObserver
from resultsfw.controller.controller import Controller, LiveReconciler
from resultsfw.controller.debug_state import DebugState
from resultsfw.controller.event_handlers import (
    enqueue_selected,
    enqueue_unfinished,
    in_turn,
    when_deleted,
)
from resultsfw.controller.events import (
    Event,
    EventWriter,
    log_pipelinerun_condition,
    log_taskrun_condition,
    truncate,
)
from resultsfw.controller.failures import RunFailer
from resultsfw.controller.fenced_cluster import FencedCluster
from resultsfw.controller.instrumented import InstrumentedResultsManager
from resultsfw.controller.live_flags import CONFIG_MAP, OTHERS, LiveFlags
from resultsfw.controller.metrics import Metrics
from resultsfw.controller.namespace_watches import NamespaceWatches
from resultsfw.controller.observed_cluster import ObservedCluster
from resultsfw.controller.optional_watch import OptionalWatch
from resultsfw.controller.options import Options
from resultsfw.controller.ownership import TASKRUN_LABEL, RunSelector
from resultsfw.controller.permissions import missing_for_plugins, usable_settings
from resultsfw.controller.pipelineruns import (
    ChildEvents,
    PipelineRunController,
    PipelineRunEvents,
    PipelineRunIndex,
)
from resultsfw.controller.requests import RequestQueue
from resultsfw.controller.resolution_requests import AnswerEvents, RequestNotingCluster, trim_request
from resultsfw.controller.taskruns import TaskRunController, TaskRunEvents, TaskRunIndex
from resultsfw.controller.watchdog import Watchdog
from resultsfw.controller.write_tracker import WriteTracker
from resultsfw.core import ResultsManager
from resultsfw.errors import NotFoundError
from resultsfw.kube import CachedCluster, Connection, KubeCluster, Reflector, ReflectorGroup
from resultsfw.registry.cache import CommandCache
from resultsfw.registry.lookups import LookupPool, look_up_images
from resultsfw.tekton.api.kinds import (
    CUSTOMRUNS,
    PIPELINERUNS,
    RESOLUTION_REQUESTS,
    TASKRUNS,
    VERIFICATION_POLICIES,
)
from resultsfw.tekton.pipelinerun.reconciler import PipelineReconciler
from resultsfw.tekton.resolution.requests import ASKED_LABEL
from resultsfw.tekton.taskrun.reconciler import Reconciler
from resultsfw.tekton.taskrun.requeue import Timing
from resultsfw.tekton.taskrun.settings import Settings

__all__ = ["Assembly", "assemble"]

_PIPELINERUN_THREADS = 2
"""Workers for PipelineRuns: reconciling one makes few requests and reads no pod."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """The parts of the controller that the process starts, stops and asks for their state.

    Attributes:
        cluster: The API server, without cache.
        configmaps: The reflectors of Tekton's ConfigMaps, which start first, with the one of
            ``feature-flags`` last, so that the first flags in effect have the others' keys.
        watches: Starts ``caches`` in each watched namespace.
        caches: In the order in which they start: PipelineRuns before their TaskRuns, and these before
            their pods, because whose a TaskRun or pod is decides how much of it is cached.
        customruns: Watches CustomRuns, where the server has them.
        flags: The flags in effect.
        taskruns: Reconciles TaskRuns.
        pipelineruns: Reconciles PipelineRuns.
        watchdog: Watches both of them.
        debug: Describes the state of all.
        events: Writes Kubernetes Events.
    """

    cluster: KubeCluster
    configmaps: tuple[Reflector, ...]
    watches: NamespaceWatches
    caches: tuple[ReflectorGroup, ...]
    customruns: OptionalWatch
    flags: LiveFlags
    taskruns: TaskRunController
    pipelineruns: PipelineRunController
    watchdog: Watchdog
    debug: DebugState
    events: EventWriter


def assemble(
    options: Options,
    connection: Connection,
    metrics: Metrics,
    *,
    is_leader: Callable[[], bool],
    on_unusable_plugin: Callable[[], None],
) -> Assembly:
    """Construct the controller; nothing of it works before its reflectors and controllers are started.

    Args:
        options: Of the process.
        connection: To the API server.
        metrics: Count everything.
        is_leader: Whether this replica may write.
        on_unusable_plugin: Called if the first flags select a plugin that cannot be used.
    """
    cluster = KubeCluster(connection)
    events = EventWriter(
        lambda obj, event: cluster.event(obj, type=event.type, reason=event.reason, message=event.message),
        metrics,
    )
    selector = RunSelector(options.managed_by)
    stalled_delay = options.stalled_after / 2

    # What is known of runs, and the queues: they depend on nothing.
    taskrun_index, pipelinerun_index = TaskRunIndex(selector), PipelineRunIndex(selector)
    taskrun_writes, pipelinerun_writes = WriteTracker(), WriteTracker()
    taskrun_queue = RequestQueue(
        taskrun_writes, stalled_delay=stalled_delay, metrics=metrics.work.queue(TASKRUNS.kind)
    )
    pipelinerun_queue = RequestQueue(
        pipelinerun_writes, stalled_delay=stalled_delay, metrics=metrics.work.queue(PIPELINERUNS.kind)
    )
    taskrun_conditions = ConditionObserver(
        metrics.runs.on_taskrun_condition, events.on_taskrun_condition, log_taskrun_condition
    )
    pipelinerun_conditions = ConditionObserver(
        metrics.runs.on_pipelinerun_condition, events.on_pipelinerun_condition, log_pipelinerun_condition
    )

    # The caches, whose event handlers fill the queues.
    taskrun_transform = TaskRunTransform(selector, pipelinerun_index.keeps_results)
    taskrun_events = TaskRunEvents(taskrun_index, taskrun_queue)
    child_events = ChildEvents(pipelinerun_index, pipelinerun_queue)
    watches = NamespaceWatches(options.watch_namespaces)

    def restart_of(kind: Kind) -> Callable[[str | None, str], None]:
        def on_restart(namespace: str | None, reason: str) -> None:
            metrics.watch_restarts.labels(kind.plural).inc()
            watches.on_restart(namespace, reason)

        return on_restart

    taskruns = ReflectorGroup(
        connection,
        TASKRUNS,
        options.watch_namespaces,
        on_change=in_turn(
            when_deleted(taskrun_writes.forget, taskrun_conditions.forget),
            taskrun_transform.on_taskrun,
            taskrun_events.on_taskrun,
            child_events.on_child,
        ),
        on_restart=restart_of(TASKRUNS),
        transform=taskrun_transform,
        is_foreign=selector.rules_out,
    )
    pods = ReflectorGroup(
        connection,
        PODS,
        options.watch_namespaces,
        label_selector=selector.pod_selector,
        wider_selector=TASKRUN_LABEL,
        on_change=taskrun_events.on_pod,
        on_restart=restart_of(PODS),
        transform=taskrun_index.trim_pod,
    )
    pipelinerun_events = PipelineRunEvents(
        pipelinerun_index, pipelinerun_queue, release_results=taskruns.retransform
    )
    pipelineruns = ReflectorGroup(
        connection,
        PIPELINERUNS,
        options.watch_namespaces,
        on_change=in_turn(
            when_deleted(pipelinerun_writes.forget, pipelinerun_conditions.forget),
            pipelinerun_events.on_pipelinerun,
            child_events.on_child,
        ),
        on_restart=restart_of(PIPELINERUNS),
        transform=partial(trim_pipelinerun, selector),
        is_foreign=selector.rules_out,
    )
    customruns = ReflectorGroup(
        connection,
        CUSTOMRUNS,
        options.watch_namespaces,
        on_change=child_events.on_child,
        on_restart=restart_of(CUSTOMRUNS),
        transform=partial(trim_customrun, pipelinerun_index.has_child),
    )

    # Answers of Tekton's resolvers: watched from the first one on, and no start waits for them.
    answers = AnswerEvents(
        {
            TASKRUNS.kind: enqueue_selected(taskrun_index, taskrun_queue),
            PIPELINERUNS.kind: enqueue_unfinished(pipelinerun_index, pipelinerun_queue),
        }
    )
    resolution_requests = ReflectorGroup(
        connection,
        RESOLUTION_REQUESTS,
        options.watch_namespaces,
        label_selector=ASKED_LABEL,
        on_change=answers.on_request,
        on_restart=restart_of(RESOLUTION_REQUESTS),
        transform=trim_request,
    )
    asking = RequestNotingCluster(cluster, resolution_requests.start)

    # The clusters as reconcilers see them: cached, fenced, observed.
    taskrun_cluster = ObservedCluster(
        FencedCluster(CachedCluster(asking, {TASKRUNS: taskruns, PODS: pods}), is_leader),
        TASKRUNS,
        taskrun_writes,
        taskrun_conditions,
    )
    pipelinerun_cluster = ObservedCluster(
        FencedCluster(
            CachedCluster(asking, {PIPELINERUNS: pipelineruns, TASKRUNS: taskruns, CUSTOMRUNS: customruns}),
            is_leader,
        ),
        PIPELINERUNS,
        pipelinerun_writes,
        pipelinerun_conditions,
    )
    taskrun_failer = RunFailer(taskrun_cluster, TASKRUNS, cached=taskruns.get)
    pipelinerun_failer = RunFailer(pipelinerun_cluster, PIPELINERUNS, cached=pipelineruns.get)

    # The reconcilers, created again for each set of flags, and the controllers that use the ones in effect.
    taskrun_reconciler, pipelinerun_reconciler = LiveReconciler(), LiveReconciler()

    images = LookupPool(
        partial(look_up_images, CommandCache(), wait=time.sleep),
        lambda namespace, name: taskrun_queue.add((namespace, name)),
    )

    def warn(obj: Object, reason: str, message: str) -> None:
        events.send(obj, Event("Warning", reason, truncate(message)))

    def verification_policies(namespace: str) -> list[Object]:
        with contextlib.suppress(NotFoundError):  # Tekton's CRD is not installed
            return cluster.list(VERIFICATION_POLICIES, namespace)
        return []

    def swap(core: ResultsManager, settings: Settings) -> None:
        taskrun_reconciler.swap(
            Reconciler(
                core,
                taskrun_cluster,
                options=settings.pods,
                timing=Timing(unschedulable=options.unschedulable_after),
                policies=settings.policies,
                verification_policies=verification_policies,
                tolerance=settings.tolerance,
                defaults=settings.runs,
                tell=warn,
                images=images,
            ),
            core.lifetime,
        )
        pipelinerun_index.copies_statuses = core.flags.embedded_status != "minimal"
        pipelinerun_reconciler.swap(
            PipelineReconciler(
                core,
                pipelinerun_cluster,
                children=_ChildReader(cluster, taskrun_transform),
                warn=warn,
                policies=settings.policies,
                verification_policies=verification_policies,
                defaults=settings.runs,
                coscheduling=settings.coscheduling,
            ),
            core.lifetime,
        )

    flags = LiveFlags(
        build=partial(InstrumentedResultsManager, metrics=metrics.runs),
        check=partial(missing_for_plugins, cluster, namespaces=options.watch_namespaces),
        swap=swap,
        send_event=events.send,
        metrics=metrics,
        sidecar_image=options.sidecar_image,
        pods=options.pods,
        adapt=partial(usable_settings, cluster, namespaces=options.watch_namespaces),
        on_unusable_plugin=on_unusable_plugin,
    )
    # One watch for each: Kubernetes grants the watch of a ConfigMap by its name only if it selects that name.
    configmaps = tuple(
        Reflector(
            connection,
            CONFIG_MAPS,
            namespace=options.namespace,
            name=name,
            on_change=partial(_on_configmap, flags),
            on_restart=lambda _: metrics.watch_restarts.labels(CONFIG_MAPS.plural).inc(),
            transform=trim_configmap,
        )
        for name in (*OTHERS, CONFIG_MAP)
    )
    taskrun_controller = TaskRunController(
        taskrun_index,
        pods,
        taskrun_queue,
        taskrun_reconciler,
        taskrun_failer.mark_failed,
        record_result=partial(metrics.work.count_reconcile, TASKRUNS.kind),
        threads=options.threads,
    )
    pipelinerun_controller = PipelineRunController(
        pipelinerun_index,
        pipelinerun_queue,
        pipelinerun_reconciler,
        pipelinerun_failer.mark_failed,
        record_result=partial(metrics.work.count_reconcile, PIPELINERUNS.kind),
        threads=_PIPELINERUN_THREADS,
    )
    caches = (pipelineruns, taskruns, pods)
    controllers: dict[str, Controller] = {
        TASKRUNS.kind: taskrun_controller,
        PIPELINERUNS.kind: pipelinerun_controller,
    }
    reflectors = (*configmaps, *itertools.chain(*caches, customruns, resolution_requests))
    metrics.watch(
        controllers,
        reflectors,
        taskruns=lambda: taskrun_index.unfinished if is_leader() else 0,
        pipelineruns=lambda: len(pipelinerun_index) if is_leader() else 0,
    )
    return Assembly(
        cluster=cluster,
        configmaps=configmaps,
        watches=watches,
        caches=caches,
        customruns=OptionalWatch(customruns, partial(cluster.serves, CUSTOMRUNS)),
        flags=flags,
        taskruns=taskrun_controller,
        pipelineruns=pipelinerun_controller,
        watchdog=Watchdog(
            controllers,
            {TASKRUNS.kind: taskrun_failer.record_stall, PIPELINERUNS.kind: pipelinerun_failer.record_stall},
            metrics,
            seconds=options.stalled_after,
        ),
        debug=DebugState(controllers, reflectors, lambda: flags.in_effect, is_leader),
        events=events,
    )


@dataclass(frozen=True, slots=True)
class _ChildReader:
    """Reads children whose results the cache left out. See `PipelineReconciler`."""

    cluster: KubeCluster
    transform: TaskRunTransform

    def is_complete(self, kind: Kind, child: Object) -> bool:
        return kind == TASKRUNS and self.transform.is_complete(child)

    def read(self, kind: Kind, child: Object) -> Object:
        metadata = child["metadata"]
        return self.cluster.get(kind, metadata.get("namespace", ""), metadata["name"])


def _on_configmap(flags: LiveFlags, change: str, configmap: Object) -> None:
    name, now = configmap["metadata"]["name"], None if change == "DELETED" else configmap
    if name == CONFIG_MAP:
        flags.on_feature_flags(now)
    elif name in OTHERS:
        flags.on_other_configmap(name, now)
