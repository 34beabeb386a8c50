"""Sets the ConfigMaps `feature-flags` for a benchmark: one of our own, and Tekton's, which is restored."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from measuring.exclusive import exclusive
from measuring.processes import Log
from resultsfw.cluster import CONFIG_MAPS
from resultsfw.errors import NotFoundError
from resultsfw.kube import KubeCluster

NAME = "feature-flags"
BEFORE = "bench.resultsfw.dev/before"
"""Annotation of Tekton's ConfigMap with its earlier data, which the next benchmark restores after a kill."""

SETTLE = 3.0
"""Seconds after an edit: Tekton's controller does not report when it has read the ConfigMap."""


class OwnFlags:
    """Our controller's ConfigMap, in a namespace of its own.

    Args:
        cluster: The cluster.
        namespace: The namespace, which is also the controller's ``--namespace``.
        data: Data for all cases.
    """

    def __init__(self, cluster: KubeCluster, namespace: str, data: Mapping[str, str]) -> None:
        self._cluster, self._namespace, self._always = cluster, namespace, dict(data)
        self.data: dict[str, str] = {}
        self.set("termination-message", 4096)

    def set(self, backend: str, size: int, log: Log | None = None) -> None:
        """Set the backend and ``max-result-size``, and wait until the controller uses them."""
        data = {**self._always, "results-from": backend, "max-result-size": str(size)}
        if data == self.data:
            return
        since = log.length() if log else 0
        if self.data:
            self._cluster.patch(CONFIG_MAPS, self._namespace, NAME, {"data": data})
        else:
            metadata = {"name": NAME, "namespace": self._namespace}
            with suppress(NotFoundError):
                self._cluster.delete(CONFIG_MAPS, self._namespace, NAME)  # of a benchmark that was killed
            self._cluster.create(CONFIG_MAPS, {"metadata": metadata, "data": data})
        self.data = data
        if log is not None:
            log.wait_for(f"in effect: results-from={backend}", since)


class TektonFlags:
    """Tekton's ConfigMap, which other users of the cluster share."""

    def __init__(self, cluster: KubeCluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._now: dict[str, str] = {}

    def set(self, backend: str, size: int) -> None:
        """Set the backend and ``max-result-size``, and wait until Tekton's controller uses them."""
        data = {"results-from": backend, "max-result-size": str(size)}
        if data != self._now:
            self._cluster.patch(CONFIG_MAPS, self._namespace, NAME, {"data": data})
            self._now = data
            time.sleep(SETTLE)

    def keep(self) -> None:
        """Save the data in an annotation, after restoring what a killed benchmark left changed."""
        self.restore()
        data = self._cluster.get(CONFIG_MAPS, self._namespace, NAME).get("data") or {}
        before = {key: data.get(key) for key in ("results-from", "max-result-size")}
        self._annotate(json.dumps(before))

    def restore(self) -> None:
        """Restore the saved data, if there is any."""
        metadata = self._cluster.get(CONFIG_MAPS, self._namespace, NAME)["metadata"]
        saved = (metadata.get("annotations") or {}).get(BEFORE)
        if saved is not None:
            self._cluster.patch(CONFIG_MAPS, self._namespace, NAME, {"data": json.loads(saved)})
            self._annotate(None)
            self._now = {}

    def _annotate(self, text: str | None) -> None:
        change = {"metadata": {"annotations": {BEFORE: text}}}
        self._cluster.patch(CONFIG_MAPS, self._namespace, NAME, change)


@contextmanager
def tekton_flags(cluster: KubeCluster, namespace: str) -> Iterator[TektonFlags]:
    """Yield Tekton's flags, and restore them afterwards."""
    with exclusive(namespace):
        flags = TektonFlags(cluster, namespace)
        flags.keep()
        try:
            yield flags
        finally:
            flags.restore()
