"""Stops the containers of one pod as a kubelet does: SIGTERM, then SIGKILL after the grace period."""

import signal
import time
from collections.abc import Iterable, Sequence
from typing import Final

from resultsfw.local.container_runtime import Runtime
from resultsfw.local.pod_status import Container

__all__ = ["ContainerStopper", "all_terminated"]

_MINIMUM_GRACE: Final = 2
"""Least grace period of a native sidecar (`minimumGracePeriodInSeconds`, kuberuntime_container.go)."""


def all_terminated(containers: Iterable[Container]) -> bool:
    """Return whether no container that was started still runs."""
    return all(container.terminated for container in containers if container.start_requested)


class ContainerStopper:
    """Sends signals to containers and knows when the next signal is due, on the monotonic clock.

    Args:
        runtime: Signals the containers' processes.
        containers: All containers of the pod, init containers first.
    """

    def __init__(self, runtime: Runtime, containers: Sequence[Container]) -> None:
        self._runtime = runtime
        self._containers = containers
        self._kill_at: dict[str, float] = {}
        self._stop_sidecar_at: dict[str, float] = {}

    @property
    def due(self) -> list[float]:
        """Return the times at which `tick` has something to do."""
        return [*self._kill_at.values(), *self._stop_sidecar_at.values()]

    def is_stopping(self, container: Container) -> bool:
        """Return whether SIGTERM was sent to a container that has not terminated."""
        return container.id in self._kill_at

    def awaits_others(self, container: Container) -> bool:
        """Return whether a native sidecar is to be stopped once all other containers have terminated."""
        return container.id in self._stop_sidecar_at

    def stop(self, container: Container, grace: float) -> None:
        """Send SIGTERM, unless it was sent before, and plan SIGKILL after the grace period."""
        if not container.start_requested or container.terminated:
            return
        until = time.monotonic() + grace
        if container.id in self._kill_at:
            self._kill_at[container.id] = min(until, self._kill_at[container.id])
            return
        self._kill_at[container.id] = until
        self._runtime.signal(container.id, signal.SIGTERM)

    def stop_all(self, grace: float, *, again: bool) -> None:
        """Stop all containers; native sidecars after all others, or when the grace period is over.

        Args:
            grace: Grace period in seconds.
            again: Whether this was called before: then only deadlines of those that are stopping change.
        """
        at = time.monotonic()
        for container in self._containers:
            if container.native_sidecar and grace > 0 and not self.is_stopping(container):
                if container.start_requested and not container.terminated:
                    earlier = self._stop_sidecar_at.get(container.id, at + grace)
                    self._stop_sidecar_at[container.id] = min(at + grace, earlier)
            elif not again or self.is_stopping(container):
                self.stop(container, grace)
        self.stop_sidecars(at)

    def stop_sidecars(self, at: float) -> None:
        """Send SIGTERM to native sidecars once all others have terminated, or their own time has come."""
        alone = all_terminated(container for container in self._containers if not container.native_sidecar)
        for container in reversed(self._containers):
            stop_at = self._stop_sidecar_at.get(container.id)
            if stop_at is not None and (stop_at <= at or alone):
                del self._stop_sidecar_at[container.id]
                self.stop(container, max(stop_at - at, _MINIMUM_GRACE))

    def tick(self, at: float) -> None:
        """Send every signal that is due."""
        for container in self._containers:
            if self._kill_at.get(container.id, at + 1) <= at:
                del self._kill_at[container.id]
                self._runtime.signal(container.id, signal.SIGKILL)
        self.stop_sidecars(at)

    def on_terminated(self, container: Container) -> None:
        """Take in that a container has terminated."""
        self._kill_at.pop(container.id, None)
