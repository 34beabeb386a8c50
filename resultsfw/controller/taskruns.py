"""Map watch events of TaskRuns and pods to reconcile requests, and track the TaskRuns."""

import logging
import marshal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from resultsfw.cluster import UNREADABLE, Object
from resultsfw.controller.cache_transforms import trim_foreign_pod, trim_pod
from resultsfw.controller.controller import Controller, MarkFailed, Reconciler
from resultsfw.controller.failures import stalls_of
from resultsfw.controller.ownership import RunSelector, taskrun_of
from resultsfw.controller.requests import Request, RequestQueue
from resultsfw.controller.run_metrics import backend_of
from resultsfw.operations.logs import about
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import READY_ANNOTATION, RELEASED_ANNOTATION, is_step
from resultsfw.tekton.taskrun.finalizers import awaits_finalizer

__all__ = ["TaskRunController", "TaskRunEvents", "TaskRunIndex", "enqueue_delay", "pod_fingerprint"]

log = logging.getLogger(__name__)

PENDING_DELAY: Final = 10.0
"""Seconds for which changes of a pod that is starting are gathered: no reconciliation waits for them."""

PROGRESS_DELAY: Final = 2.0
"""Seconds for which changes of a running pod are gathered that only a person who watches waits for."""

_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons of the kubelet for containers that wait while all is well."""

_STATUS_FIELDS: Final = (
    "phase",
    "reason",
    "message",
    "conditions",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
)
"""Fields of a pod's status that a reconciliation reads."""


class PodCache(Protocol):
    """Knows the pods that the watch has brought."""

    def holds(self, namespace: str, name: str, /) -> bool:
        """Return whether a pod is known, and not known to be deleted."""
        ...


class TaskRunState(NamedTuple):
    """What is known of each TaskRun without unpacking it from the cache.

    Attributes:
        selected: Whether this controller reconciles it.
        done: Whether it is finished.
        pod: The name of its pod; "" before there is one.
        backend: The backend it was stamped with, or "none".
        awaits_finalizer: Whether it is being deleted and has a finalizer of ours.
        defect: Why it cannot be reconciled; "" if it can.
    """

    selected: bool
    done: bool
    pod: str
    backend: str
    awaits_finalizer: bool
    defect: str = ""


class TaskRunIndex:
    """The state of every TaskRun, from the watch.

    Args:
        selector: Selects this controller's TaskRuns.
    """

    def __init__(self, selector: RunSelector) -> None:
        self._selector = selector
        self._states: dict[Request, TaskRunState] = {}
        self._unfinished: set[Request] = set()

    @property
    def unfinished(self) -> int:
        """How many of this controller's TaskRuns are not finished."""
        return len(self._unfinished)

    def get(self, request: Request) -> TaskRunState | None:
        """Return the state of a TaskRun; ``None`` for an unknown or deleted one."""
        return self._states.get(request)

    def update(self, request: Request, taskrun: Object) -> TaskRunState:
        """Note a TaskRun that the watch brought, and return its state."""
        state = self._states[request] = TaskRunState(
            self._selector.selects(taskrun),
            is_done(taskrun),
            (taskrun.get("status") or {}).get("podName") or "",
            backend_of(taskrun),
            awaits_finalizer(taskrun),
            str(taskrun.get(UNREADABLE) or ""),
        )
        if state.selected and not state.done:
            self._unfinished.add(request)
        else:
            self._unfinished.discard(request)
        return state

    def remove(self, request: Request) -> None:
        """Forget a TaskRun that was deleted."""
        self._states.pop(request, None)
        self._unfinished.discard(request)

    def trim_pod(self, pod: Object) -> Object:
        """Return a pod as it is cached; that of another controller's TaskRun: only its identity."""
        request = taskrun_of(pod)
        state = None if request is None else self._states.get(request)
        return trim_pod(pod) if state is None or state.selected else trim_foreign_pod(pod)


class TaskRunEvents:
    """Enqueues TaskRuns whose own events, or whose pod's, bring something that a reconciliation reads.

    Args:
        index: Kept up to date.
        queue: Where requests go.
    """

    def __init__(self, index: TaskRunIndex, queue: RequestQueue) -> None:
        self._index = index
        self._queue = queue
        self._fingerprints: dict[Request, int] = {}

    def on_taskrun(self, change: str, taskrun: Object) -> None:
        """Handle a watch event of a TaskRun."""
        metadata = taskrun["metadata"]
        request = (metadata.get("namespace", ""), metadata["name"])
        if change == "DELETED":
            self._index.remove(request)
            self._fingerprints.pop(request, None)
            self._queue.discard(request)
            return
        state = self._index.update(request, taskrun)
        if state.selected:
            stalled = not state.done and stalls_of(taskrun) > 0
            self._queue.enqueue(request, metadata.get("resourceVersion", ""), stalled=stalled)

    def on_pod(self, change: str, pod: Object) -> None:
        """Handle a watch event of a pod: its TaskRun is reconciled."""
        request = taskrun_of(pod)
        # A TaskRun that is not known yet is enqueued by its own watch.
        if request is None or (state := self._index.get(request)) is None or not state.selected:
            return
        if change == "DELETED":
            self._fingerprints.pop(request, None)
            self._queue.add(request)
            return
        fingerprint = pod_fingerprint(pod)
        if self._fingerprints.get(request) != fingerprint:
            self._fingerprints[request] = fingerprint
            if delay := enqueue_delay(pod):
                self._queue.add_after(request, delay)
            else:
                # Its pod waits, or has ended: before TaskRuns that only begin.
                self._queue.add(request, urgent=True)


