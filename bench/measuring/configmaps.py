"""The ConfigMaps `feature-flags` while measuring: one of our own, and Tekton's, which is put back."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from measuring.alone import alone
from measuring.processes import Log
from resultsfw.cluster import CONFIG_MAPS
from resultsfw.errors import NotFoundError
from resultsfw.kube import KubeCluster

NAME = "feature-flags"
BEFORE = "bench.resultsfw.dev/before"
"""Annotation of Tekton's ConfigMap: what stood there. One that was killed leaves it to the next."""

SETTLE = 3.0
"""Seconds: Tekton's controller does not tell when it has taken over an edit."""


class OwnFlags:
    """A ConfigMap in a namespace of ours: what Tekton's controller reads is not touched for our side.

    Args:
        cluster: Where.
        namespace: The controller is to be told of it by ``--namespace``.
        data: What stands there, whatever is measured.
    """

    def __init__(self, cluster: KubeCluster, namespace: str, data: Mapping[str, str]) -> None:
        self._cluster, self._namespace, self._always = cluster, namespace, dict(data)
        self.data: dict[str, str] = {}
        self.set("termination-message", 4096)

    def set(self, backend: str, size: int, log: Log | None = None) -> None:
        """This backend and this ``max-result-size``, in force when it returns."""
        data = {**self._always, "results-from": backend, "max-result-size": str(size)}
        if data == self.data:
            return
        since = log.length() if log else 0
        if self.data:
            self._cluster.patch(CONFIG_MAPS, self._namespace, NAME, {"data": data})
        else:
            metadata = {"name": NAME, "namespace": self._namespace}
            with suppress(NotFoundError):
                self._cluster.delete(CONFIG_MAPS, self._namespace, NAME)  # of a command that was killed
            self._cluster.create(CONFIG_MAPS, {"metadata": metadata, "data": data})
        self.data = data
        if log is not None:
            log.wait_for(f"in effect: results-from={backend}", since)


class TektonFlags:
    """Tekton's ConfigMap, shared by all that use the cluster."""

    def __init__(self, cluster: KubeCluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self._now: dict[str, str] = {}

    def set(self, backend: str, size: int) -> None:
        """This backend and this ``max-result-size``, taken over when it returns."""
        data = {"results-from": backend, "max-result-size": str(size)}
        if data != self._now:
            self._cluster.patch(CONFIG_MAPS, self._namespace, NAME, {"data": data})
            self._now = data
            time.sleep(SETTLE)

    def keep(self) -> None:
        """Note what stands there, or put back what a killed one before left changed."""
        self.restore()
        data = self._cluster.get(CONFIG_MAPS, self._namespace, NAME).get("data") or {}
        before = {key: data.get(key) for key in ("results-from", "max-result-size")}
        self._annotate(json.dumps(before))

    def restore(self) -> None:
        """Put back what was noted; without a note, leave everything as it is."""
        metadata = self._cluster.get(CONFIG_MAPS, self._namespace, NAME)["metadata"]
        noted = (metadata.get("annotations") or {}).get(BEFORE)
        if noted is not None:
            self._cluster.patch(CONFIG_MAPS, self._namespace, NAME, {"data": json.loads(noted)})
            self._annotate(None)
            self._now = {}

    def _annotate(self, text: str | None) -> None:
        change = {"metadata": {"annotations": {BEFORE: text}}}
        self._cluster.patch(CONFIG_MAPS, self._namespace, NAME, change)


@contextmanager
def tekton_flags(cluster: KubeCluster, namespace: str) -> Iterator[TektonFlags]:
    """Tekton's flags to be set, and afterwards as they were."""
    with alone(namespace):
        flags = TektonFlags(cluster, namespace)
        flags.keep()
        try:
            yield flags
        finally:
            flags.restore()
