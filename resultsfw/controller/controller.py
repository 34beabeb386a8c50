"""From changes of TaskRuns and Pods to looks of the reconciler."""

import logging
import marshal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Protocol

from resultsfw.cluster import UNREADABLE, Object
from resultsfw.controller.failures import stalls_of
from resultsfw.controller.metrics import Metrics, backend_of
from resultsfw.controller.unreadable import defect_of, managed_by, stub
from resultsfw.controller.workers import Key, Workers
from resultsfw.operations.logs import about
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import (
    READY_ANNOTATION,
    RELEASED_ANNOTATION,
    RESULTS_LEFT_OUT,
    TASKRUNS,
    is_step,
)
from resultsfw.tekton.taskrun.finalizers import is_held

__all__ = ["POD_SELECTOR", "Cache", "Controller", "pause_of", "sight_of", "slim_pod", "slim_taskrun"]

log = logging.getLogger(__name__)

POD_SELECTOR: Final = "tekton.dev/taskRun"
"""Pods that have this label are followed; every other pod of the cluster stays out of memory."""

PENDING_PAUSE: Final = 10.0
"""Seconds in which the changes of a pod that is being started are gathered: nothing waits for us there."""

PROGRESS_PAUSE: Final = 2.0
"""Seconds in which a running pod's changes are gathered that only a person who looks on waits for."""

_STARTING: Final = frozenset({"ContainerCreating", "PodInitializing"})
"""What the kubelet says a container waits for while all is well."""

_READ_OF_STATUS: Final = (
    "phase",
    "reason",
    "message",
    "conditions",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
)

_NAMES: Final = ("name", "namespace", "uid", "resourceVersion", "labels", "ownerReferences")


class Cache(Protocol):
    """What was last seen of a kind."""

    def holds(self, namespace: str, name: str, /) -> bool:
        """Whether an object was seen, and not its end."""
        ...


class Known(NamedTuple):
    """What is kept of every run, unpacked: enough to know whose it is and whether it is over.

    ``defect`` is why no reconciler can work on it.
    """

    mine: bool
    done: bool
    pod: str
    backend: str
    leaving: bool
    defect: str = ""


class Controller(Workers):
    """The TaskRuns.

    Args:
        metrics: Counts the looks.
        managed_by: Whose runs are taken (``spec.managedBy``); "": all.
        threads: Workers.

    Attributes:
        pods: What was last seen of them; to be set before `work`.
        keeps_results: Whether a run that is over, whole, is to be kept with its results.
    """

    def __init__(self, metrics: Metrics, *, managed_by: str, threads: int) -> None:
        super().__init__("worker", threads)
        self._metrics = metrics
        self._managed_by = managed_by
        self._known: dict[Key, Known] = {}
        self._sights: dict[Key, int] = {}
        self.pods: Cache
        self.keeps_results: Callable[[Object], bool] = lambda _: False
        metrics.watch_depth(lambda: len(self.queue))

    def on_taskrun(self, change: str, obj: Object) -> None:
        """A TaskRun was seen."""
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        if change == "DELETED":
            self._known.pop(key, None)
            self._sights.pop(key, None)
            self.queue.discard(key)
            return
        pod = (obj.get("status") or {}).get("podName") or ""
        defect = str(obj.get(UNREADABLE) or "")
        known = Known(self.is_mine(obj), is_done(obj), pod, backend_of(obj), is_held(obj), defect)
        self._known[key] = known
        if known.mine:
            stalled = not known.done and stalls_of(obj) > 0
            self.news(key, metadata.get("resourceVersion", ""), stalled=stalled)

    def on_pod(self, change: str, obj: Object) -> None:
        """A Pod was seen, or seen to be gone: its run is to be looked at."""
        key = owner_of(obj)
        # A run that is not known yet comes by its own watch.
        if key is None or (known := self._known.get(key)) is None or not known.mine:
            return
        if change == "DELETED":
            self._sights.pop(key, None)
            self.queue.add(key)
            return
        sight = sight_of(obj)
        if self._sights.get(key) != sight:
            self._sights[key] = sight
            self.queue.add_after(key, pause_of(obj))

    def is_mine(self, taskrun: Object) -> bool:
        """Whether this controller takes the run."""
        return not self._managed_by or managed_by(taskrun) == self._managed_by

    def slim_pod(self, pod: Object) -> Object:
        """A Pod as it is kept: of another controller's run, only whose it is."""
        key = owner_of(pod)
        known = None if key is None else self._known.get(key)
        if known is None or known.mine:
            return slim_pod(pod)
        return {"metadata": {name: pod["metadata"][name] for name in _NAMES if name in pod["metadata"]}}

    def slim_taskrun(self, taskrun: Object) -> Object:
        """A TaskRun as it is kept: of another controller's, only that it is there."""
        if self.is_mine(taskrun):
            if defect := defect_of(taskrun):
                return stub(taskrun, defect)
            return slim_taskrun(taskrun, results=self.keeps_results(taskrun))
        metadata = {name: taskrun["metadata"][name] for name in _NAMES if name in taskrun["metadata"]}
        return {"metadata": metadata, "spec": {"managedBy": managed_by(taskrun)}, **_mark(taskrun)}

    def wants(self, key: Key) -> bool:
        """Whether a run is ours, and not over with all that was its."""
        known = self._known.get(key)
        return known is not None and known.mine and not self._is_over(key, known)

    def exists(self, key: Key) -> bool:
        """Whether a run was seen, and not its end."""
        return key in self._known

    def defect(self, key: Key) -> str:
        """Why no reconciler can work on a run; to clean up after one that is over needs no spec."""
        known = self._known.get(key)
        return "" if known is None or known.done or known.leaving else known.defect

    @contextmanager
    def told(self, key: Key) -> Iterator[None]:
        """Pod and backend as they were last seen, and how long the look took."""
        known = self._known.get(key)
        fields = {"pod": known.pod, "backend": known.backend} if known else {}
        began = time.perf_counter()
        with about(run="/".join(key), **fields):
            yield
            log.debug("reconciled in %.1f ms", (time.perf_counter() - began) * 1000)

    def name(self, key: Key) -> str:
        """As the log calls the run."""
        known = self._known.get(key)
        return f"TaskRun {key[0]}/{key[1]} (backend {known.backend if known else 'none'})"

    def looked(self, result: str) -> None:
        """Count the look."""
        self._metrics.reconciles.labels(result).inc()
        if result in ("retry", "failed", "bug"):
            self._metrics.retries.inc()

    def _is_over(self, key: Key, known: Known) -> bool:
        """Whether nothing is left to do for a run, not even to clean up: its pod is gone, too."""
        return known.done and not known.leaving and (not known.pod or not self.pods.holds(key[0], known.pod))


