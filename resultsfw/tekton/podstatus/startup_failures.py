"""Why a pod will not come to run its Steps, as its status tells it: nowhere to go, or nothing to start."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resultsfw.cluster import Object
from resultsfw.pods import RESULTS_SIDECAR, native_sidecars
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.kinds import is_sidecar, is_step
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.podstatus.pod_state import (
    init_statuses,
    main_statuses,
    steps_may_have_started,
)

__all__ = ["Unscheduled", "cannot_start", "unscheduled", "unscheduled_too_long"]

_UNPULLABLE: Final = frozenset({"ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"})
"""Of images. ``ErrImagePull`` is not among them: the first try may fail and the next come right."""

_RECOVERS: Final = ("context deadline exceeded", "failed to create subPath directory", "failed to reserve")
"""In the message of a container that could not be created: the kubelet tries again, and may succeed. A
runtime under load, a directory that may still be made, a name that an attempt given up still holds."""

_TRIES: Final = 2
"""Restarts of a native results sidecar, before any Step began, after which it is not waited for."""


@dataclass(frozen=True, slots=True)
class Unscheduled:
    """What the scheduler says of a pod for which it finds no node.

    Attributes:
        since: When it said so first.
        message: Why there is none.
    """

    since: datetime
    message: str


def unscheduled(pod: Object) -> Unscheduled | None:
    """Return what the scheduler says of a pod for which it finds no node; ``None``: it has one, or is gated.

    Whoever set a scheduling gate (a queue of jobs, say) decides when it opens.
    """
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            since = parse_time(condition.get("lastTransitionTime"))
            if since is not None and condition.get("status") == "False":
                return Unscheduled(since, condition.get("message", ""))
    return None


def unscheduled_too_long(
    name: str, found: Unscheduled, after: float, now: datetime
) -> tuple[str, str] | None:
    """Return reason and message for a pod that has been without a node for too long.

    Args:
        name: Of the pod.
        found: What the scheduler says.
        after: Seconds; 0: as long as the run may take.
        now: The time.
    """
    if not after or now < found.since + timedelta(seconds=after):
        return None
    return reasons.UNSCHEDULABLE, (
        f'pod "{name}" found no node within {after:g} s: {found.message.rstrip(".")}. Make room for it or '
        f"let it ask for less; where nodes are added on demand, raise --unschedulable-after"
    )


def cannot_start(pod: Object) -> tuple[str, str] | None:
    """Reason and message, Tekton's where it has them, if a container can never start as the pod is written.

    Tekton looks at Steps and Sidecars only (checkPodFailed, pkg/reconciler/taskrun/taskrun.go), and a run
    whose init container cannot start waits for its timeout.
    """
    for status in _waiting(pod):
        waiting = status["state"]["waiting"]
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if any(words in message for words in _RECOVERS):
            continue
        where = f"the {_described(status['name'])} in TaskRun {_quoted(_run(pod))}"
        told = f'The pod errored with the message: "{message}."'
        if reason in _UNPULLABLE:
            image = _quoted(_image(pod, status["name"]))
            return reasons.IMAGE_PULL_FAILED, f"{where} failed to pull the image {image}. {told}"
        if reason == reasons.CONFIG_ERROR:
            return reason, f"{where} failed to start. {told}"
        if reason == "CreateContainerError":
            return reasons.POD_CREATION_FAILED, f"{where} failed to start. {told}"
        if reason == "FailedMount":  # the engine with no cluster; a kubelet tells it as an Event only
            return reason, f"{where} failed to start. {told}"
    return _crashing(pod)


def _waiting(pod: Object) -> Iterator[Object]:
    """Containers that wait and never ran, init containers first."""
    everyone = (*init_statuses(pod).values(), *main_statuses(pod).values())
    for one in everyone:
        if "waiting" in one.get("state", {}) and "terminated" not in one.get("lastState", {}):
            yield one


def _crashing(pod: Object) -> tuple[str, str] | None:
    """A native results sidecar that ends again and again, so that no Step can begin."""
    status = init_statuses(pod).get(RESULTS_SIDECAR, {})
    end = status.get("lastState", {}).get("terminated")
    if (
        RESULTS_SIDECAR not in native_sidecars(pod)
        or end is None
        or "waiting" not in status.get("state", {})
        or status.get("restartCount", 0) < _TRIES
        or steps_may_have_started(pod)
    ):
        return None
    said = "".join(f": {end[key]}" for key in ("reason", "message") if end.get(key))
    return "SidecarFailed", (
        f'native sidecar "{RESULTS_SIDECAR}" exited with code {end.get("exitCode", 0)}{said}, '
        f"{status['restartCount']} times, and no Step can begin without it; see its log, and image and "
        f"memory in config.sidecar-logs"
    )


def _described(container: str) -> str:
    """A container as Tekton names it in messages."""
    if is_step(container):
        return f"step {_quoted(container.removeprefix('step-'))}"
    if is_sidecar(container):
        return f"sidecar {_quoted(container.removeprefix('sidecar-'))}"
    return f"container {_quoted(container)}"


def _image(pod: Object, container: str) -> str:
    spec = pod["spec"]
    everyone = [*(spec.get("initContainers") or ()), *spec["containers"]]
    image: str = next((one.get("image", "") for one in everyone if one["name"] == container), "")
    return image


def _run(pod: Object) -> str:
    name: str = (pod["metadata"].get("labels") or {}).get("tekton.dev/taskRun", "")
    return name


def _quoted(name: str) -> str:
    return f'"{name}"'
