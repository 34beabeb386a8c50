"""The probes of one pod's containers: when each is made, and what its outcome changes."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resultsfw.local.environment import ConfigError, Start, StartError
from resultsfw.local.podstatus import Container
from resultsfw.local.probes import Probe, ask

if TYPE_CHECKING:
    from resultsfw.local.podrun import Processes

__all__ = ["Probing"]


@dataclass(frozen=True, slots=True)
class _Probed:
    container: Container
    kind: str
    probe: Probe


class Probing:
    """Probes containers that run: first their start, if they say how, then whether they are ready.

    Args:
        processes: To run commands.
        command: What to start for a command in a container, and where its output goes.
        end: Ends a container whose start did not pass.
        tell: Called on another thread with the outcome of a probe that is no command.
    """

    def __init__(
        self,
        processes: "Processes",
        command: Callable[[Container, list[str]], tuple[Start, Path]],
        end: Callable[[Container], None],
        tell: Callable[[dict[str, Any]], None],
    ) -> None:
        self._processes = processes
        self._command = command
        self._end = end
        self._tell = tell
        self._probed: dict[str, _Probed] = {}

    @property
    def names(self) -> Iterator[str]:
        """Names of the attempts that are under way."""
        return (one.probe.id for one in self._probed.values() if one.probe.id)

    @property
    def due(self) -> Iterator[float]:
        """When something is to be done, on the monotonic clock."""
        return (one.probe.due for one in self._probed.values())

    def begin(self, container: Container, at: float) -> None:
        """Probe a container that was started, or whose start passed."""
        for kind, passed in (("startupProbe", container.begun), ("readinessProbe", container.passed)):
            if container.spec.get(kind) and not passed and not container.replaced:
                self._probed[container.id] = _Probed(container, kind, Probe.of(container.spec[kind], at))
                return

    def forget(self, container: Container) -> None:
        """Probe a container no more: it ended."""
        self._probed.pop(container.id, None)

    def tick(self, at: float) -> None:
        """Begin the attempts that are due, and give up those that take too long."""
        for one in [one for one in self._probed.values() if one.probe.due <= at]:
            if one.probe.id:
                self._processes.signal(one.probe.id, signal.SIGKILL)
                self.judge(one.probe.id, at, ok=False)
            else:
                self._attempt(one, at)

    def judge(self, name: str, at: float, *, ok: bool) -> bool:
        """Take the outcome of an attempt; return whether it is one, given up meanwhile or not."""
        one = next((one for one in self._probed.values() if one.probe.id == name), None)
        if one is None:
            return False
        verdict, container = one.probe.judge(at, ok=ok), one.container
        if one.kind == "readinessProbe":
            container.passed = container.passed if verdict is None else verdict
        elif verdict is not None:
            self.forget(container)
            container.begun = verdict
            if verdict:
                self.begin(container, at)
            else:
                self._end(container)
        return True

    def is_under_way(self, name: str) -> bool:
        """Return whether a name is that of an attempt."""
        return name in self.names

    def _attempt(self, one: _Probed, at: float) -> None:
        name = one.probe.begin(at)
        action = one.probe.spec.get("exec")
        if not action:
            ask(one.probe, one.container.spec, self._tell)
            return
        try:
            start, log = self._command(one.container, list(action.get("command") or ()))
        except (ConfigError, StartError, OSError):
            self.judge(name, at, ok=False)
            return
        self._processes.start(name, start, log)
