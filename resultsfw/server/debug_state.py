"""Say what the results server is doing: requests, connections, capacity; no token and no result."""

import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.operations.debug import stacks_of_others
from resultsfw.server.middleware import RequestMiddleware
from resultsfw.server.service import Service

__all__ = ["DebugState"]

_MOST: Final = 20
"""Requests, addresses and namespaces that are listed."""


class DebugState:
    """Describes the server whenever it is called, as JSON. Safe for threads.

    Args:
        service: What all requests share.
        app: Knows the requests in progress.
    """

    def __init__(self, service: Service, app: RequestMiddleware) -> None:
        self._service = service
        self._app = app
        self._started = time.monotonic()

    def __call__(self) -> Object:
        """Return the state."""
        service = self._service
        running = sorted(self._app.running(), key=lambda request: -request[2])
        return {
            "version": metadata.version("resultsfw"),
            "seconds": round(time.monotonic() - self._started, 1),
            "store": type(service.results).__name__,
            "connections": {
                "open": service.connections.total,
                "shed": dict(service.connections.shed),
                "byAddress": _largest(service.connections.by_address()),
            },
            "bodies": {
                "bytes": service.bodies.allocated,
                "byNamespace": _largest(service.bodies.by_namespace()),
            },
            "running": len(running),
            "requests": [_request(*request) for request in running[:_MOST]],
            "threads": stacks_of_others(()),
        }


def _request(verb: str, parts: Mapping[str, Any], seconds: float) -> Object:
    return {
        "verb": verb,
        **{name: str(value) for name, value in parts.items()},
        "seconds": round(seconds, 3),
    }


def _largest(counts: Mapping[str, int]) -> Object:
    return dict(sorted(counts.items(), key=lambda item: -item[1])[:_MOST])
