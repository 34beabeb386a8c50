"""The engine with no cluster: store, kubelet and a reconciler, wired as controller and nodes are."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from resultsfw.cluster import PODS, Cluster, Kind, Object
from resultsfw.errors import ClusterError, NotFoundError
from resultsfw.local.kubelet import MAX_PODS, Kubelet
from resultsfw.local.store import Store
from resultsfw.tekton.kinds import TASKRUNS
from resultsfw.tekton.workqueue import WorkQueue

__all__ = ["Engine", "Reconciler", "kind_of"]

_LOG = logging.getLogger(__name__)

_Key = tuple[str, str]


class Reconciler(Protocol):
    """What brings TaskRuns forward."""

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Look at one TaskRun and do what is to be done now.

        Returns:
            Seconds after which it wants to look again; ``None``: only when something changes.

        Raises:
            ClusterError: It failed; when ``retryable``, it is tried again.
        """
        ...


def work_queue() -> WorkQueue[_Key]:
    """The engine's queue: it has no server to spare, and a person waits."""
    return WorkQueue(longest_pause=5.0, jitter=0.0, rate=0.0)


def kind_of(obj: Object) -> Kind:
    """The kind of an object as its manifest names it."""
    group, _, version = obj["apiVersion"].rpartition("/")
    kind = obj["kind"]
    plural = f"{kind.lower()}es" if kind.endswith("s") else f"{kind.lower()}s"
    return Kind(group, version, plural, kind)


class Engine:
    """Runs TaskRuns on this machine. A context manager: leaving it ends every process.

    Args:
        reconciler_factory: Makes the reconciler over the engine's store.
        workdir: Where Pods get their folders; without, a temporary folder.
        keep: Leave the folders when all has ended.
        on_event: Called with ``ADDED``, ``MODIFIED`` or ``DELETED`` and the object, for every change of
            TaskRuns and Pods, in order, on a thread of the engine's. What it raises ends `run_until_done`.
        notice: Called once with what a person should know (that images are not pulled).
        tell_budget: See `Kubelet`.
        max_pods: How many Pods run at once; others wait.

    Attributes:
        store: The objects.
        kubelet: Runs the Pods.
    """

    def __init__(
        self,
        reconciler_factory: Callable[[Cluster], Reconciler],
        workdir: Path | None = None,
        keep: bool = False,
        on_event: Callable[[str, Object], None] | None = None,
        *,
        notice: Callable[[str], None] | None = None,
        tell_budget: bool = True,
        max_pods: int = MAX_PODS,
    ) -> None:
        self.store = Store()
        self._reconciler = reconciler_factory(self.store)
        self._on_event = on_event
        self._queue: WorkQueue[_Key] = work_queue()
        self._submitted: list[_Key] = []
        self._finished: dict[_Key, Object] = {}
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._stopped = False
        self._watch = self.store.watch(TASKRUNS, PODS)
        self.kubelet = Kubelet(
            self.store, workdir=workdir, keep=keep, tell_budget=tell_budget, notice=notice, max_pods=max_pods
        )
        self._threads = [
            threading.Thread(target=self._follow, name="resultsfw-engine-watch", daemon=True),
            threading.Thread(target=self._work, name="resultsfw-engine", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def workdir(self) -> Path:
        """Where Pods have their folders."""
        return self.kubelet.workdir

    def submit(self, obj: Object) -> Object:
        """Create an object; a TaskRun begins to run.

        Raises:
            AlreadyExistsError: One of that name is there.
            ObjectTooLargeError: It is over 1.5 MiB.
            ClusterError: It has no name.
        """
        kind = kind_of(obj)
        created = self.store.create(kind, obj)
        if kind == TASKRUNS:
            with self._changed:
                self._submitted.append((created["metadata"]["namespace"], created["metadata"]["name"]))
        return created

    def run_until_done(self, timeout: float | None = None) -> list[Object]:
        """Wait until every submitted TaskRun is done, and return them as they then are.

        Args:
            timeout: Seconds to wait at most.

        Raises:
            TimeoutError: They are not done by then.
            ClusterError: The reconciler failed in a way that no second try can mend.
            Exception: Whatever ``on_event`` or the reconciler raised by mistake.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while True:
                if self._failure is not None:
                    raise self._failure
                left = [key for key in self._submitted if key not in self._finished]
                if not left:
                    return [self._finished[key] for key in self._submitted]
                if self._stopped:
                    raise TimeoutError(f"the engine was stopped before {_named(left)}")
                pause = None if until is None else until - time.monotonic()
                if pause is not None and pause <= 0:
                    raise TimeoutError(f"after {timeout:g} s not done: {_named(left)}")
                self._changed.wait(pause)

    def stop(self, grace_seconds: float = 2.0) -> None:
        """End every process, remove the folders unless they are to be kept. A second call does nothing."""
        with self._changed:
            if self._stopped:
                return
            self._stopped = True
            self._changed.notify_all()
        self._queue.close()
        try:
            self.kubelet.stop(grace_seconds)
        finally:
            self._watch.close()
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _follow(self) -> None:
        """See every change; a TaskRun's, and that of a Pod's owner, is work."""
        for change, obj in self._watch:
            if obj["kind"] == TASKRUNS.kind:
                self._seen(change, obj)
            elif owner := _owner(obj):
                self._queue.add((obj["metadata"]["namespace"], owner))
            if self._on_event is not None:
                try:
                    self._on_event(change, obj)
                except BaseException as error:  # noqa: BLE001 - raised again where the caller waits
                    self._fail(error)
                    self._on_event = None

    def _seen(self, change: str, taskrun: Object) -> None:
        key = (taskrun["metadata"]["namespace"], taskrun["metadata"]["name"])
        if change != "DELETED":
            self._queue.add(key)
        if change == "DELETED" or _is_done(taskrun):
            with self._changed:
                self._finished[key] = taskrun
                self._changed.notify_all()

    def _work(self) -> None:
        while (key := self._queue.get()) is not None:
            try:
                again = self._reconciler.reconcile(*key)
            except ClusterError as error:
                gone = isinstance(error, NotFoundError)
                if gone and not self._exists(key):
                    _LOG.debug("TaskRun %s/%s is gone", *key)
                elif gone or error.retryable:
                    pause = self._queue.retry(key)
                    _LOG.debug("TaskRun %s/%s: %s; again in %.3f s", *key, error, pause)
                else:
                    self._fail(error)
            except BaseException as error:  # noqa: BLE001 - raised again where the caller waits
                self._fail(error)
            else:
                self._queue.forget(key)
                if again is not None:
                    self._queue.add_after(key, again)
            finally:
                self._queue.done(key)

    def _exists(self, key: _Key) -> bool:
        try:
            self.store.get(TASKRUNS, *key)
        except NotFoundError:
            return False
        return True

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()


def _owner(pod: Object) -> str | None:
    """The TaskRun a Pod belongs to."""
    for owner in pod["metadata"].get("ownerReferences") or ():
        if owner.get("kind") == TASKRUNS.kind:
            name: str = owner["name"]
            return name
    return None


def _is_done(taskrun: Object) -> bool:
    conditions = (taskrun.get("status") or {}).get("conditions") or ()
    return any(
        one.get("type") == "Succeeded" and one.get("status") in ("True", "False") for one in conditions
    )


def _named(keys: list[_Key]) -> str:
    return ", ".join(f"TaskRun {namespace}/{name}" for namespace, name in keys)
