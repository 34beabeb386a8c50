"""Computes a pod's status from the states of its containers, as a kubelet reports it."""

import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.local.apiserver_rules import now
from resultsfw.local.step.message import MESSAGE_BYTES
from resultsfw.messages import POD_MESSAGE_BYTES
from resultsfw.tekton.podstatus.pod_state import PROCESS_ID

__all__ = [
    "NODE",
    "Container",
    "go_text",
    "message_budget",
    "new_id",
    "phase_of",
    "status_of",
    "termination_message",
]

_LOG_BYTES: Final = 2048
_LOG_LINES: Final = 80
NODE: Final = "this-machine"
_IP: Final = "127.0.0.1"


@dataclass(slots=True)
class Container:
    """One container of a pod and its state.

    Attributes:
        spec: The container in the pod's spec, with its present image.
        init: Whether it is an init container.
        id: Name of its process in the container runtime; a new one for each start.
        state: As in the status: ``waiting``, ``running`` or ``terminated``.
        last_state: Its state before the last restart.
        restarts: Number of restarts.
        image_replaced: Whether it is being stopped because its image was changed.
        start_requested: Whether its process was requested to start.
        startup_passed: Whether its startup probe succeeded; true without one.
        readiness_passed: Whether its readiness probe succeeded; true without one.
    """

    spec: Object
    init: bool
    id: str
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "PodInitializing"}})
    last_state: Object = field(default_factory=dict)
    restarts: int = 0
    image_replaced: bool = False
    start_requested: bool = False
    startup_passed: bool = True
    readiness_passed: bool = True

    @property
    def name(self) -> str:
        """Return the container's name."""
        name: str = self.spec["name"]
        return name

    @property
    def native_sidecar(self) -> bool:
        """Return whether it is an init container that runs beside the others (``restartPolicy: Always``)."""
        return self.init and self.spec.get("restartPolicy") == "Always"

    @property
    def running(self) -> bool:
        """Return whether its process runs."""
        return "running" in self.state

    @property
    def terminated(self) -> bool:
        """Return whether its process ended or could not be started."""
        return "terminated" in self.state

    @property
    def exit_code(self) -> int | None:
        """Return the exit code of its process; ``None`` before it ended."""
        code: int | None = self.state.get("terminated", {}).get("exitCode")
        return code

    @property
    def ready(self) -> bool:
        """Return whether it is ready; a container without probes is ready while it runs."""
        if self.init and not self.native_sidecar:
            return self.exit_code == 0
        return self.running and self.startup_passed and self.readiness_passed

    def set_running(self) -> None:
        """Set the state of a container whose process was started."""
        self.state = {"running": {"startedAt": now()}}

    def set_terminated(self, exit_code: int, reason: str, message: str = "") -> None:
        """Set the state of a container whose process ended or could not be started."""
        terminated: Object = {"exitCode": exit_code, "reason": reason}
        if message:
            terminated["message"] = message
        at = now()
        terminated["startedAt"] = self.state.get("running", {}).get("startedAt", at)
        terminated["finishedAt"] = at
        terminated["containerID"] = self.container_id
        self.state = {"terminated": terminated}

    @property
    def container_id(self) -> str:
        """Return the containerID for the status."""
        return f"{PROCESS_ID}{self.id}"


def new_id() -> str:
    """Return a new id for a process."""
    return secrets.token_hex(32)


def message_budget(pod: Object) -> int:
    """Return the bytes of termination message that arrive of each container of this pod.

    The kubelet reads 4096 (`getTerminationMessage`, pkg/kubelet/kuberuntime/kuberuntime_container.go) and
    cuts at the pod's 12288 divided by its containers, init containers included (`normalizeStatus`,
    pkg/kubelet/status/status_manager.go).
    """
    return min(MESSAGE_BYTES, _share(pod))


def _share(pod: Object) -> int:
    spec = pod["spec"]
    count = len(spec.get("containers") or ()) + len(spec.get("initContainers") or ())
    return POD_MESSAGE_BYTES // max(count, 1)


def termination_message(pod: Object, container: Object, file: Path, log: Path, exit_code: int) -> str:
    """Return the message as it arrives: the file's last 4096 bytes, cut to the container's share."""
    data = _tail(file, MESSAGE_BYTES)
    if not data and exit_code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        data = b"".join(_tail(log, _LOG_BYTES).splitlines(keepends=True)[-_LOG_LINES:])
    return go_text(data[: _share(pod)])


