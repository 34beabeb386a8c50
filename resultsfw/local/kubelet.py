"""Runs the store's Pods as processes of this machine and reports their status, as a kubelet does.

It does not pull images, isolate processes (a Step sees this machine's files, network and processes), limit
memory or CPU, make liveness probes, run lifecycle hooks or rotate logs. Of all containers it restarts only
native sidecars.
"""

import contextlib
import logging
import platform
import queue
import re
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from resultsfw.cluster import PODS, Object
from resultsfw.errors import ClusterError, InputError
from resultsfw.local import shim
from resultsfw.local.apiserver import ApiServer
from resultsfw.local.claims import ClaimFolders
from resultsfw.local.container_paths import with_real_paths
from resultsfw.local.container_runtime import ContainerRuntime
from resultsfw.local.pod_status import NODE
from resultsfw.local.pod_worker import PodWorker
from resultsfw.local.store import Store
from resultsfw.local.tokens import wants_api

__all__ = ["MAX_PODS", "Kubelet"]

_LOG = logging.getLogger(__name__)
_SAFE: Final = re.compile(r"[A-Za-z0-9_./-]+")
MAX_PODS: Final = 16
"""Default limit of Pods that run at once. Each has three or four processes of 10 MB besides its Steps."""

_NO_IMAGES: Final = (
    "images are not pulled: Steps run as processes of this machine, with the programs it has "
    "(the first one: {image})"
)

_CLAIMS: Final = "CLAIMS"
"""Name of the folder of all PersistentVolumeClaims, beside those of namespaces, which have lower case."""


