"""Authenticate and authorize requests, and share threads and capacity among them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from fastapi import Request
from prometheus_client import CollectorRegistry

from resultsfw.server.body_capacity import BodyCapacity
from resultsfw.server.concurrency import ConcurrencyLimit
from resultsfw.server.connections import Connections
from resultsfw.server.metrics import Metrics
from resultsfw.server.refusals import RefusalError
from resultsfw.server.review import Identity, Reviewer
from resultsfw.server.runs import Runs
from resultsfw.server.store import AttemptKey, Store

__all__ = ["RUN_HEADER", "Service"]

RUN_HEADER: Final = "Resultsfw-Run"
"""The header with the run's name, by which the server can check that the run exists."""

_TOKEN_BYTES: Final = 32 * 1024
_THREADS: Final = 8

_Answer = TypeVar("_Answer")


@dataclass
class Service:
    """What all requests share.

    Attributes:
        results: The store.
        reviewer: Authenticates and authorizes clients.
        limit: Bytes of a body.
        runs: Knows which runs exist; ``None``: deliveries for any run are accepted.
        connections: Of the port for results, for the metrics.
        registry: Where the metrics are registered.
    """

    results: Store
    reviewer: Reviewer
    limit: int
    runs: Runs | None = None
    connections: Connections = field(default_factory=lambda: Connections(1000, 64))
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    bodies: BodyCapacity = field(init=False)
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        self.bodies = BodyCapacity(self.limit)
        self.metrics = Metrics(
            self.registry, lambda: self.bodies.allocated, self.connections, self.results.usage
        )
        # Two pools, so that an API server that does not answer does not block the store, and vice versa.
        self._review_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="review")
        self._store_threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="store")
        # No client and no namespace can use all threads, or fill the queue before them.
        self._review_limit = ConcurrencyLimit(_THREADS // 2 - 1, 64, 10, "client")
        self._store_limit = ConcurrencyLimit(_THREADS // 2, 128, 10, "namespace")
        self.deliveries = ConcurrencyLimit(32, 96, 5, "namespace")
        self.reads = ConcurrencyLimit(8, 32, 5, "namespace")

    async def ask(self, request: Request, call: Callable[..., _Answer], *args: Any) -> _Answer:
        """Call a function that makes requests to the API server, on a thread."""
        async with self._review_limit.slot(request.client.host if request.client else ""):
            return await asyncio.get_running_loop().run_in_executor(self._review_threads, call, *args)

    async def store(self, namespace: str, call: Callable[[], _Answer]) -> _Answer:
        """Call a function that uses the store, on a thread."""
        async with self._store_limit.slot(namespace):
            return await asyncio.get_running_loop().run_in_executor(self._store_threads, call)

    async def identity(self, request: Request) -> Identity:
        """Authenticate a request.

        Raises:
            RefusalError: It has no valid token for this server.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise RefusalError("Unauthenticated", "a bearer token is required")
        if len(token) > _TOKEN_BYTES or not (token.isascii() and token.isprintable()):
            raise RefusalError("Unauthenticated", "the token is malformed")
        known, identity = self.reviewer.known(token)
        if not known:
            identity = await self.ask(request, self.reviewer.review, token)
        if identity is None:
            raise RefusalError("Unauthenticated", "the token is not valid, or not for this audience")
        return identity

    async def reader(self, request: Request, verb: str, namespace: str) -> None:
        """Authorize a request to read or remove results.

        Raises:
            RefusalError: The client may not.
        """
        identity = await self.identity(request)
        if not await self.ask(request, self.reviewer.allows, identity, verb, namespace):
            raise RefusalError(
                "Forbidden",
                f'"{identity.username}" may not {verb} results.resultsfw.dev in namespace "{namespace}"',
            )
        _hold(request)

    async def writer(self, request: Request, namespace: str, pod: str) -> None:
        """Authorize a request to deliver results of a pod.

        Raises:
            RefusalError: The client is not that pod.
        """
        identity = await self.identity(request)
        if not identity.pod_uid:
            raise RefusalError("Forbidden", f'the token of "{identity.username}" is not bound to a pod')
        if identity.pod_uid != pod or identity.namespace != namespace:
            raise RefusalError(
                "Forbidden",
                f'the token is of pod "{identity.pod_uid}" in namespace "{identity.namespace}" and may not '
                f"write for another pod",
            )
        _hold(request)

    async def check_run(self, request: Request, attempt_key: AttemptKey, name: str) -> None:
        """Refuse a delivery for a run that does not exist, if that is to be checked.

        Raises:
            RefusalError: There is no such run.
        """
        if self.runs is None:
            return
        if not name:
            raise RefusalError(
                "NoSuchRun",
                f"the server checks that runs exist, and the request does not name its run ({RUN_HEADER}): "
                f"the results sidecar is older than the results server",
            )
        if not await self.ask(request, self.runs.exists, attempt_key.namespace, name, attempt_key.run):
            raise RefusalError(
                "NoSuchRun",
                f'there is no TaskRun "{name}" with uid "{attempt_key.run}" in namespace '
                f'"{attempt_key.namespace}"',
            )


def _hold(request: Request) -> None:
    """Mark the connection of an authenticated request: it is not closed at a limit."""
    connection = request.scope.get("state", {}).get("connection")
    if connection is not None:
        connection.held = True
