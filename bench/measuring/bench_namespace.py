"""The namespace of a benchmark on a cluster: its objects are created, watched and removed here."""

import re
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

from measuring.run_times import RunTimes
from resultsfw import PODS, Kind
from resultsfw.errors import NotFoundError, UnavailableError
from resultsfw.kube import KubeCluster, connect
from resultsfw.kube.list_watch import list_pages, open_watch, watch_events
from resultsfw.kube.paths import collection_path
from resultsfw.ratelimit import TokenBucket
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

Object = dict[str, Any]

LABEL = "bench.resultsfw.dev/round"
"""Label of every run that is measured, and of its pods; its value names the round."""

NAMESPACES = Kind("", "v1", "namespaces", "Namespace")

_REQUESTS = re.compile(r"apiserver_request_total\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class BenchNamespace:
    """The namespace, created if it does not exist, and without objects of earlier rounds.

    Args:
        kubeconfig: Path of the kubeconfig.
        namespace: Name of a namespace that is only for benchmarks.
        timeout: Most seconds of a round.
    """

    def __init__(self, kubeconfig: str, namespace: str, timeout: float) -> None:
        self.cluster = KubeCluster(connect(kubeconfig, limit=TokenBucket(1000, 1000)))
        self.namespace, self.timeout = namespace, timeout
        try:
            self.cluster.get(NAMESPACES, "", namespace)
        except NotFoundError:
            self.cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
        self.clear()

    def watch(self, times: RunTimes, label: str, kinds: Iterable[Kind]) -> None:
        """Watch the objects of a round from now on, on threads."""
        selector = f"{LABEL}={label}"
        for kind in kinds:
            version = next(
                iter(list_pages(self.cluster.connection, kind, self.namespace, selector, limit=1))
            )[1]
            thread = threading.Thread(target=self._follow, args=(times, kind, selector, version), daemon=True)
            thread.start()

    def create(self, kind: Kind, runs: Sequence[Object]) -> None:
        """Create runs, four at a time."""
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda run: self.cluster.create(kind, run), runs))

    def clear(self) -> None:
        """Delete the objects of all rounds and wait until they are gone, so that this does not load the next.

        Each kind is deleted here, as the garbage collector deletes only some ten objects a second.

        Raises:
            SystemExit: An object is not removed.
        """
        kinds = (PIPELINERUNS, TASKRUNS, PODS)
        for kind in kinds:
            self.cluster.connection.json(
                "DELETE",
                collection_path(kind, self.namespace),
                subject=kind.plural,
                query={"labelSelector": LABEL},
                timeouts=(5, self.timeout),
            )
        end = time.monotonic() + self.timeout
        while any(self._some(kind) for kind in kinds):
            if time.monotonic() > end:
                raise SystemExit(f"the objects in namespace {self.namespace} are not removed")
            time.sleep(1)

    def requests(self) -> float:
        """Return the number of controllers' requests so far: for runs, Pods (not the kubelet's) and logs."""
        opened = self.cluster.connection.open("GET", "/metrics", subject="metrics")
        with closing(opened) as answer:
            return requests_of(b"".join(answer.stream(65_536)).decode())

    def version(self) -> str:
        """Return the version of the API server."""
        answer = self.cluster.connection.json("GET", "/version", subject="version")
        return str(answer["gitVersion"])

    def _some(self, kind: Kind) -> bool:
        return bool(next(iter(list_pages(self.cluster.connection, kind, self.namespace, LABEL, limit=1)))[0])

    def _follow(self, times: RunTimes, kind: Kind, selector: str, version: str) -> None:
        connection = self.cluster.connection
        while not times.over:  # a server ends a watch after some minutes
            stream = open_watch(connection, kind, self.namespace, selector, version, silence=600)
            with suppress(UnavailableError):
                for event in watch_events(stream, kind.plural):
                    version = event.obj["metadata"]["resourceVersion"]
                    times.event(event.change, {"kind": kind.kind, **event.obj})


def requests_of(metrics: str) -> float:
    """Return the number of controllers' requests from an API server's ``/metrics``."""
    total = 0.0
    for match in _REQUESTS.finditer(metrics):
        labels = dict(_LABEL.findall(match[1]))
        if labels.get("verb") not in ("WATCH", "LIST", "DELETE") and _of_controllers(labels):
            total += float(match[2])
    return total


def _of_controllers(labels: dict[str, str]) -> bool:
    if labels.get("group") == "tekton.dev":
        return True
    if labels.get("resource") != "pods":
        return False
    if labels.get("subresource") == "log":
        return True
    # The kubelet gets a Pod before it writes its status.
    return labels.get("subresource") == "" and labels.get("verb") in ("POST", "PATCH", "PUT")
