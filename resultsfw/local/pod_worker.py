"""Drives one pod, as a kubelet's pod worker does: starts and stops its containers and keeps their states."""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from resultsfw.cluster import Cluster, Object
from resultsfw.local import pod_status
from resultsfw.local.apiserver_rules import DEFAULT_GRACE, now
from resultsfw.local.claims import ClaimFolders
from resultsfw.local.container_paths import show_paths, with_real_paths
from resultsfw.local.container_runtime import Runtime
from resultsfw.local.container_stopper import ContainerStopper, all_terminated
from resultsfw.local.pod_status import Container
from resultsfw.local.probe_manager import ProbeManager
from resultsfw.local.process_spec import ConfigError, ProcessSpec, StartError, build_process_spec
from resultsfw.local.volumes import MountError, PodFolder
from resultsfw.pods import RESULTS_SIDECAR

__all__ = ["PodWorker"]

log = logging.getLogger(__name__)

_WRITABLE: Final = (
    "this machine allows no mount namespaces: Steps can write where their mounts are read-only, which a "
    "cluster refuses"
)

_SIGNAL_BASE: Final = 128
_START_ERROR: Final = 128
"""Exit code that containerd gives a container whose process could not be started."""

_LOST: Final = 137
"""Exit code that a kubelet gives a container that it no longer finds."""

_FIRST_BACK_OFF: Final = 10
"""Seconds before the second restart of a native sidecar; doubled for each further restart."""

_LONGEST_BACK_OFF: Final = 300
"""Most seconds between two restarts."""

_DEADLINE: Final = ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


