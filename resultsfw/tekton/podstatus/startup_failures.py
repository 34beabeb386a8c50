"""Tell from a pod's status why its Steps will never start: no node, or a container that cannot start."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from resultsfw.cluster import Object
from resultsfw.pods import RESULTS_SIDECAR, container_statuses, native_sidecars
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.configmap_values import duration_seconds
from resultsfw.tekton.api.kinds import is_sidecar, is_step
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.podstatus.pod_state import (
    init_statuses,
    steps_may_have_started,
)

__all__ = [
    "StartTolerance",
    "Unscheduled",
    "cannot_start",
    "start_tolerance_of",
    "tolerated_for",
    "unscheduled",
    "unscheduled_too_long",
]

_UNPULLABLE: Final = frozenset({"ErrImageNeverPull", "ImagePullBackOff", "InvalidImageName"})
"""Waiting reasons of an image. Not ``ErrImagePull``: the first pull may fail and the next succeed."""

_TIMES_OUT: Final = "context deadline exceeded"
"""In the message of a container whose creation took the runtime too long."""

_RECOVERS: Final = (_TIMES_OUT, "failed to create subPath directory", "failed to reserve")
"""In the message of a container that could not be created: the kubelet tries again and may succeed. The
runtime is under load, a directory may still be created, or an abandoned attempt still holds the name."""

_READY_TO_START: Final = frozenset({"Initialized", "PodReadyToStartContainers"})
"""Conditions of a pod whose last transition is the time from which Tekton counts a `StartTolerance`."""

_TRIES: Final = 2
"""Restarts of a native sidecar of ours, before any Step has started, after which the pod is given up."""

_OURS: Final = "resultsfw-"
"""Names of containers that extensions add, such as the one that signs, begin with this."""

_SHOWN_CLAIMS: Final = 5


_NOT_CREATED: Final = frozenset({reasons.CONFIG_ERROR, "CreateContainerError"})
"""Waiting reasons of a container that the runtime could not create."""


@dataclass(frozen=True, slots=True)
class Unscheduled:
    """What the scheduler says of a pod for which it finds no node.

    Attributes:
        since: When it first reported that.
        message: Why there is none; of a volume that only other nodes can mount it does not say which.
        claims: The PersistentVolumeClaims that the pod mounts.
    """

    since: datetime
    message: str
    claims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StartTolerance:
    """How long a run waits for a container that cannot start, in seconds since its pod could start any.

    Attributes:
        image_pull: With ``ImagePullBackOff``; 0: not at all (``default-imagepullbackoff-timeout``).
        create_container: Whose creation takes the runtime too long; 0: as long as the run may take
            (``default-create-container-error-timeout``; with 0, Tekton does not wait).
    """

    image_pull: float = 0
    create_container: float = 0


_NO_TOLERANCE: Final = StartTolerance()


def start_tolerance_of(defaults: Mapping[str, str]) -> StartTolerance:
    """Return the tolerance under the data of ``config-defaults``.

    Raises:
        FlagError: A key is no duration; its subject is the key.
    """
    return StartTolerance(
        image_pull=duration_seconds(defaults, "default-imagepullbackoff-timeout") or 0,
        create_container=duration_seconds(defaults, "default-create-container-error-timeout") or 0,
    )


def unscheduled(pod: Object) -> Unscheduled | None:
    """Return what the scheduler says of a pod for which it finds no node; ``None``: it has one, or is gated.

    Whoever set a scheduling gate (a queue of jobs, say) decides when it opens.
    """
    for condition in pod.get("status", {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            since = parse_time(condition.get("lastTransitionTime"))
            if since is not None and condition.get("status") == "False":
                return Unscheduled(since, condition.get("message", ""), _claims(pod))
    return None


def _claims(pod: Object) -> tuple[str, ...]:
    """Return the names of the claims that a pod mounts, each once."""
    volumes = pod["spec"].get("volumes") or ()
    names = [(volume.get("persistentVolumeClaim") or {}).get("claimName") for volume in volumes]
    return tuple(dict.fromkeys(filter(None, names)))


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
    claims = ", ".join(map(_quoted, found.claims[:_SHOWN_CLAIMS]))
    mounts = f" (it mounts the PersistentVolumeClaims {claims})" if claims else ""
    return reasons.UNSCHEDULABLE, (
        f'pod "{name}" found no node within {after:g} s: {found.message.rstrip(".")}{mounts}. Make room for '
        f"it or let it ask for less; where nodes are added on demand, raise --unschedulable-after"
    )


def tolerated_for(pod: Object, tolerance: StartTolerance, now: datetime) -> float | None:
    """Return the seconds until a container that cannot start is given up; ``None``: nothing is awaited."""
    left = [
        (end - now).total_seconds()
        for status in _waiting(pod)
        if (end := _tolerated_until(status["state"]["waiting"], pod, tolerance)) is not None and end > now
    ]
    return min(left, default=None)


def cannot_start(
    pod: Object, tolerance: StartTolerance = _NO_TOLERANCE, now: datetime | None = None
) -> tuple[str, str] | None:
    """Return reason and message, Tekton's where it has them, if a container of the pod can never start.

    Tekton checks Steps and Sidecars only (checkPodFailed, pkg/reconciler/taskrun/taskrun.go): there, a run
    whose init container cannot start waits for its timeout.

    Args:
        pod: With its status.
        tolerance: What is waited for, and how long.
        now: The time; ``None``: after every tolerance.
    """
    for status in _waiting(pod):
        waiting = status["state"]["waiting"]
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        end = _tolerated_until(waiting, pod, tolerance)
        if end is None and any(words in message for words in _RECOVERS):
            continue
        if end is not None and now is not None and now < end:
            continue
        where = f"the {_described(status['name'])} in TaskRun {_quoted(_run(pod))}"
        quotation = f'The pod errored with the message: "{message}."'
        if reason in _UNPULLABLE:
            image = _quoted(_image(pod, status["name"]))
            return reasons.IMAGE_PULL_FAILED, f"{where} failed to pull the image {image}. {quotation}"
        if reason == reasons.CONFIG_ERROR:
            return reason, f"{where} failed to start. {quotation}"
        if reason == "CreateContainerError":
            return reasons.POD_CREATION_FAILED, f"{where} failed to start. {quotation}"
        if reason == "FailedMount":  # the local engine; a kubelet reports it only as an Event
            return reason, f"{where} failed to start. {quotation}"
    return _crashing(pod)


def _tolerated_until(waiting: Object, pod: Object, tolerance: StartTolerance) -> datetime | None:
    """Return when a waiting container is given up; ``None`` for one whose kind has no limit of its own."""
    reason = waiting.get("reason", "")
    if reason == "ImagePullBackOff":
        seconds = tolerance.image_pull
    elif reason in _NOT_CREATED and _TIMES_OUT in waiting.get("message", ""):
        seconds = tolerance.create_container
    else:
        return None
    since = [
        when
        for condition in pod.get("status", {}).get("conditions") or ()
        if condition.get("type") in _READY_TO_START
        and (when := parse_time(condition.get("lastTransitionTime"))) is not None
    ]
    return max(since) + timedelta(seconds=seconds) if seconds and since else None


def _waiting(pod: Object) -> Iterator[Object]:
    """Yield the statuses of containers that wait and never ran, init containers first."""
    for status in container_statuses(pod).values():
        if "waiting" in status.get("state", {}) and "terminated" not in status.get("lastState", {}):
            yield status


def _crashing(pod: Object) -> tuple[str, str] | None:
    """Return reason and message if a native sidecar of ours keeps ending, so that no Step can start.

    Others are left out, such as those of the Task or of a service mesh: they may be meant to end a few times.
    """
    if steps_may_have_started(pod):
        return None
    statuses = init_statuses(pod)
    for name in native_sidecars(pod):
        status = statuses.get(name, {})
        end = status.get("lastState", {}).get("terminated")
        if (
            not (name == RESULTS_SIDECAR or name.startswith(_OURS))
            or end is None
            or "waiting" not in status.get("state", {})
            or status.get("restartCount", 0) < _TRIES
        ):
            continue
        why = "".join(f": {end[key]}" for key in ("reason", "message") if end.get(key))
        options = "config.sidecar-logs" if name == RESULTS_SIDECAR else "the options of its extension"
        return "SidecarFailed", (
            f'native sidecar "{name}" exited with code {end.get("exitCode", 0)}{why}, '
            f"{status['restartCount']} times, and no Step can begin without it; see its log, and image and "
            f"memory in {options}"
        )
    return None


def _described(container: str) -> str:
    """Return how Tekton names a container in messages."""
    if is_step(container):
        return f"step {_quoted(container.removeprefix('step-'))}"
    if is_sidecar(container):
        return f"sidecar {_quoted(container.removeprefix('sidecar-'))}"
    return f"container {_quoted(container)}"


def _image(pod: Object, container: str) -> str:
    spec = pod["spec"]
    listed = [*(spec.get("initContainers") or ()), *spec["containers"]]
    image: str = next((known.get("image", "") for known in listed if known["name"] == container), "")
    return image


def _run(pod: Object) -> str:
    name: str = (pod["metadata"].get("labels") or {}).get("tekton.dev/taskRun", "")
    return name


def _quoted(name: str) -> str:
    return f'"{name}"'
