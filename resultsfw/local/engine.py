"""The local engine: connects store, kubelet and reconcilers as the controller and a node are connected."""

import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from resultsfw.cluster import PODS, Cluster, Kind, Object
from resultsfw.errors import ClusterError, NotFoundError
from resultsfw.local.admission import admit
from resultsfw.local.kubelet import MAX_PODS, Kubelet
from resultsfw.local.resolvers import Resolvers
from resultsfw.local.store import Store
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import PIPELINERUNS, RESOLUTION_REQUESTS, TASKRUNS
from resultsfw.workqueue import WorkQueue

__all__ = ["Engine", "Reconciler", "kind_of"]

_LOG = logging.getLogger(__name__)

_Key = tuple[Kind, str, str]
"""Kind, namespace and name of a run."""


class Reconciler(Protocol):
    """Reconciles the runs of one kind."""

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Reconcile one run.

        Returns:
            Seconds after which to reconcile it again; ``None``: only after a change.

        Raises:
            ClusterError: It failed; if ``retryable``, it is tried again.
        """
        ...


def work_queue() -> WorkQueue[_Key]:
    """Return the engine's queue: without a rate limit, as there is no server to protect."""
    return WorkQueue(max_delay=5.0, jitter=0.0, rate=0.0)


def kind_of(obj: Object) -> Kind:
    """Return the kind of an object, with the plural that Kubernetes would use."""
    group, _, version = obj["apiVersion"].rpartition("/")
    kind = obj["kind"]
    plural = f"{kind.lower()}es" if kind.endswith("s") else f"{kind.lower()}s"
    return Kind(group, version, plural, kind)


