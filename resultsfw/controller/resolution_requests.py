"""Reconcile runs as soon as Tekton's resolvers have answered them, from the first request on.

The reconcilers look for answers every few seconds in any case. A watch brings them at once. It begins with
the first ResolutionRequest that is read or created: many clusters do not serve that kind, or have no run with
a resolver.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping

from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.controller.cache_transforms import identity_of
from resultsfw.controller.requests import Request
from resultsfw.tekton.api.conditions import is_done, succeeded
from resultsfw.tekton.api.kinds import RESOLUTION_REQUESTS
from resultsfw.tekton.resolution.requests import condition_of

__all__ = ["AnswerEvents", "RequestNotingCluster", "trim_request"]

log = logging.getLogger(__name__)

Enqueue = Callable[[Request], None]
"""Enqueues a run."""


def trim_request(request: Object) -> Object:
    """Return a ResolutionRequest as it is cached: without what was asked for and found."""
    return {**identity_of(request), "status": {"conditions": [condition_of(request)]}}


class AnswerEvents:
    """Enqueues the run of a ResolutionRequest once all that the run has asked for is answered.

    A run of many Tasks has as many requests: it is not reconciled after each.

    Args:
        enqueue: By the kind of the run.
    """

    def __init__(self, enqueue: Mapping[str, Enqueue]) -> None:
        self._enqueue = enqueue
        self._open: dict[tuple[str, Request], set[str]] = {}

    def on_request(self, change: str, request: Object) -> None:
        """Handle a watch event of a ResolutionRequest."""
        metadata = request["metadata"]
        for owner in metadata.get("ownerReferences") or ():
            kind = str(owner.get("kind"))
            if kind in self._enqueue:
                run = (kind, (metadata.get("namespace", ""), str(owner.get("name"))))
                self._note(change, run, request)

    def _note(self, change: str, run: tuple[str, Request], request: Object) -> None:
        unanswered = self._open.setdefault(run, set())
        if change == "DELETED" or is_done(request):
            unanswered.discard(request["metadata"]["name"])
        else:
            unanswered.add(request["metadata"]["name"])
        if not unanswered:
            del self._open[run]
        has_failed = succeeded(request).get("status") == "False"
        # A request that is deleted is made again when the run looks for it next: deleting it drives no loop.
        if change != "DELETED" and is_done(request) and (has_failed or not unanswered):
            self._enqueue[run[0]](run[1])


class RequestNotingCluster:
    """A `Cluster` that calls a function once, when the first ResolutionRequest is read or created.

    Args:
        cluster: The API server.
        on_first: Called once.
    """

    def __init__(self, cluster: Cluster, on_first: Callable[[], None]) -> None:
        self._cluster = cluster
        self._on_first = on_first
        self._noted = threading.Lock()

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return one object. See `Cluster.get`."""
        return self._note(kind, self._cluster.get(kind, namespace, name))

    def create(self, kind: Kind, obj: Object) -> Object:
        """Store a new object. See `Cluster.create`."""
        return self._note(kind, self._cluster.create(kind, obj))

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """Apply a JSON merge patch. See `Cluster.patch`."""
        return self._cluster.patch(kind, namespace, name, patch, subresource=subresource)

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Request an object's deletion. See `Cluster.delete`."""
        self._cluster.delete(kind, namespace, name, grace_seconds=grace_seconds)

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """Return a container's log. See `Cluster.read_log`."""
        return self._cluster.read_log(namespace, pod, container, limit=limit)

    def _note(self, kind: Kind, obj: Object) -> Object:
        # Never released: only the first call gets it.
        if kind == RESOLUTION_REQUESTS and self._noted.acquire(blocking=False):
            log.info("watching ResolutionRequests: a run has a resolver")
            self._on_first()
        return obj
