"""Say what the controller is doing: workers, queues, caches, leadership and flags, but no value of a run.

It names runs. It contains no params, results, values of options, tokens or data of Secrets.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from typing import Final

from resultsfw.cluster import Object
from resultsfw.controller.controller import Controller, Running
from resultsfw.flags import Flags
from resultsfw.kube import LeaderElector, Reflector
from resultsfw.operations.debug import stack_of, stacks_of_others

__all__ = ["DebugState"]

_OLDEST: Final = 10
"""Runs of each queue that are named: those that wait longest."""

_CACHES: Final = 200
"""Caches that are listed: one for each resource, or for each of them in each namespace that is watched."""


class DebugState:
    """Describes the controller whenever it is called, as JSON. Safe for threads.

    Args:
        controllers: By the kind of their runs.
        reflectors: The caches.
        flags: Returns the flags in effect; ``None`` before there are any.
        is_leader: Whether this replica is the leader.
    """

    def __init__(
        self,
        controllers: Mapping[str, Controller],
        reflectors: Iterable[Reflector],
        flags: Callable[[], Flags | None],
        is_leader: Callable[[], bool],
    ) -> None:
        self._controllers = controllers
        self._reflectors = tuple(reflectors)
        self._flags = flags
        self._is_leader = is_leader
        self._started = time.monotonic()
        self.elector: LeaderElector | None = None

    def __call__(self) -> Object:
        """Return the state."""
        running = {kind: controller.running_longer_than(0) for kind, controller in self._controllers.items()}
        workers = [(kind, each) for kind, some in running.items() for each in some]
        return {
            "version": metadata.version("resultsfw"),
            "seconds": round(time.monotonic() - self._started, 1),
            "leader": self._leader(),
            "flags": _flags(self._flags()),
            "queues": [_queue(kind, controller) for kind, controller in self._controllers.items()],
            "workers": [_worker(kind, each) for kind, each in workers],
            "caches": [_cache(reflector) for reflector in self._reflectors[:_CACHES]],
            "threads": stacks_of_others({each.thread for _, each in workers}),
        }

    def _leader(self) -> Object:
        elector = self.elector
        lease = {} if elector is None else {"holder": elector.leader, "seconds": _rounded(elector.lease_age)}
        return {"isLeader": self._is_leader(), "lease": lease}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _worker(kind: str, running: Running) -> Object:
    namespace, name = running.request
    return {
        "kind": kind,
        "namespace": namespace,
        "name": name,
        "seconds": _rounded(time.monotonic() - running.since),
        "stack": stack_of(running.thread),
    }


def _queue(kind: str, controller: Controller) -> Object:
    state = controller.queue.state(_OLDEST)
    return {
        "kind": kind,
        "workers": controller.workers,
        "ready": state.ready,
        "delayed": state.delayed,
        "failing": state.failing,
        "processing": state.processing,
        "oldest": [
            {"namespace": namespace, "name": name, "seconds": _rounded(seconds)}
            for (namespace, name), seconds in state.oldest
        ],
    }


def _cache(reflector: Reflector) -> Object:
    state = reflector.state
    return {
        "resource": reflector.kind.plural,
        "namespace": reflector.namespace or "",
        "synced": reflector.synced.is_set(),
        "alive": reflector.alive,
        "objects": len(reflector),
        "unreadable": len(reflector.unreadable),
        "version": reflector.version,
        "secondsSinceEvent": _rounded(state.seconds_since_event),
        "restarts": dict(state.restarts),
    }


def _flags(flags: Flags | None) -> Object:
    """Return the flags in effect; of options, which may be anything, only the names."""
    if flags is None:
        return {}
    return {
        "results-from": flags.results_from,
        "allowed-results-from": sorted(flags.allowed_results_from),
        "max-result-size": flags.max_result_size,
        "missing-results": flags.missing_results,
        "embedded-status": flags.embedded_status,
        "extensions": sorted(flags.extensions),
        "config": {name: sorted(options) for name, options in sorted(flags.config.items())},
    }