def pause_of(pod: Object) -> float:
    """Seconds in which more changes of this pod may come before its run is looked at.

    A pod's start and every Step's end are written to the run's status; what the run waits for, and what
    ends it, is looked at at once: the first Step's release, a fault, the last Step's end.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    if "deletionTimestamp" in metadata:
        return 0.0
    states = {one["name"]: one.get("state") or {} for one in status.get("containerStatuses") or ()}
    if status.get("phase", "Pending") == "Pending":
        everyone = [
            *states.values(),
            *(one.get("state") or {} for one in status.get("initContainerStatuses") or ()),
        ]
        waiting = {one["waiting"].get("reason") for one in everyone if "waiting" in one}
        failing = any("terminated" in one and one["terminated"].get("exitCode") for one in everyone)
        return PENDING_PAUSE if waiting <= _STARTING and not failing else PROGRESS_PAUSE
    if status["phase"] != "Running" or READY_ANNOTATION not in (metadata.get("annotations") or {}):
        return 0.0
    ends = [one.get("terminated") for name, one in states.items() if is_step(name)]
    if all(ends) or any(end and end.get("exitCode") for end in ends):
        return 0.0
    return PROGRESS_PAUSE


def sight_of(pod: Object) -> int:
    """A number that changes with all that a look at a run reads of its pod, and not with the rest of it.

    Addresses and the like come in changes of their own; and the release of the first Step comes back to
    who wrote it, and who will look again by itself.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    own = metadata.get("annotations") or {}
    read = (
        metadata.get("uid"),
        metadata.get("deletionTimestamp"),
        {key: value for key, value in own.items() if key not in (READY_ANNOTATION, RELEASED_ANNOTATION)},
        *(status.get(key) for key in _READ_OF_STATUS),
    )
    return hash(marshal.dumps(read))


def owner_of(pod: Object) -> Key | None:
    """The run a Pod belongs to: by its owner reference, or by its label where it has none."""
    metadata = pod["metadata"]
    for one in metadata.get("ownerReferences") or ():
        if one.get("kind") == TASKRUNS.kind and str(one.get("apiVersion", "")).startswith("tekton.dev/"):
            return metadata.get("namespace", ""), one["name"]
    name = (metadata.get("labels") or {}).get(POD_SELECTOR)
    return (metadata.get("namespace", ""), name) if name else None


def _mark(run: Object) -> Object:
    """That another controller's run could not be decoded is still to be seen in the log and the metrics."""
    return {UNREADABLE: run[UNREADABLE]} if isinstance(run.get(UNREADABLE), str) else {}


def slim_pod(pod: Object) -> Object:
    """A Pod without what no look reads: ``managedFields`` and the text of its scripts."""
    metadata = {key: value for key, value in pod["metadata"].items() if key != "managedFields"}
    spec = dict(pod.get("spec") or {})
    if "initContainers" in spec:
        spec["initContainers"] = [
            {key: value for key, value in one.items() if key != "args" or one.get("name") != "place-scripts"}
            for one in spec["initContainers"]
        ]
    return {**pod, "metadata": metadata, "spec": spec}


def slim_taskrun(taskrun: Object, *, results: bool = False) -> Object:
    """A TaskRun without ``managedFields``; one that is over, without what only its readers want.

    Args:
        taskrun: Whole, or slim already.
        results: Keep the results of one that is over. Without them it is marked (`RESULTS_LEFT_OUT`).
    """
    metadata = {key: value for key, value in taskrun["metadata"].items() if key != "managedFields"}
    if not is_done(taskrun):
        return {**taskrun, "metadata": metadata}
    # Of the provenance, which backend the run was read by: it may have to remove what it keeps.
    wanted = ["conditions", "podName", "taskSpec", "provenance", *(["results"] if results else [])]
    status = {key: value for key, value in taskrun["status"].items() if key in wanted}
    if tried := taskrun["status"].get("retriesStatus"):
        # By which backend, for what that left is still to be purged.
        status["retriesStatus"] = [
            {"provenance": one["provenance"]} if "provenance" in one else {} for one in tried
        ]
    # Scripts are what makes a Task large; a run that is over is asked only for what it declares.
    spec = dict(status.get("taskSpec") or {})
    if "steps" in spec:
        keep = ("name", "results")
        spec["steps"] = [{key: step[key] for key in keep if key in step} for step in spec["steps"] or ()]
        status["taskSpec"] = spec
    wanted = ["managedBy", "status", "statusMessage", "retries"]
    given = {key: value for key, value in taskrun["spec"].items() if key in wanted}
    slim = {**taskrun, "metadata": metadata, "spec": given, "status": status}
    if taskrun["status"].get("results") and not results:
        slim[RESULTS_LEFT_OUT] = True
    return slim
