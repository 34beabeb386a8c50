"""Watches one TaskRun on a cluster: when its pod was created, when it was done, what carried its values."""

import json
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from measuring.pod_memory import SidecarPeak
from resultsfw import PODS, Kind
from resultsfw.errors import UnavailableError
from resultsfw.kube import KubeCluster, connect
from resultsfw.kube.list_watch import list_pages, open_watch, watch_events
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS

Object = dict[str, Any]


class Place(Protocol):
    """Where the runs are; see tests/cluster/place.py."""

    namespace: str

    def runs(self) -> dict[str, Object]:
        """Return the runs there, by name."""
        ...


class RunWatch:
    """Records of one run when its pod was created, when it was done, and the most bytes that carried values.

    Args:
        place: Its namespace.
        name: Of the TaskRun, which may not exist yet.
        peak: Follows its pod.
        watched: Kind of the objects that carry values; ``None``: none.
    """

    def __init__(self, place: Place, name: str, peak: SidecarPeak, watched: Kind | None = None) -> None:
        self.done: Object = {}
        self.created_at = self.done_at = self.carried = 0.0
        self._name, self._peak, self._watched, self._place = name, peak, watched, place
        self._is_done = threading.Event()
        self._cluster = KubeCluster(connect(os.environ["RESULTSFW_KUBECONFIG"]))
        for kind in {TASKRUNS, PODS, *([watched] if watched else [])}:
            connection = self._cluster.connection
            version = next(iter(list_pages(connection, kind, place.namespace, "", limit=1)))[1]
            threading.Thread(target=self._follow, args=(kind, version), daemon=True).start()

    def wait(self, seconds: float) -> None:
        """Wait for the verdict.

        Raises:
            SystemExit: The run did not end in time.
        """
        if not self._is_done.wait(seconds):
            raise SystemExit(f"after {seconds:.0f} s a run is not done: {self._place.runs()}")

    def _follow(self, kind: Kind, version: str) -> None:
        stream = open_watch(self._cluster.connection, kind, self._place.namespace, "", version, silence=600)
        with suppress(UnavailableError):
            for event in watch_events(stream, kind.plural):
                now = uptime()
                if event.change == "BOOKMARK":
                    continue
                metadata = event.obj["metadata"]
                if kind == PODS and (metadata.get("labels") or {}).get("tekton.dev/taskRun") == self._name:
                    self.created_at = self.created_at or now
                    self._peak.follow(metadata["uid"])
                if kind == self._watched:  # runs follow one another, so it is of this one
                    self.carried = max(self.carried, _bytes_of(kind, event.obj))
                own = kind == TASKRUNS and metadata["name"] == self._name
                if own and not self.done and is_done(event.obj):
                    self.done, self.done_at = event.obj, now
                    self._is_done.set()


def _bytes_of(kind: Kind, obj: Object) -> int:
    if kind == TASKRUNS:
        return len(json.dumps(obj.get("status", {}).get("annotations", {}), ensure_ascii=False).encode())
    if not obj["metadata"]["name"].startswith("resultsfw-"):
        return 0
    return len(json.dumps(obj, ensure_ascii=False, separators=(",", ":")).encode())


def uptime() -> float:
    """Return the seconds that the kernel runs, which a Step reads, too."""
    return float(Path("/proc/uptime").read_text().split()[0])
