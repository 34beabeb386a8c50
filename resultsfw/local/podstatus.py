"""A pod's status as a kubelet reports it, from the states of its containers."""

import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from resultsfw.cluster import Object
from resultsfw.local.apirules import now
from resultsfw.local.step.message import MESSAGE_BYTES

__all__ = [
    "NODE",
    "POD_MESSAGE_BYTES",
    "Container",
    "go_text",
    "message_budget",
    "new_id",
    "phase_of",
    "status_of",
    "termination_message",
]

POD_MESSAGE_BYTES: Final = 12_288
"""Shared out among all containers of a pod (`MaxPodTerminationMessageLogLength`, container/runtime.go)."""

_LOG_BYTES: Final = 2048
_LOG_LINES: Final = 80
NODE: Final = "this-machine"
_IP: Final = "127.0.0.1"


@dataclass(slots=True)
class Container:
    """One container of a pod and what became of it.

    Attributes:
        spec: Of the container, its image as it now is.
        init: Whether it is an init container.
        id: Of its process with the keeper; another one each time it is started.
        state: As the status shows it: ``waiting``, ``running`` or ``terminated``.
        last: Its state before it was restarted.
        restarts: How often.
        replaced: Whether it is being ended because its image was changed.
        asked: Whether its start was asked for.
        begun: Whether its startup probe passed; true without one.
        passed: Whether its readiness probe passed; true without one.
    """

    spec: Object
    init: bool
    id: str
    state: Object = field(default_factory=lambda: {"waiting": {"reason": "PodInitializing"}})
    last: Object = field(default_factory=dict)
    restarts: int = 0
    replaced: bool = False
    asked: bool = False
    begun: bool = True
    passed: bool = True

    @property
    def name(self) -> str:
        """Its name in the pod."""
        name: str = self.spec["name"]
        return name

    @property
    def native_sidecar(self) -> bool:
        """Whether it is an init container that keeps running beside the others."""
        return self.init and self.spec.get("restartPolicy") == "Always"

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return "running" in self.state

    @property
    def ended(self) -> bool:
        """Whether its process ended, or could not be started."""
        return "terminated" in self.state

    @property
    def exit_code(self) -> int | None:
        """Of its process, once it ended."""
        code: int | None = self.state.get("terminated", {}).get("exitCode")
        return code

    @property
    def ready(self) -> bool:
        """As the status says it; what runs and has no probe is ready."""
        if self.init and not self.native_sidecar:
            return self.exit_code == 0
        return self.running and self.begun and self.passed

    def set_running(self) -> None:
        """Its process was started."""
        self.state = {"running": {"startedAt": now()}}

    def set_terminated(self, exit_code: int, reason: str, message: str = "") -> None:
        """Its process ended, or could not be started."""
        ended: Object = {"exitCode": exit_code, "reason": reason}
        if message:
            ended["message"] = message
        at = now()
        ended["startedAt"] = self.state.get("running", {}).get("startedAt", at)
        ended["finishedAt"] = at
        ended["containerID"] = self.container_id
        self.state = {"terminated": ended}

    @property
    def container_id(self) -> str:
        """As a runtime names it."""
        return f"process://{self.id}"


def new_id() -> str:
    """An id for a container's process."""
    return secrets.token_hex(32)


def message_budget(pod: Object) -> int:
    """Bytes of termination message that arrive of each container of this pod.

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
    """A container's message as it arrives: the file's last 4096 bytes, of those the first of its share."""
    data = _tail(file, MESSAGE_BYTES)
    if not data and exit_code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
        data = b"".join(_tail(log, _LOG_BYTES).splitlines(keepends=True)[-_LOG_LINES:])
    return go_text(data[: _share(pod)])


def _tail(file: Path, most: int) -> bytes:
    """The last bytes of a regular file; a Step may have put anything in its place."""
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
    """Bytes as text the way Go's JSON makes it: U+FFFD for each byte that is not UTF-8.

    Python's own replacement takes several bytes of a broken character at once.
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
    """The status to report.

    Args:
        pod: As the store has it.
        containers: In the order of the spec, init containers first.
        old: The status last reported; conditions keep the time of their last transition.
        start_time: When the pod was taken on.
        failure: Reason and message, where the pod failed as a whole.
    """
    init = [one for one in containers if one.init]
    main = [one for one in containers if not one.init]
    phase = phase_of(containers, failed=failure is not None)
    status: Object = {
        "observedGeneration": pod["metadata"].get("generation", 1),
        "phase": phase,
        "conditions": _conditions(pod, phase, init, main, old),
        "hostIP": _IP,
        "hostIPs": [{"ip": _IP}],
        "startTime": start_time,
    }
    if any(one.asked for one in containers):
        status |= {"podIP": _IP, "podIPs": [{"ip": _IP}]}
    if init:
        status["initContainerStatuses"] = [_container_status(one) for one in init]
    # The kubelet sorts these by name, and those by the spec.
    status["containerStatuses"] = [_container_status(one) for one in sorted(main, key=lambda one: one.name)]
    if failure and phase == "Failed":
        status |= {"reason": failure[0], "message": failure[1]}
    return status


def phase_of(containers: list[Container], *, failed: bool) -> str:
    """The pod's phase; ``failed`` says that the pod failed as a whole. It is over when no process runs."""
    init = [one for one in containers if one.init]
    main = [one for one in containers if not one.init]
    if all(one.ended for one in containers if one.asked):
        if failed or any(one.exit_code for one in init if not one.native_sidecar):
            return "Failed"
        if main and all(one.ended for one in main):
            return "Failed" if any(one.exit_code for one in main) else "Succeeded"
    if any(one.running or one.ended for one in main):
        return "Running"
    return "Pending"


def _conditions(
    pod: Object, phase: str, init: list[Container], main: list[Container], old: Object
) -> list[Object]:
    over = phase in ("Succeeded", "Failed")
    ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase, "")
    incomplete = [one.name for one in init if not one.ready]
    unready = [one.name for one in main if not one.ready]
    initialized: tuple[bool, str, str] = (True, "PodCompleted" if phase == "Succeeded" else "", "")
    if incomplete and phase != "Succeeded":
        initialized = (
            False,
            "ContainersNotInitialized",
            f"containers with incomplete status: [{' '.join(incomplete)}]",
        )
    ready: tuple[bool, str, str] = (True, "", "")
    if over:
        ready = (False, ended, "")
    elif unready or incomplete:
        ready = (False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    started = any(one.asked for one in (*init, *main))
    facts = {
        "PodReadyToStartContainers": (started and not over, "", ""),
        "Initialized": initialized,
        "Ready": ready,
        "ContainersReady": ready,
        "PodScheduled": (True, "", ""),
    }
    before = {one["type"]: one for one in old.get("conditions") or ()}
    return [
        _condition(kind, fact, before.get(kind, {}), pod["metadata"].get("generation", 1))
        for kind, fact in facts.items()
    ]


def _condition(kind: str, fact: tuple[bool, str, str], before: Object, generation: int) -> Object:
    holds, reason, message = fact
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
        "lastState": container.last,
        "ready": container.ready,
        "restartCount": container.restarts,
        "image": container.spec.get("image", ""),
        "imageID": "",
        "started": container.running and container.begun,
    }
    if container.asked:
        status["containerID"] = container.container_id
    return status