class Kubelet:
    """The kubelet of the only node, which is this machine.

    Args:
        store: Where Pods are read and statuses are written.
        workdir: Folder for the Pods' folders, created if missing; ``None``: a temporary folder.
        keep: Keep the folders at the end.
        pass_budget: Pass the entrypoint the bytes that arrive of its message, so that it refuses larger
            results by name. Otherwise messages are cut, as on a cluster with Tekton's entrypoint.
        notice: Called once with a notice for people.
        max_pods: How many Pods run at once; others wait, as on a full node.
        claims: Folder of PersistentVolumeClaims, ``NAMESPACE/NAME``, which is kept; ``None``: a temporary
            folder.
        claim_folders: Folders of a person's own that stand in for claims, by namespace and name.

    Raises:
        InputError: The platform is not Linux.
        OSError: The folder cannot be created, or the shim cannot be started.

    Attributes:
        workdir: Folder of the Pods' folders.
    """

    def __init__(
        self,
        store: Store,
        *,
        workdir: Path | None = None,
        keep: bool = False,
        pass_budget: bool = True,
        notice: Callable[[str], None] | None = None,
        max_pods: int = MAX_PODS,
        claims: Path | None = None,
        claim_folders: Mapping[tuple[str, str], Path] | None = None,
    ) -> None:
        if platform.system() != "Linux":
            raise InputError(
                f"the local engine needs Linux, and this is {platform.system()}; use a Linux container",
                subject="platform",
            )
        self._store = store
        self._max_pods = max_pods
        self._waiting: dict[str, Object] = {}
        self._keep = keep
        self._pass_budget = pass_budget
        self._notice = notice
        is_temporary = workdir is None
        self._given = Path(tempfile.mkdtemp(prefix="resultsfw-")) if workdir is None else workdir.absolute()
        self._given.mkdir(parents=True, exist_ok=True)
        self.workdir = self._given
        self._workers: dict[str, PodWorker] = {}
        self._names: dict[str, str] = {}
        self._refused: set[str] = set()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # Everything of this kubelet is in one folder that is removed as a whole: a given folder may contain
        # other things.
        self._base = self._given if is_temporary else Path(tempfile.mkdtemp(prefix="pods-", dir=self._given))
        folders = [] if keep else [self._base]
        if not _SAFE.fullmatch(str(self._base)):
            self._base = _link_without_special_characters(self._base)
            folders.append(self._base.parent)
        all_claims = self._base / _CLAIMS if claims is None else claims.absolute()
        self._claims = ClaimFolders(all_claims, claim_folders or {})
        self._runtime = ContainerRuntime(folders, self._inbox.put)
        self._apiserver = ApiServer(store)
        self._watch = store.watch(PODS)
        self._threads = [
            threading.Thread(target=self._follow, name="resultsfw-kubelet-watch", daemon=True),
            threading.Thread(target=self._loop, name="resultsfw-kubelet", daemon=True),
        ]
        self._stopping: float | None = None
        for thread in self._threads:
            thread.start()

    def stop(self, grace_seconds: float = 2.0) -> None:
        """Stop every process: SIGTERM, after the grace period SIGKILL. Remove the folders unless kept."""
        self._watch.close()
        self._inbox.put(grace_seconds)
        for thread in self._threads:
            thread.join()
        self._runtime.close()
        self._apiserver.close()

    def container_paths(self, namespace: str, pod: str, container: str) -> dict[str, str]:
        """Return the path in a container that each folder of this machine stands in for, by folder.

        Empty for a pod that was deleted.
        """
        for worker in list(self._workers.values()):
            metadata = worker.pod["metadata"]
            if (metadata["namespace"], metadata["name"]) == (namespace, pod):
                return with_real_paths(worker.folder.container_paths(container))
        return {}

    def _follow(self) -> None:
        for event in self._watch:
            self._inbox.put(event)

    def _loop(self) -> None:
        while True:
            due = [at for worker in self._workers.values() if (at := worker.due()) is not None]
            if self._stopping is not None:
                if all(worker.has_stopped for worker in self._workers.values()):
                    return
                due.append(self._stopping)
            touched = self._take(min(due, default=None))
            at = time.monotonic()
            for worker in self._workers.values():
                if (due_at := worker.due()) is not None and due_at <= at:
                    worker.tick(at)
                    touched.add(worker.uid)
            while touched:
                for uid in touched:
                    if uid in self._workers:
                        self._sync(self._workers[uid])
                touched = self._admit_waiting()
            if self._stopping is not None and self._stopping <= at:
                return  # the shim kills what still runs

    def _take(self, until: float | None) -> set[str]:
        """Wait for an event, then handle all that have arrived; return the uids of their pods."""
        touched: set[str] = set()
        try:
            timeout = None if until is None else max(until - time.monotonic(), 0.0)
            item = self._inbox.get(timeout=timeout)
            while True:
                touched |= self._handle(item)
                item = self._inbox.get_nowait()
        except queue.Empty:
            return touched

    def _handle(self, item: Any) -> set[str]:
        if isinstance(item, float | int):
            self._stopping = time.monotonic() + item + 1.0
            self._waiting.clear()
            for worker in self._workers.values():
                worker.terminate(float(item))
            return set(self._workers)
        if isinstance(item, dict):
            return self._on_runtime_event(item)
        change, pod = item
        try:
            return self._on_pod_event(change, pod)
        except Exception as error:  # noqa: BLE001 - logged, and reported in the pod's status
            self._refuse(pod, error)
            return set()

    def _refuse(self, pod: Object, error: Exception) -> None:
        """Fail a pod that cannot be handled."""
        metadata = pod["metadata"]
        _LOG.warning("pod %s/%s is refused", metadata["namespace"], metadata["name"], exc_info=error)
        self._workers.pop(metadata["uid"], None)
        self._refused.add(metadata["uid"])
        message = f"{type(error).__name__}: {error}"
        status = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": message}
        with contextlib.suppress(ClusterError):
            self._store.patch(
                PODS, metadata["namespace"], metadata["name"], {"status": status}, subresource="status"
            )

    def _on_runtime_event(self, event: dict[str, Any]) -> set[str]:
        """Handle an event of the shim or a probe; an empty event says that the shim is gone."""
        if not event:
            for worker in self._workers.values():
                worker.on_runtime_lost("the shim, which is the parent of all containers, was killed")
            return set(self._workers)
        name = next((event[key] for key in ("started", "failed", "ended", "probed") if key in event), "")
        pod_worker = self._workers.get(self._names.get(name, ""))
        if pod_worker is None:
            return set()
        if "probed" in event:
            pod_worker.on_probed(name, ok=event["ok"])
        elif "started" in event:
            pod_worker.on_started(name)
        elif "failed" in event:
            pod_worker.on_start_failed(name, event["why"])
        else:
            pod_worker.on_ended(name, event["status"])
        return {pod_worker.uid}

    def _on_pod_event(self, change: str, pod: Object) -> set[str]:
        """Handle a watch event of a Pod; return the uids of the pods that changed."""
        metadata = pod["metadata"]
        uid: str = metadata["uid"]
        worker = self._workers.get(uid)
        self._waiting.pop(uid, None)
        if change == "DELETED":
            if worker is not None:
                worker.gone = True
                worker.terminate(0)
        elif worker is not None:
            worker.update(pod)
        elif not (metadata.get("deletionTimestamp") or uid in self._refused or self._stopping is not None):
            if self._full:
                self._waiting[uid] = pod
                self._mark_unschedulable(pod)
            else:
                self._admit(pod)
        return {uid}

    @property
    def _full(self) -> bool:
        return sum(not worker.idle for worker in self._workers.values()) >= self._max_pods

    def _mark_unschedulable(self, pod: Object) -> None:
        """Write the condition a scheduler writes on a full node."""
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": f"{self._max_pods} Pods run on this machine at once",
        }
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [condition]}}
        with contextlib.suppress(ClusterError):
            self._store.patch(PODS, metadata["namespace"], metadata["name"], patch, subresource="status")

    def _admit_waiting(self) -> set[str]:
        """Admit waiting Pods as far as the node has capacity; return their uids."""
        admitted: set[str] = set()
        while self._waiting and not self._full:
            uid = next(iter(self._waiting))
            pod = self._waiting.pop(uid)
            try:
                self._admit(pod)
            except Exception as error:  # noqa: BLE001 - logged, and reported in the pod's status
                self._refuse(pod, error)
            admitted.add(uid)
        return admitted

    def _admit(self, pod: Object) -> None:
        metadata = pod["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        if self._notice is not None:
            containers = pod["spec"]["containers"]
            image = next((container["image"] for container in containers if container.get("image")), "none")
            self._notice(_NO_IMAGES.format(image=image))
            self._notice = None
        worker = PodWorker(
            pod,
            self._base / namespace / f"{name}-{metadata['uid'][:8]}",
            self._store,
            self._runtime,
            lambda container, path: self._store.register_log(namespace, name, container, path),
            pass_budget=self._pass_budget,
            claims=self._claims,
            services=self._apiserver.variables() if wants_api(pod) else None,
            on_probe=self._inbox.put,
        )
        self._workers[worker.uid] = worker
        try:
            self._store.patch(
                PODS, namespace, name, {"metadata": {"uid": worker.uid}, "spec": {"nodeName": NODE}}
            )
        except ClusterError:
            _LOG.debug("pod %s/%s was deleted before it was admitted", namespace, name)
        self._report(worker)
        worker.mount()

    def _sync(self, worker: PodWorker) -> None:
        """Bring a pod forward, report its status, and confirm its deletion when it has stopped."""
        try:
            worker.advance()
        except Exception as error:  # noqa: BLE001 - logged, and reported in the pod's status
            # A pod that cannot be handled must neither stop the others nor hang.
            metadata = worker.pod["metadata"]
            _LOG.exception("pod %s/%s", metadata["namespace"], metadata["name"])
            worker.fail("KubeletError", f"{type(error).__name__}: {error}")
        for name in worker.names:
            self._names[name] = worker.uid
        self._report(worker)
        if worker.deleted and worker.has_stopped:
            self._confirm_deletion(worker)

    def _report(self, worker: PodWorker) -> None:
        """Write the status of a pod if it changed."""
        if worker.gone:
            return
        status = worker.status()
        if status == worker.reported:
            return
        metadata = worker.pod["metadata"]
        patch = {"metadata": {"uid": worker.uid}, "status": status}
        try:
            self._store.patch(PODS, metadata["namespace"], metadata["name"], patch, subresource="status")
        except ClusterError as error:
            _LOG.debug("status of pod %s/%s: %s", metadata["namespace"], metadata["name"], error)
        worker.reported = status

    def _confirm_deletion(self, worker: PodWorker) -> None:
        """Delete a pod that has stopped from the store; once it is gone there, remove its folder."""
        metadata = worker.pod["metadata"]
        if not worker.gone:
            try:
                self._store.delete(
                    PODS, metadata["namespace"], metadata["name"], grace_seconds=0, uid=worker.uid
                )
            except ClusterError as error:
                _LOG.debug("deleting pod %s/%s: %s", metadata["namespace"], metadata["name"], error)
            return  # its DELETED event arrives when it has no finalizers
        del self._workers[worker.uid]
        self._names = {name: uid for name, uid in self._names.items() if uid != worker.uid}
        if not self._keep:
            shim.remove(str(worker.folder.base))


def _link_without_special_characters(folder: Path) -> Path:
    """Return a link to the folder: its path is put into scripts, where it must need no quotes."""
    link = Path(tempfile.mkdtemp(prefix="resultsfw-")) / "pods"
    link.symlink_to(folder)
    return link
