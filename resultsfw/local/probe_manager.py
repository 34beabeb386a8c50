"""Decides when the containers of one pod are probed, and what the outcome changes."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resultsfw.local.container_runtime import Runtime
from resultsfw.local.pod_status import Container
from resultsfw.local.prober import Probe, send_probe
from resultsfw.local.process_spec import ConfigError, ProcessSpec, StartError

__all__ = ["ProbeManager"]


@dataclass(frozen=True, slots=True)
class _Entry:
    container: Container
    kind: str
    probe: Probe


class ProbeManager:
    """Makes the startup probe of each container that runs, and after it the readiness probe.

    Args:
        runtime: Runs the commands of probes.
        command: Returns the process of a command in a container, and the file for its output.
        stop: Stops a container whose startup probe failed.
        on_outcome: Called on another thread with the outcome of an HTTP or TCP probe.
    """

    def __init__(
        self,
        runtime: Runtime,
        command: Callable[[Container, list[str]], tuple[ProcessSpec, Path]],
        stop: Callable[[Container], None],
        on_outcome: Callable[[dict[str, Any]], None],
    ) -> None:
        self._runtime = runtime
        self._command = command
        self._stop = stop
        self._on_outcome = on_outcome
        self._entries: dict[str, _Entry] = {}

    @property
    def names(self) -> Iterator[str]:
        """Yield the ids of the attempts in progress."""
        return (entry.probe.id for entry in self._entries.values() if entry.probe.id)

    @property
    def due(self) -> Iterator[float]:
        """Yield the times at which `tick` has something to do, on the monotonic clock."""
        return (entry.probe.due for entry in self._entries.values())

    def begin(self, container: Container, at: float) -> None:
        """Begin to probe a container that was started, or whose startup probe succeeded."""
        for kind, passed in (
            ("startupProbe", container.startup_passed),
            ("readinessProbe", container.readiness_passed),
        ):
            if container.spec.get(kind) and not passed and not container.image_replaced:
                self._entries[container.id] = _Entry(container, kind, Probe.of(container.spec[kind], at))
                return

    def forget(self, container: Container) -> None:
        """Stop probing a container, as it has terminated."""
        self._entries.pop(container.id, None)

    def tick(self, at: float) -> None:
        """Begin the attempts that are due, and fail those that exceed their timeout."""
        for entry in [entry for entry in self._entries.values() if entry.probe.due <= at]:
            if entry.probe.id:
                self._runtime.signal(entry.probe.id, signal.SIGKILL)
                self.judge(entry.probe.id, at, ok=False)
            else:
                self._attempt(entry, at)

    def judge(self, name: str, at: float, *, ok: bool) -> bool:
        """Take in the outcome of an attempt; return whether ``name`` is that of an attempt in progress."""
        entry = next((entry for entry in self._entries.values() if entry.probe.id == name), None)
        if entry is None:
            return False
        verdict, container = entry.probe.judge(at, ok=ok), entry.container
        if entry.kind == "readinessProbe":
            container.readiness_passed = container.readiness_passed if verdict is None else verdict
        elif verdict is not None:
            self.forget(container)
            container.startup_passed = verdict
            if verdict:
                self.begin(container, at)
            else:
                self._stop(container)
        return True

    def is_attempt(self, name: str) -> bool:
        """Return whether a name is that of an attempt in progress."""
        return name in self.names

    def _attempt(self, entry: _Entry, at: float) -> None:
        name = entry.probe.begin(at)
        action = entry.probe.spec.get("exec")
        if not action:
            send_probe(entry.probe, entry.container.spec, self._on_outcome)
            return
        try:
            spec, log = self._command(entry.container, list(action.get("command") or ()))
        except (ConfigError, StartError, OSError):
            self.judge(name, at, ok=False)
            return
        self._runtime.start(name, spec, log)