class PodWorker:
    """Runs one pod on this machine. Not safe for threads: only the kubelet's loop calls it.

    Args:
        pod: The pod as stored.
        base: Folder for everything of the pod; it must not exist yet.
        cluster: Where ConfigMaps and Secrets are read.
        runtime: Starts and signals the containers' processes.
        register_log: Called with a container's name and the path of its log when the container starts.
        pass_budget: Whether the entrypoint is passed the bytes that the kubelet leaves of a message.
        claims: Folders of the PersistentVolumeClaims, which all pods share.
        services: Environment variables by which containers find the cluster's services.
        on_probe: Called on another thread with the outcome of a probe.
    """

    def __init__(
        self,
        pod: Object,
        base: Path,
        cluster: Cluster,
        runtime: Runtime,
        register_log: Callable[[str, Path], None],
        *,
        pass_budget: bool,
        claims: ClaimFolders,
        services: Mapping[str, str] | None = None,
        on_probe: Callable[[dict[str, Any]], None] = lambda _: None,
    ) -> None:
        self.pod = pod
        self.folder = PodFolder(base, claims)
        self.reported: Object = {}
        self.gone = False
        self._cluster = cluster
        self._runtime = runtime
        self._register_log = register_log
        self._services = services or {}
        self._budget = pod_status.message_budget(pod) if pass_budget else None
        self._start_time = now()
        self._started_at = time.monotonic()
        self._failure: tuple[str, str] | None = None
        self._terminating = False
        self._finished = False
        self._restart_at: dict[str, float] = {}
        self._mounted = False
        spec = pod["spec"]
        self.containers = [
            Container(container, init, pod_status.new_id())
            for init, listed in ((True, spec.get("initContainers")), (False, spec.get("containers")))
            for container in listed or ()
        ]
        self._stopper = ContainerStopper(runtime, self.containers)
        self._probes = ProbeManager(runtime, self._probe_command, self._stop, on_probe)

    @property
    def uid(self) -> str:
        """Return the pod's uid."""
        uid: str = self.pod["metadata"]["uid"]
        return uid

    @property
    def has_stopped(self) -> bool:
        """Return whether no process of the pod runs or will be started."""
        return (self._terminating or self.finished) and all_terminated(self.containers)

    @property
    def finished(self) -> bool:
        """Return whether the pod's phase is "Succeeded" or "Failed", which are final."""
        if not self._finished:
            phase = pod_status.phase_of(self.containers, failed=self._failure is not None)
            self._finished = phase in ("Succeeded", "Failed")
        return self._finished

    @property
    def idle(self) -> bool:
        """Return whether the pod needs none of the node's capacity: it has finished, or cannot start."""
        stuck = ("FailedMount", "CreateContainerConfigError")
        return self.finished or any(
            container.state.get("waiting", {}).get("reason") in stuck for container in self.containers
        )

    @property
    def deleted(self) -> bool:
        """Return whether the pod's deletion was requested."""
        return self.gone or self.pod["metadata"].get("deletionTimestamp") is not None

    def status(self) -> Object:
        """Return the status to report."""
        return pod_status.status_of(
            self.pod, self.containers, self.reported, start_time=self._start_time, failure=self._failure
        )

    def mount(self) -> None:
        """Create the folders of the pod's volumes. If that fails, the containers wait with the reason."""
        try:
            self.folder.make(self.pod, self._cluster)
        except (MountError, OSError) as error:
            for container in self.containers:
                container.state = {
                    "waiting": {"reason": "FailedMount", "message": self._shown(container, str(error))}
                }
            return
        self._mounted = True

    def update(self, pod: Object) -> None:
        """Take in a change of the stored pod."""
        self.pod = pod
        if self._mounted:
            self.folder.refresh(pod)
        spec = pod["spec"]
        specs = {
            container["name"]: container
            for container in (*(spec.get("initContainers") or ()), *spec["containers"])
        }
        for container in self.containers:
            new = specs[container.name]
            if (
                container.start_requested
                and not container.terminated
                and new.get("image") != container.spec.get("image")
            ):
                # Tekton stops a Sidecar this way: the kubelet restarts it with an image that exits at once.
                container.image_replaced = True
                self._stop(container)
            container.spec = new
        if self.deleted:
            self.terminate(int(pod["metadata"].get("deletionGracePeriodSeconds") or 0))

    def terminate(self, grace: float) -> None:
        """Start no more containers; stop those that run, after ``grace`` seconds with SIGKILL.

        Native sidecars are stopped after all other containers, or when the grace period is over.
        """
        again, self._terminating = self._terminating, True
        self._stopper.stop_all(grace, again=again)

    def advance(self) -> None:
        """Start the containers whose turn it is; stop native sidecars once all others have terminated."""
        if self._terminating or not self._mounted:
            return
        main = [container for container in self.containers if not container.init]
        if not self._main_terminated:
            for container in self.containers:
                if container.init and not self._allows_next(container):
                    return
        for container in main:
            if not container.start_requested:
                self._start(container)
        if self._main_terminated:
            for container in reversed(self.containers):
                if (
                    container.native_sidecar
                    and container.running
                    and not self._stopper.is_stopping(container)
                ):
                    self._stop(container)

    def due(self) -> float | None:
        """Return when `tick` has something to do, on the monotonic clock; ``None`` if never."""
        times = self._stopper.due
        if not (self._terminating or self._main_terminated):
            times += self._restart_at.values()
            times += self._probes.due
        if (deadline := self._deadline) is not None:
            times.append(deadline)
        return min(times, default=None)

    def tick(self, at: float) -> None:
        """Do everything that is due."""
        self._stopper.tick(at)
        if not (self._terminating or self._main_terminated):
            self._probes.tick(at)
        if (deadline := self._deadline) is not None and deadline <= at:
            self._failure = _DEADLINE
            self.terminate(self._grace_period)

    def on_started(self, name: str) -> None:
        """Take in that the process of a container was started."""
        if self._probes.is_attempt(name):
            return
        container = self._by_id(name)
        if container is None:
            return
        container.set_running()
        self._probes.begin(container, time.monotonic())
        if container.image_replaced or (self._terminating and not self._stopper.awaits_others(container)):
            self._stop(container)

    def on_start_failed(self, name: str, why: str) -> None:
        """Take in that the process of a container could not be started."""
        if self.on_probed(name, ok=False):
            return
        container = self._by_id(name)
        if container is None:
            return
        self._fail_start(container, f"cannot be started: {why}")
        self._restart(container)

    def on_ended(self, name: str, wait_status: int) -> None:
        """Take in that the process of a container, or the command of a probe, ended."""
        if self.on_probed(name, ok=os.waitstatus_to_exitcode(wait_status) == 0):
            return
        container = self._by_id(name)
        if container is None:
            return
        self._probes.forget(container)
        self._stopper.on_terminated(container)
        pairs = self.folder.read_only(container.name)
        # Nobody's program is in the results sidecar: there it makes no difference.
        if container.name != RESULTS_SIDECAR and any(target.is_symlink() for _, target in pairs):
            log.warning("%s", _WRITABLE)
        code = os.waitstatus_to_exitcode(wait_status)
        if code < 0:
            code = _SIGNAL_BASE - code
        message = pod_status.termination_message(
            self.pod,
            container.spec,
            self.folder.termination(container.name),
            self._log(container),
            code,
        )
        container.set_terminated(code, "Error" if code else "Completed", message)
        self._stopper.stop_sidecars(time.monotonic())
        self._restart(container)
        if container.image_replaced and not self._terminating:
            container.last_state, container.restarts, container.image_replaced = (
                container.state,
                container.restarts + 1,
                False,
            )
            container.state = {}
            container.set_terminated(0, "Completed")

    @property
    def names(self) -> Iterator[str]:
        """Yield the names of the pod's processes, including commands of probes."""
        yield from (container.id for container in self.containers)
        yield from self._probes.names

    def on_probed(self, name: str, *, ok: bool) -> bool:
        """Take in the outcome of a probe; return whether ``name`` is that of a probe."""
        return self._probes.judge(name, time.monotonic(), ok=ok)

    def fail(self, reason: str, message: str) -> None:
        """Fail the pod and stop its containers at once."""
        self._failure = (reason, message)
        self.terminate(0)

    def on_runtime_lost(self, why: str) -> None:
        """Take in that the containers' processes are gone, and that nothing tells how they ended."""
        for container in self.containers:
            if container.start_requested and not container.terminated:
                container.set_terminated(_LOST, "ContainerStatusUnknown", why)

    @property
    def _main_terminated(self) -> bool:
        """Return whether all containers but init containers have terminated."""
        main = [container for container in self.containers if not container.init]
        return bool(main) and all(container.terminated for container in main)

    @property
    def _grace_period(self) -> float:
        asked = self.pod["metadata"].get("deletionGracePeriodSeconds")
        if asked is None:
            asked = self.pod["spec"].get("terminationGracePeriodSeconds", DEFAULT_GRACE)
        return float(asked)

    @property
    def _deadline(self) -> float | None:
        seconds = self.pod["spec"].get("activeDeadlineSeconds")
        return (
            None
            if seconds is None or self._terminating or self.finished
            else self._started_at + float(seconds)
        )

    def _by_id(self, name: str) -> Container | None:
        """Return the container of a process; ``None`` for a probe that was given up."""
        return next((container for container in self.containers if container.id == name), None)

    def _probe_command(self, container: Container, command: list[str]) -> tuple[ProcessSpec, Path]:
        """Return the process of a command in a container, and the file for its output."""
        start = build_process_spec(
            self.pod,
            {**container.spec, "command": command, "args": []},
            self.folder,
            self._cluster,
            budget=self._budget,
            services=self._services,
        )
        return start, self._log(container).with_name("log.probe")

    def _allows_next(self, container: Container) -> bool:
        """Start an init container if it is due; return whether the next container may start."""
        if not container.start_requested and self._restart_at.get(container.name, 0) <= time.monotonic():
            self._start(container)
        if container.native_sidecar:
            return container.running and container.startup_passed
        return container.exit_code == 0

    def _start(self, container: Container) -> None:
        try:
            start = build_process_spec(
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
            self._fail_start(container, str(error))
            self._restart(container)
            return
        self._restart_at.pop(container.name, None)
        container.start_requested = True
        container.startup_passed = not container.spec.get("startupProbe")
        container.readiness_passed = not container.spec.get("readinessProbe")
        log = self._log(container)
        log.touch()
        self._register_log(container.name, log)
        self._runtime.start(container.id, start, log)

    def _restart(self, container: Container) -> None:
        """Restart a native sidecar that is still needed: at once the first time, then after a back-off.

        It gets a new log, as a kubelet serves the log of the running process.
        """
        if (
            not container.native_sidecar
            or container.image_replaced
            or self._terminating
            or self._main_terminated
        ):
            return
        container.last_state, container.restarts = container.state, container.restarts + 1
        pause = (
            0
            if container.restarts == 1
            else min(_FIRST_BACK_OFF * 2 ** (container.restarts - 2), _LONGEST_BACK_OFF)
        )
        self._restart_at[container.name] = time.monotonic() + pause
        message = f"back-off {pause}s restarting failed container={container.name}"
        container.state = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
        container.id, container.start_requested = pod_status.new_id(), False

    def _log(self, container: Container) -> Path:
        log = self.folder.log(container.name)
        return log.with_name(f"log.{container.restarts}") if container.restarts else log

    def _fail_start(self, container: Container, why: str) -> None:
        """Terminate a container that cannot be started, and write the reason to its log, too."""
        why = self._shown(container, why)
        container.start_requested = True
        log = self._log(container)
        with log.open("a", encoding="utf-8") as opened:
            opened.write(f"{why}\n")
        self._register_log(container.name, log)
        container.set_terminated(_START_ERROR, "StartError", why)

    def _shown(self, container: Container, why: str) -> str:
        """Return a message with the container's paths in place of this machine's."""
        return show_paths(why, with_real_paths(self.folder.container_paths(container.name)))

    def _stop(self, container: Container) -> None:
        self._stopper.stop(container, self._grace_period)
