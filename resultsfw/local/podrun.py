"""The life of one pod: which container starts when, what ends it, what its status says."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from resultsfw.cluster import Cluster, Object
from resultsfw.local import podstatus
from resultsfw.local.apirules import DEFAULT_GRACE, now
from resultsfw.local.environment import ConfigError, Start, StartError, start_of
from resultsfw.local.podstatus import Container
from resultsfw.local.probing import Probing
from resultsfw.local.volumes import MountError, PodFolder

__all__ = ["PodRun", "Processes"]

_SIGNAL_BASE: Final = 128
_START_ERROR: Final = 128
"""Exit code that containerd gives a container whose process could not be started."""

_LOST: Final = 137
"""Exit code that a kubelet gives a container it cannot find any more."""

_BACK_OFF: Final = 10
"""Seconds before the second restart of a native sidecar; they double each time."""

_LONGEST: Final = 300
"""Seconds between two restarts at most."""

_LEAST_GRACE: Final = 2
"""Seconds that a native sidecar gets at least (`minimumGracePeriodInSeconds`, kuberuntime_container.go)."""

_DEADLINE: Final = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


class Processes(Protocol):
    """What starts and signals processes; what becomes of them comes back as events."""

    def start(self, name: str, start: Start, log: Path) -> None:
        """Start a process under a name that no other has."""
        ...

    def signal(self, name: str, number: int) -> None:
        """Signal a process and its group; one that ended is left alone."""
        ...


class PodRun:
    """One pod on this machine. Not safe for threads; the kubelet's loop alone drives it.

    Args:
        pod: As the store has it.
        base: The folder for everything of it, not there yet.
        cluster: For ConfigMaps and Secrets.
        processes: To start and signal.
        register_log: Called with a container's name and its log when it starts.
        tell_budget: Whether our entrypoint is told what the kubelet leaves of a message.
        services: Variables by which its containers find the cluster's services.
        tell: Called on another thread with the outcome of a probe.
    """

    def __init__(
        self,
        pod: Object,
        base: Path,
        cluster: Cluster,
        processes: Processes,
        register_log: Callable[[str, Path], None],
        *,
        tell_budget: bool,
        services: Mapping[str, str] | None = None,
        tell: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self._probing = Probing(
            processes, self._probe_command, lambda container: self._stop(container, self._grace), tell
        )
        self.pod = pod
        self.folder = PodFolder(base)
        self.reported: Object = {}
        self.gone = False
        self._cluster = cluster
        self._processes = processes
        self._register_log = register_log
        self._services = services or {}
        self._budget = podstatus.message_budget(pod) if tell_budget else None
        self._start_time = now()
        self._began = time.monotonic()
        self._failure: tuple[str, str] | None = None
        self._ending = False
        self._over = False
        self._kill_at: dict[str, float] = {}
        self._turn_at: dict[str, float] = {}
        self._start_at: dict[str, float] = {}
        self._mounted = False
        spec = pod["spec"]
        self.containers = [
            Container(container, init, podstatus.new_id())
            for init, listed in ((True, spec.get("initContainers")), (False, spec.get("containers")))
            for container in listed or ()
        ]

    @property
    def uid(self) -> str:
        """Of the pod."""
        uid: str = self.pod["metadata"]["uid"]
        return uid

    @property
    def at_rest(self) -> bool:
        """Whether no process of it runs, nor will."""
        return (self._ending or self.over) and all(one.ended for one in self.containers if one.asked)

    @property
    def over(self) -> bool:
        """Whether its phase is one that does not change any more."""
        if not self._over:
            phase = podstatus.phase_of(self.containers, failed=self._failure is not None)
            self._over = phase in ("Succeeded", "Failed")
        return self._over

    @property
    def idle(self) -> bool:
        """Whether it takes no room on the machine: it is over, or cannot begin."""
        stuck = ("FailedMount", "CreateContainerConfigError")
        return self.over or any(
            one.state.get("waiting", {}).get("reason") in stuck for one in self.containers
        )

    @property
    def deleted(self) -> bool:
        """Whether its deletion was asked for."""
        return self.gone or self.pod["metadata"].get("deletionTimestamp") is not None

    def status(self) -> Object:
        """To be reported."""
        return podstatus.status_of(
            self.pod, self.containers, self.reported, start_time=self._start_time, failure=self._failure
        )

    def mount(self) -> None:
        """Make its folders. Where that fails its containers wait, and say why."""
        try:
            self.folder.make(self.pod, self._cluster)
        except (MountError, OSError) as error:
            for container in self.containers:
                container.state = {"waiting": {"reason": "FailedMount", "message": str(error)}}
            return
        self._mounted = True

    def update(self, pod: Object) -> None:
        """The pod changed in the store."""
        self.pod = pod
        if self._mounted:
            self.folder.refresh(pod)
        spec = pod["spec"]
        by_name = {one["name"]: one for one in (*(spec.get("initContainers") or ()), *spec["containers"])}
        for container in self.containers:
            new = by_name[container.name]
            if container.asked and not container.ended and new.get("image") != container.spec.get("image"):
                # How Tekton stops a Sidecar: a node starts it again with an image that does nothing.
                container.replaced = True
                self._stop(container, self._grace)
            container.spec = new
        if self.deleted:
            self.end(int(pod["metadata"].get("deletionGracePeriodSeconds") or 0))

    def end(self, grace: float) -> None:
        """Start nothing more; end what runs, after ``grace`` seconds by SIGKILL.

        A native sidecar's turn comes when the others have ended, or when the grace is over.
        """
        first = not self._ending
        self._ending = True
        at = time.monotonic()
        for container in self.containers:
            if container.native_sidecar and grace > 0 and container.id not in self._kill_at:
                if container.asked and not container.ended:
                    self._turn_at[container.id] = min(at + grace, self._turn_at.get(container.id, at + grace))
            elif first or container.id in self._kill_at:
                self._stop(container, grace)
        self._give_turns(at)

    def advance(self) -> None:
        """Start what is to be started now, and end what has no one left to serve."""
        if self._ending or not self._mounted:
            return
        main = [one for one in self.containers if not one.init]
        if not self._served:
            for container in self.containers:
                if container.init and not self._pass(container):
                    return
        for container in main:
            if not container.asked:
                self._start(container)
        if self._served:
            for container in reversed(self.containers):
                if container.native_sidecar and container.running and container.id not in self._kill_at:
                    self._stop(container, self._grace)

    def due(self) -> float | None:
        """When `tick` has something to do, on the monotonic clock."""
        times = [*self._kill_at.values(), *self._turn_at.values()]
        if not (self._ending or self._served):
            times += self._start_at.values()
            times += self._probing.due
        if (deadline := self._deadline) is not None:
            times.append(deadline)
        return min(times, default=None)

    def tick(self, at: float) -> None:
        """Do what is due."""
        for container in self.containers:
            if self._kill_at.get(container.id, at + 1) <= at:
                del self._kill_at[container.id]
                self._processes.signal(container.id, signal.SIGKILL)
        self._give_turns(at)
        if not (self._ending or self._served):
            self._probing.tick(at)
        if (deadline := self._deadline) is not None and deadline <= at:
            self._failure = _DEADLINE
            self.end(self._grace)

    def started(self, name: str) -> None:
        """A container's process was started."""
        if self._probing.is_under_way(name):
            return
        container = self._by_id(name)
        if container is None:
            return
        container.set_running()
        self._probing.begin(container, time.monotonic())
        if container.replaced or (self._ending and container.id not in self._turn_at):
            self._stop(container, self._grace)

    def failed(self, name: str, why: str) -> None:
        """A container's process could not be started."""
        if self.probed(name, ok=False):
            return
        container = self._by_id(name)
        if container is None:
            return
        self._say(container, f"cannot be started: {why}")
        self._start_again(container)

    def ended(self, name: str, wait_status: int) -> None:
        """A container's process ended, or the command of a probe."""
        if self.probed(name, ok=os.waitstatus_to_exitcode(wait_status) == 0):
            return
        container = self._by_id(name)
        if container is None:
            return
        self._probing.forget(container)
        self._kill_at.pop(container.id, None)
        code = os.waitstatus_to_exitcode(wait_status)
        if code < 0:
            code = _SIGNAL_BASE - code
        message = podstatus.termination_message(
            self.pod,
            container.spec,
            self.folder.termination(container.name),
            self._log(container),
            code,
        )
        container.set_terminated(code, "Error" if code else "Completed", message)
        self._give_turns(time.monotonic())
        self._start_again(container)
        if container.replaced and not self._ending:
            container.last, container.restarts, container.replaced = (
                container.state,
                container.restarts + 1,
                False,
            )
            container.state = {}
            container.set_terminated(0, "Completed")

    @property
    def names(self) -> Iterator[str]:
        """Names of its processes, those of probes among them."""
        yield from (container.id for container in self.containers)
        yield from self._probing.names

    def probed(self, name: str, *, ok: bool) -> bool:
        """An attempt of a probe ended; whether it is one."""
        return self._probing.judge(name, time.monotonic(), ok=ok)

    def fail(self, reason: str, message: str) -> None:
        """The pod as a whole cannot go on: end it at once."""
        self._failure = (reason, message)
        self.end(0)

    def lost(self, why: str) -> None:
        """Its processes are gone, and no one knows how they ended."""
        for container in self.containers:
            if container.asked and not container.ended:
                container.set_terminated(_LOST, "ContainerStatusUnknown", why)

    @property
    def _served(self) -> bool:
        """Whether native sidecars have no one left to serve."""
        main = [one for one in self.containers if not one.init]
        return bool(main) and all(one.ended for one in main)

    def _give_turns(self, at: float) -> None:
        """SIGTERM to native sidecars, once nothing runs that they could serve, or they waited long enough."""
        others = any(one.asked and not one.ended for one in self.containers if not one.native_sidecar)
        for container in reversed(self.containers):
            turn = self._turn_at.get(container.id)
            if turn is not None and (turn <= at or not others):
                del self._turn_at[container.id]
                self._stop(container, max(turn - at, _LEAST_GRACE))

    @property
    def _grace(self) -> float:
        asked = self.pod["metadata"].get("deletionGracePeriodSeconds")
        if asked is None:
            asked = self.pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE)
        return float(asked)

    @property
    def _deadline(self) -> float | None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        return None if seconds is None or self._ending or self.over else self._began + float(seconds)

    def _by_id(self, name: str) -> Container | None:
        """The container of a process; ``None`` for that of a probe that was given up."""
        return next((one for one in self.containers if one.id == name), None)

    def _probe_command(self, container: Container, command: list[str]) -> tuple[Start, Path]:
        """What to start for a command in a container, and where its output goes."""
        start = start_of(
            self.pod,
            {**container.spec, "command": command, "args": []},
            self.folder,
            self._cluster,
            budget=self._budget,
            services=self._services,
        )
        return start, self._log(container).with_name("log.probe")

    def _pass(self, container: Container) -> bool:
        """Whether what comes after that init container may start; starts it where its turn has come."""
        if not container.asked and self._start_at.get(container.name, 0) <= time.monotonic():
            self._start(container)
        if container.native_sidecar:
            return container.running
        return container.exit_code == 0

    def _start(self, container: Container) -> None:
        try:
            start = start_of(
                self.pod,
                container.spec,
                self.folder,
                self._cluster,
                budget=self._budget,
                services=self._services,
            )
        except ConfigError as error:
            container.state = {"waiting": {"reason": "CreateContainerConfigError", "message": str(error)}}
            return
        except (StartError, OSError) as error:
            self._say(container, str(error))
            self._start_again(container)
            return
        self._start_at.pop(container.name, None)
        container.asked = True
        container.begun = not container.spec.get("startupProbe")
        container.passed = not container.spec.get("readinessProbe")
        log = self._log(container)
        log.touch()
        self._register_log(container.name, log)
        self._processes.start(container.id, start, log)

    def _start_again(self, container: Container) -> None:
        """A native sidecar that ended and is still needed: at once the first time, then more and more late.

        Its log begins anew, as a node gives the log of the process that runs.
        """
        if not container.native_sidecar or container.replaced or self._ending or self._served:
            return
        container.last, container.restarts = container.state, container.restarts + 1
        pause = 0 if container.restarts == 1 else min(_BACK_OFF * 2 ** (container.restarts - 2), _LONGEST)
        self._start_at[container.name] = time.monotonic() + pause
        why = f"back-off {pause}s restarting failed container={container.name}"
        container.state = {"waiting": {"reason": "CrashLoopBackOff", "message": why}}
        container.id, container.asked = podstatus.new_id(), False

    def _log(self, container: Container) -> Path:
        log = self.folder.log(container.name)
        return log.with_name(f"log.{container.restarts}") if container.restarts else log

    def _say(self, container: Container, why: str) -> None:
        """A process that cannot be started: the log says it too, as that is where people look."""
        container.asked = True
        log = self._log(container)
        with log.open("a", encoding="utf-8") as opened:
            opened.write(f"{why}\n")
        self._register_log(container.name, log)
        container.set_terminated(_START_ERROR, "StartError", why)

    def _stop(self, container: Container, grace: float) -> None:
        """SIGTERM, unless that was sent, and SIGKILL after the grace."""
        if not container.asked or container.ended:
            return
        until = time.monotonic() + grace
        if container.id in self._kill_at:
            self._kill_at[container.id] = min(until, self._kill_at[container.id])
            return
        self._kill_at[container.id] = until
        self._processes.signal(container.id, signal.SIGTERM)
