"""Runs the store's Pods as processes of this machine and reports their status, as a kubelet does.

What it does not do: pull images, isolate (a Step sees this machine's files, network and processes), limit
memory or CPU, probe whether a container is alive, run lifecycle hooks, rotate logs. Of what ended it restarts
native sidecars only.
"""

import contextlib
import logging
import platform
import queue
import re
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from resultsfw.cluster import PODS, Object
from resultsfw.errors import ClusterError, InputError
from resultsfw.local import keeper
from resultsfw.local.endpoint import Endpoint
from resultsfw.local.podrun import PodRun
from resultsfw.local.podstatus import NODE
from resultsfw.local.processes import KeeperProcesses
from resultsfw.local.store import Store
from resultsfw.local.tokens import wants_api

__all__ = ["MAX_PODS", "Kubelet"]

_LOG = logging.getLogger(__name__)
_SAFE: Final = re.compile(r"[A-Za-z0-9_./-]+")
MAX_PODS: Final = 16
"""Each is three or four processes of some 10 MB beside what its Steps need."""

_NO_IMAGES: Final = (
    "images are not pulled: Steps run as processes of this machine, with the programs it has "
    "(the first one: {image})"
)


class Kubelet:
    """A node's kubelet, of the node that is this machine.

    Args:
        store: Where Pods come from and statuses go.
        workdir: Where Pods get their folders; made where it is missing. Without: a temporary folder.
        keep: Leave the folders when everything has ended.
        tell_budget: Tell the entrypoint how much of a message arrives of this pod, so that it refuses by name
            what would be cut. Without, everything is cut as it is on a cluster with Tekton's entrypoint.
        notice: Called once with what a person should know.
        max_pods: How many Pods run at once; others wait, as they do on a node that is full.

    Raises:
        InputError: This is not Linux.
        OSError: The folder cannot be made, or the keeper not started.

    Attributes:
        workdir: Where Pods have their folders.
    """

    def __init__(
        self,
        store: Store,
        *,
        workdir: Path | None = None,
        keep: bool = False,
        tell_budget: bool = True,
        notice: Callable[[str], None] | None = None,
        max_pods: int = MAX_PODS,
    ) -> None:
        if platform.system() != "Linux":
            raise InputError(
                f"the engine with no cluster needs Linux, and this is {platform.system()}; "
                f"use a Linux container",
                subject="platform",
            )
        self._store = store
        self._max_pods = max_pods
        self._waiting: dict[str, Object] = {}
        self._keep = keep
        self._tell_budget = tell_budget
        self._notice = notice
        made = workdir is None
        self._given = Path(tempfile.mkdtemp(prefix="resultsfw-")) if workdir is None else workdir.absolute()
        self._given.mkdir(parents=True, exist_ok=True)
        self.workdir = self._given
        self._runs: dict[str, PodRun] = {}
        self._names: dict[str, str] = {}
        self._refused: set[str] = set()
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        # Everything of this kubelet's lies in one folder that can go as a whole; a folder that a person
        # gave may hold other things.
        self._base = self._given if made else Path(tempfile.mkdtemp(prefix="pods-", dir=self._given))
        folders = [] if keep else [self._base]
        if not _SAFE.fullmatch(str(self._base)):
            self._base = _plain(self._base)
            folders.append(self._base.parent)
        self._processes = KeeperProcesses(folders, self._inbox.put)
        self._endpoint = Endpoint(store)
        self._watch = store.watch(PODS)
        self._threads = [
            threading.Thread(target=self._follow, name="resultsfw-kubelet-watch", daemon=True),
            threading.Thread(target=self._loop, name="resultsfw-kubelet", daemon=True),
        ]
        self._stopping: float | None = None
        for thread in self._threads:
            thread.start()

    def stop(self, grace_seconds: float = 2.0) -> None:
        """End every process: SIGTERM, after the grace SIGKILL. Folders go, unless they are to be kept."""
        self._watch.close()
        self._inbox.put(grace_seconds)
        for thread in self._threads:
            thread.join()
        self._processes.close()
        self._endpoint.close()

    def _follow(self) -> None:
        for event in self._watch:
            self._inbox.put(event)

    def _loop(self) -> None:
        while True:
            due = [at for run in self._runs.values() if (at := run.due()) is not None]
            if self._stopping is not None:
                if all(run.at_rest for run in self._runs.values()):
                    return
                due.append(self._stopping)
            touched = self._take(min(due, default=None))
            at = time.monotonic()
            for run in self._runs.values():
                if (when := run.due()) is not None and when <= at:
                    run.tick(at)
                    touched.add(run.uid)
            while touched:
                for uid in touched:
                    if uid in self._runs:
                        self._sync(self._runs[uid])
                touched = self._admit_waiting()
            if self._stopping is not None and self._stopping <= at:
                return  # what still runs, the keeper kills

    def _take(self, until: float | None) -> set[str]:
        """Wait for something to happen, then take in all that has; says which pods it touched."""
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
            for run in self._runs.values():
                run.end(float(item))
            return set(self._runs)
        if isinstance(item, dict):
            return self._heard(item)
        change, pod = item
        try:
            return self._pod(change, pod)
        except Exception as error:  # noqa: BLE001 - logged, and told in the pod's status
            self._refuse(pod, error)
            return set()

    def _refuse(self, pod: Object, error: Exception) -> None:
        """A pod that makes no sense here fails at once."""
        metadata = pod["metadata"]
        _LOG.warning("pod %s/%s is refused", metadata["namespace"], metadata["name"], exc_info=error)
        self._runs.pop(metadata["uid"], None)
        self._refused.add(metadata["uid"])
        why = f"{type(error).__name__}: {error}"
        status = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": why}
        with contextlib.suppress(ClusterError):
            self._store.patch(
                PODS, metadata["namespace"], metadata["name"], {"status": status}, subresource="status"
            )

    def _heard(self, event: dict[str, Any]) -> set[str]:
        """The keeper spoke."""
        if not event:
            for each in self._runs.values():
                each.lost("the process that keeps containers was killed")
            return set(self._runs)
        name = next((event[key] for key in ("started", "failed", "ended", "probed") if key in event), "")
        run = self._runs.get(self._names.get(name, ""))
        if run is None:
            return set()
        if "probed" in event:
            run.probed(name, ok=event["ok"])
        elif "started" in event:
            run.started(name)
        elif "failed" in event:
            run.failed(name, event["why"])
        else:
            run.ended(name, event["status"])
        return {run.uid}

    def _pod(self, change: str, pod: Object) -> set[str]:
        metadata = pod["metadata"]
        uid: str = metadata["uid"]
        run = self._runs.get(uid)
        self._waiting.pop(uid, None)
        if change == "DELETED":
            if run is not None:
                run.gone = True
                run.end(0)
        elif run is not None:
            run.update(pod)
        elif not (metadata.get("deletionTimestamp") or uid in self._refused or self._stopping is not None):
            if self._full:
                self._waiting[uid] = pod
                self._tell_to_wait(pod)
            else:
                self._admit(pod)
        return {uid}

    @property
    def _full(self) -> bool:
        return sum(not run.idle for run in self._runs.values()) >= self._max_pods

    def _tell_to_wait(self, pod: Object) -> None:
        """As a scheduler says it. The pod's event comes back and finds nothing to change."""
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
        """Take on Pods that waited, as far as there is room now."""
        admitted: set[str] = set()
        while self._waiting and not self._full:
            uid = next(iter(self._waiting))
            pod = self._waiting.pop(uid)
            try:
                self._admit(pod)
            except Exception as error:  # noqa: BLE001 - logged, and told in the pod's status
                self._refuse(pod, error)
            admitted.add(uid)
        return admitted

    def _admit(self, pod: Object) -> None:
        metadata = pod["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        if self._notice is not None:
            image = next((one["image"] for one in pod["spec"]["containers"] if one.get("image")), "none")
            self._notice(_NO_IMAGES.format(image=image))
            self._notice = None
        run = PodRun(
            pod,
            self._base / namespace / f"{name}-{metadata['uid'][:8]}",
            self._store,
            self._processes,
            lambda container, path: self._store.register_log(namespace, name, container, path),
            tell_budget=self._tell_budget,
            services=self._endpoint.variables() if wants_api(pod) else None,
            tell=self._inbox.put,
        )
        self._runs[run.uid] = run
        try:
            self._store.patch(
                PODS, namespace, name, {"metadata": {"uid": run.uid}, "spec": {"nodeName": NODE}}
            )
        except ClusterError:
            _LOG.debug("pod %s/%s went before it was taken on", namespace, name)
        self._report(run)
        run.mount()

    def _sync(self, run: PodRun) -> None:
        """Do what the pod's state asks for, and report it."""
        try:
            run.advance()
        except Exception as error:  # noqa: BLE001 - logged, and told in the pod's status
            # One pod that cannot be handled must not take the others with it, nor hang.
            _LOG.exception("pod %s/%s", run.pod["metadata"]["namespace"], run.pod["metadata"]["name"])
            run.fail("KubeletError", f"{type(error).__name__}: {error}")
        for name in run.names:
            self._names[name] = run.uid
        self._report(run)
        if run.deleted and run.at_rest:
            self._forget(run)

    def _report(self, run: PodRun) -> None:
        if run.gone:
            return
        status = run.status()
        if status == run.reported:
            return
        metadata = run.pod["metadata"]
        patch = {"metadata": {"uid": run.uid}, "status": status}
        try:
            self._store.patch(PODS, metadata["namespace"], metadata["name"], patch, subresource="status")
        except ClusterError as error:
            _LOG.debug("status of pod %s/%s: %s", metadata["namespace"], metadata["name"], error)
        run.reported = status

    def _forget(self, run: PodRun) -> None:
        """A deleted pod has ended: confirm it, and remove its folder."""
        metadata = run.pod["metadata"]
        if not run.gone:
            try:
                self._store.delete(
                    PODS, metadata["namespace"], metadata["name"], grace_seconds=0, uid=run.uid
                )
            except ClusterError as error:
                _LOG.debug("deleting pod %s/%s: %s", metadata["namespace"], metadata["name"], error)
            return  # its DELETED comes back when no finalizer holds it
        del self._runs[run.uid]
        self._names = {name: uid for name, uid in self._names.items() if uid != run.uid}
        if not self._keep:
            keeper.remove(str(run.folder.base))


def _plain(folder: Path) -> Path:
    """A name for a folder that shells and scripts need not quote, as it is put into their text."""
    link = Path(tempfile.mkdtemp(prefix="resultsfw-")) / "pods"
    link.symlink_to(folder)
    return link
