"""A namespace of a cluster for measuring: what is made there, watched, counted and removed again."""

import re
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any

from measuring.seen import Seen
from resultsfw import PODS, Kind
from resultsfw.errors import NotFoundError, UnavailableError
from resultsfw.kube import KubeCluster, connect
from resultsfw.kube.list_watch import list_pages, open_watch, watch_events
from resultsfw.kube.paths import collection_path
from resultsfw.ratelimit import TokenBucket
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS

Object = dict[str, Any]

LABEL = "bench.resultsfw.dev/round"
"""Of every run that is measured, and of its pods; its value names the round."""

NAMESPACES = Kind("", "v1", "namespaces", "Namespace")

_REQUESTS = re.compile(r"apiserver_request_total\{(.*)\} (\S+)")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Place:
    """The namespace; made if it is not there, and emptied of earlier rounds that were interrupted.

    Args:
        kubeconfig: Of the cluster.
        namespace: Only for measuring.
        timeout: Seconds that a round may take.
    """

    def __init__(self, kubeconfig: str, namespace: str, timeout: float) -> None:
        self.cluster = KubeCluster(connect(kubeconfig, limit=TokenBucket(1000, 1000)))
        self.namespace, self.timeout = namespace, timeout
        try:
            self.cluster.get(NAMESPACES, "", namespace)
        except NotFoundError:
            self.cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
        self.clear()

    def watch(self, seen: Seen, label: str, kinds: Iterable[Kind]) -> None:
        """Tell of one round's objects from now on."""
        selector = f"{LABEL}={label}"
        for kind in kinds:
            version = next(
                iter(list_pages(self.cluster.connection, kind, self.namespace, selector, limit=1))
            )[1]
            thread = threading.Thread(target=self._follow, args=(seen, kind, selector, version), daemon=True)
            thread.start()

    def create(self, kind: Kind, runs: Sequence[Object]) -> None:
        """All of them, four at a time."""
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda run: self.cluster.create(kind, run), runs))

    def clear(self) -> None:
        """Remove all rounds, and wait until all is gone: the next must not pay for it.

        The garbage collector would do it, but at some ten objects a second.

        Raises:
            SystemExit: Something does not go away.
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
                raise SystemExit(f"what was made in namespace {self.namespace} does not go away")
            time.sleep(1)

    def requests(self) -> float:
        """Requests that controllers send, so far: about runs, about Pods (not the kubelet's), for logs."""
        opened = self.cluster.connection.open("GET", "/metrics", subject="metrics")
        with closing(opened) as answer:
            return requests_of(b"".join(answer.stream(65_536)).decode())

    def version(self) -> str:
        """Of the API server."""
        answer = self.cluster.connection.json("GET", "/version", subject="version")
        return str(answer["gitVersion"])

    def _some(self, kind: Kind) -> bool:
        return bool(next(iter(list_pages(self.cluster.connection, kind, self.namespace, LABEL, limit=1)))[0])

    def _follow(self, seen: Seen, kind: Kind, selector: str, version: str) -> None:
        connection = self.cluster.connection
        while not seen.over:  # a server ends a watch after some minutes
            stream = open_watch(connection, kind, self.namespace, selector, version, silence=600)
            with suppress(UnavailableError):
                for event in watch_events(stream, kind.plural):
                    version = event.obj["metadata"]["resourceVersion"]
                    seen.event(event.change, {"kind": kind.kind, **event.obj})


def requests_of(metrics: str) -> float:
    """What is counted of an API server's ``/metrics``."""
    total = 0.0
    for found in _REQUESTS.finditer(metrics):
        labels = dict(_LABEL.findall(found[1]))
        if labels.get("verb") not in ("WATCH", "LIST", "DELETE") and _of_controllers(labels):
            total += float(found[2])
    return total


def _of_controllers(labels: dict[str, str]) -> bool:
    if labels.get("group") == "tekton.dev":
        return True
    if labels.get("resource") != "pods":
        return False
    if labels.get("subresource") == "log":
        return True
    # The kubelet asks for a Pod before it writes its status.
    return labels.get("subresource") == "" and labels.get("verb") in ("POST", "PATCH", "PUT")