class TaskRunController(Controller):
    """Reconciles TaskRuns.

    Args:
        index: The TaskRuns' state.
        pods: The pods' cache.
        queue: See `Controller`.
        reconciler: See `Controller`.
        mark_failed: See `Controller`.
        record_result: Counts the reconciliations, by result.
        threads: How many workers.
    """

    def __init__(
        self,
        index: TaskRunIndex,
        pods: PodCache,
        queue: RequestQueue,
        reconciler: Reconciler,
        mark_failed: MarkFailed,
        *,
        record_result: Callable[[str], None],
        threads: int,
    ) -> None:
        super().__init__("worker", queue, reconciler, mark_failed, threads=threads)
        self._index = index
        self._pods = pods
        self._record_result = record_result

    def needs_reconcile(self, request: Request) -> bool:
        """Return whether a TaskRun is ours and not finished, or finished with something left to clean up."""
        state = self._index.get(request)
        return state is not None and state.selected and not self._is_cleaned_up(request, state)

    def exists(self, request: Request) -> bool:
        """Return whether a TaskRun is known, and not known to be deleted."""
        return self._index.get(request) is not None

    def defect(self, request: Request) -> str:
        """Return why a TaskRun cannot be reconciled; cleaning up after a finished one needs no spec."""
        state = self._index.get(request)
        return "" if state is None or state.done or state.awaits_finalizer else state.defect

    @contextmanager
    def log_context(self, request: Request) -> Iterator[None]:
        """Log within with the TaskRun's pod and backend, and log how long the reconciliation took."""
        state = self._index.get(request)
        fields = {"pod": state.pod, "backend": state.backend} if state else {}
        began = time.perf_counter()
        with about(run="/".join(request), **fields):
            yield
            log.debug("reconciled in %.1f ms", (time.perf_counter() - began) * 1000)

    def describe(self, request: Request) -> str:
        """Return a TaskRun's name for the log."""
        state = self._index.get(request)
        return f"TaskRun {request[0]}/{request[1]} (backend {state.backend if state else 'none'})"

    def record_result(self, result: str) -> None:
        """Count a reconciliation."""
        self._record_result(result)

    def _is_cleaned_up(self, request: Request, state: TaskRunState) -> bool:
        """Return whether a TaskRun is finished, has no finalizer to remove, and its pod is gone."""
        if not state.done or state.awaits_finalizer:
            return False
        return not state.pod or not self._pods.holds(request[0], state.pod)


def enqueue_delay(pod: Object) -> float:
    """Return for how many seconds more changes of this pod are gathered before its TaskRun is reconciled.

    A pod's start and the end of each Step are written to the TaskRun's status, and may come late. What the
    TaskRun waits for, and what ends it, is reconciled at once: the first Step may be started, a failure, the
    end of the last Step.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    if "deletionTimestamp" in metadata:
        return 0.0
    states = {
        container["name"]: container.get("state") or {} for container in status.get("containerStatuses") or ()
    }
    if status.get("phase", "Pending") == "Pending":
        all_states = [
            *states.values(),
            *(container.get("state") or {} for container in status.get("initContainerStatuses") or ()),
        ]
        waiting = {state["waiting"].get("reason") for state in all_states if "waiting" in state}
        failing = any("terminated" in state and state["terminated"].get("exitCode") for state in all_states)
        return PENDING_DELAY if waiting <= _STARTING and not failing else PROGRESS_DELAY
    if status["phase"] != "Running" or READY_ANNOTATION not in (metadata.get("annotations") or {}):
        return 0.0
    ends = [state.get("terminated") for name, state in states.items() if is_step(name)]
    if all(ends) or any(end and end.get("exitCode") for end in ends):
        return 0.0
    return PROGRESS_DELAY


def pod_fingerprint(pod: Object) -> int:
    """Return a number that changes with all that a reconciliation reads of a pod, and with nothing else.

    The kubelet writes addresses and the like in events of their own. And the ready annotation comes back to
    the reconciler that wrote it, which has requeued the TaskRun already.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    annotations = metadata.get("annotations") or {}
    read = (
        metadata.get("uid"),
        metadata.get("deletionTimestamp"),
        {
            key: value
            for key, value in annotations.items()
            if key not in (READY_ANNOTATION, RELEASED_ANNOTATION)
        },
        *(status.get(field) for field in _STATUS_FIELDS),
    )
    return hash(marshal.dumps(read))