class Engine:
    """Runs TaskRuns and PipelineRuns on this machine. A context manager: leaving it stops every process.

    Args:
        reconciler_factory: Creates the reconciler of TaskRuns for the engine's store.
        workdir: Folder for the Pods' folders; ``None``: a temporary folder.
        keep: Keep the folders at the end.
        on_event: Called with ``ADDED``, ``MODIFIED`` or ``DELETED`` and the object for every change of
            PipelineRuns, TaskRuns and Pods, in order, on a thread of the engine. An exception ends
            `run_until_done`.
        notice: Called once with a notice for people: images are not pulled.
        pass_budget: See `Kubelet`.
        max_pods: How many Pods run at once; others wait.
        pipelines: Creates the reconciler of PipelineRuns; ``None``: PipelineRuns are not reconciled.
        resolvers: Resolvers that may fetch from elsewhere: ``git``, ``http``.
        claims: See `Kubelet`.
        claim_folders: See `Kubelet`.

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
        pass_budget: bool = True,
        max_pods: int = MAX_PODS,
        pipelines: Callable[[Cluster], Reconciler] | None = None,
        resolvers: Collection[str] = (),
        claims: Path | None = None,
        claim_folders: Mapping[tuple[str, str], Path] | None = None,
    ) -> None:
        self.store = Store(admit)
        self._reconcilers = {TASKRUNS: reconciler_factory(self.store)}
        if pipelines is not None:
            self._reconcilers[PIPELINERUNS] = pipelines(self.store)
        self._on_event = on_event
        self._queue: WorkQueue[_Key] = work_queue()
        self._submitted: list[_Key] = []
        self._finished: dict[_Key, Object] = {}
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._stopped = False
        self._resolvers = Resolvers(self.store, resolvers)
        self._watch = self.store.watch(PIPELINERUNS, TASKRUNS, PODS, RESOLUTION_REQUESTS)
        self.kubelet = Kubelet(
            self.store,
            workdir=workdir,
            keep=keep,
            pass_budget=pass_budget,
            notice=notice,
            max_pods=max_pods,
            claims=claims,
            claim_folders=claim_folders,
        )
        self._threads = [
            threading.Thread(target=self._follow, name="resultsfw-engine-watch", daemon=True),
            threading.Thread(target=self._work, name="resultsfw-engine", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def workdir(self) -> Path:
        """Return the folder of the Pods' folders."""
        return self.kubelet.workdir

    def submit(self, obj: Object) -> Object:
        """Create an object; a TaskRun or PipelineRun starts to run.

        Raises:
            AlreadyExistsError: An object of that name exists.
            ObjectTooLargeError: It is over 1.5 MiB.
            ClusterError: It has no name.
        """
        kind = kind_of(obj)
        created = self.store.create(kind, obj)
        if kind in self._reconcilers:
            with self._changed:
                self._submitted.append((kind, created["metadata"]["namespace"], created["metadata"]["name"]))
        return created

    def run_until_done(self, timeout: float | None = None) -> list[Object]:
        """Wait until every submitted run is done, and return the runs.

        Args:
            timeout: Most seconds to wait.

        Raises:
            TimeoutError: A run is not done in that time.
            ClusterError: A reconciler failed with an error that is not retryable.
            Exception: An exception of ``on_event`` or a reconciler.
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
                    raise TimeoutError(f"the engine was stopped before {_describe_keys(left)}")
                pause = None if until is None else until - time.monotonic()
                if pause is not None and pause <= 0:
                    raise TimeoutError(f"after {timeout:g} s not done: {_describe_keys(left)}")
                self._changed.wait(pause)

    def stop(self, grace_seconds: float = 2.0) -> None:
        """Stop every process and remove the folders unless they are kept. A second call does nothing."""
        with self._changed:
            if self._stopped:
                return
            self._stopped = True
            self._changed.notify_all()
        self._queue.shut_down()
        self._resolvers.stop()
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
        """Map watch events to reconcile requests of the run and its owners."""
        kinds = {kind.kind: kind for kind in self._reconcilers}
        for change, obj in self._watch:
            if (kind := kinds.get(obj["kind"])) is not None:
                self._on_run_event(change, kind, obj)
            for owner, name in _owners(obj, kinds):
                self._queue.add((owner, obj["metadata"]["namespace"], name))
            if obj["kind"] == RESOLUTION_REQUESTS.kind:
                if change == "ADDED":
                    self._resolvers.submit(obj)
            elif self._on_event is not None:
                try:
                    self._on_event(change, obj)
                except BaseException as error:  # noqa: BLE001 - raised again in run_until_done
                    self._fail(error)
                    self._on_event = None

    def _on_run_event(self, change: str, kind: Kind, run: Object) -> None:
        key = (kind, run["metadata"]["namespace"], run["metadata"]["name"])
        if change != "DELETED":
            self._queue.add(key)
        if change == "DELETED" or is_done(run):
            with self._changed:
                self._finished[key] = run
                self._changed.notify_all()

    def _work(self) -> None:
        while (key := self._queue.get()) is not None:
            try:
                kind, namespace, name = key
                requeue_after = self._reconcilers[kind].reconcile(namespace, name)
            except ClusterError as error:
                not_found = isinstance(error, NotFoundError)
                if not_found and not self._exists(key):
                    _LOG.debug("%s was deleted", _describe_key(key))
                elif not_found or error.retryable:
                    pause = self._queue.add_rate_limited(key)
                    _LOG.debug("%s: %s; again in %.3f s", _describe_key(key), error, pause)
                else:
                    self._fail(error)
            except BaseException as error:  # noqa: BLE001 - raised again in run_until_done
                self._fail(error)
            else:
                self._queue.forget(key)
                if requeue_after is not None:
                    self._queue.add_after(key, requeue_after)
            finally:
                self._queue.done(key)

    def _exists(self, key: _Key) -> bool:
        try:
            self.store.get(*key)
        except NotFoundError:
            return False
        return True

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()


def _owners(obj: Object, kinds: Mapping[str, Kind]) -> Iterator[tuple[Kind, str]]:
    """Yield the owners of an object that are runs: a Pod's TaskRun, a TaskRun's PipelineRun."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if (kind := kinds.get(owner.get("kind", ""))) is not None:
            yield kind, owner["name"]


def _describe_keys(keys: list[_Key]) -> str:
    return ", ".join(_describe_key(key) for key in keys)


def _describe_key(key: _Key) -> str:
    kind, namespace, name = key
    return f"{kind.kind} {namespace}/{name}"