def _tail(file: Path, most: int) -> bytes:
    """Return the last bytes of a regular file; b"" of anything else that a Step put in its place."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return b""
    with open(descriptor, "rb", buffering=0) as opened:  # noqa: PTH123 - a descriptor
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            return b""
        opened.seek(max(facts.st_size - most, 0))
        return opened.read(most)


def go_text(data: bytes) -> str:
    """Return bytes as text as Go's JSON encoder does: U+FFFD for each byte that is not UTF-8.

    Python replaces several bytes of a broken character by one U+FFFD.
    """
    pieces: list[str] = []
    while data:
        try:
            pieces.append(data.decode())
            break
        except UnicodeDecodeError as error:
            pieces.append(data[: error.start].decode() + "\ufffd")
            data = data[error.start + 1 :]
    return "".join(pieces)


def status_of(
    pod: Object,
    containers: list[Container],
    old: Object,
    *,
    start_time: str,
    failure: tuple[str, str] | None = None,
) -> Object:
    """Return the status to report.

    Args:
        pod: The pod as stored.
        containers: In the order of the spec, init containers first.
        old: The status reported last, for the conditions' ``lastTransitionTime``.
        start_time: When the pod was admitted.
        failure: Reason and message if the pod failed as a whole.
    """
    init = [container for container in containers if container.init]
    main = [container for container in containers if not container.init]
    phase = phase_of(containers, failed=failure is not None)
    status: Object = {
        "observedGeneration": pod["metadata"].get("generation", 1),
        "phase": phase,
        "conditions": _conditions(pod, phase, init, main, old),
        "hostIP": _IP,
        "hostIPs": [{"ip": _IP}],
        "startTime": start_time,
    }
    if any(container.start_requested for container in containers):
        status |= {"podIP": _IP, "podIPs": [{"ip": _IP}]}
    if init:
        status["initContainerStatuses"] = [_container_status(container) for container in init]
    # The kubelet sorts these by name, and init containers in the order of the spec.
    status["containerStatuses"] = [
        _container_status(container) for container in sorted(main, key=lambda container: container.name)
    ]
    if failure and phase == "Failed":
        status |= {"reason": failure[0], "message": failure[1]}
    return status


def phase_of(containers: list[Container], *, failed: bool) -> str:
    """Return the pod's phase; ``failed``: the pod failed as a whole, which counts once no process runs."""
    init = [container for container in containers if container.init]
    main = [container for container in containers if not container.init]
    if all(container.terminated for container in containers if container.start_requested):
        if failed or any(container.exit_code for container in init if not container.native_sidecar):
            return "Failed"
        if main and all(container.terminated for container in main):
            return "Failed" if any(container.exit_code for container in main) else "Succeeded"
    if any(container.running or container.terminated for container in main):
        return "Running"
    return "Pending"


def _conditions(
    pod: Object, phase: str, init: list[Container], main: list[Container], old: Object
) -> list[Object]:
    finished = phase in ("Succeeded", "Failed")
    finished_reason = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "")
    incomplete = [container.name for container in init if not container.ready]
    unready = [container.name for container in main if not container.ready]
    initialized: tuple[bool, str, str] = (True, "PodCompleted" if phase == "Succeeded" else "", "")
    if incomplete and phase != "Succeeded":
        initialized = (
            False,
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(incomplete)}]",
        )
    ready: tuple[bool, str, str] = (True, "", "")
    if finished:
        ready = (False, finished_reason, "")
    elif unready or incomplete:
        ready = (False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    started = any(container.start_requested for container in (*init, *main))
    conditions = {
        "PodReadyToStartContainers": (started and not finished, "", ""),
        "Initialized": initialized,
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }
    before = {condition["type"]: condition for condition in old.get("conditions") or ()}
    return [
        _condition(kind, condition, before.get(kind, {}), pod["metadata"].get("generation", 1))
        for kind, condition in conditions.items()
    ]


def _condition(kind: str, computed: tuple[bool, str, str], before: Object, generation: int) -> Object:
    holds, reason, message = computed
    status = "True" if holds else "False"
    changed = before.get("status") != status
    condition: dict[str, Any] = {
        "type": kind,
        "observedGeneration": generation,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": now() if changed else before["lastTransitionTime"],
    }
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _container_status(container: Container) -> Object:
    status: Object = {
        "name": container.name,
        "state": container.state,
        "lastState": container.last_state,
        "ready": container.ready,
        "restartCount": container.restarts,
        "image": container.spec.get("image", ""),
        "imageID": "",
        "started": container.running and container.startup_passed,
    }
    if container.start_requested:
        status["containerID"] = container.container_id
    return status
