"""Read from a pod's status how far its Steps have come, and why they failed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from resultsfw.cluster import Object
from resultsfw.messages import message_budget, read_message
from resultsfw.pods import RESULTS_SIDECAR, container_statuses, has_finished, native_sidecars
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.kinds import is_sidecar, is_step
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.podstatus.pod_state import init_statuses, main_statuses
from resultsfw.tekton.podstatus.step_states import internal_entries

__all__ = ["OOM", "REFUSED", "STEP_TIMEOUT", "Progress", "StepNotEnded", "progress_of"]


OOM: Final = "OOMKilled"
STEP_TIMEOUT: Final = "TimeoutExceeded"
REFUSED: Final = "ResultsRefused"

_IMAGE_FAULTS: Final = frozenset(
    {
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
    }
)

_TAKEN_AWAY: Final = {
    "NodeLost": "the node was lost",
    "NodeShutdown": "the node was shut down",
    "Preempting": "the kubelet made room for a critical pod",
    "Terminated": "the node was shut down",
}
"""Reasons of a pod that its node ended, besides "Evicted". Tekton blames a Step for its exit code then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far the Steps of a pod have come.

    Attributes:
        steps_done: All Steps have ended, or the pod has.
        running: Reason and message of the condition while the run is not over.
        failure: Tekton's reason and message if a Step or the pod failed. A failure of the results sidecar
            does not count: it is judged with the results.
        refusal: The Step's process succeeded and our entrypoint refused its results.
        stuck: A Step ended in a way that may leave others, or the results sidecar, waiting for ever.
        ended_at: When the last of the Steps that have ended, or the pod, ended; ``None`` if none has.
        step_not_ended: The Step's container that runs though its Step has ended.
    """

    steps_done: bool
    running: tuple[str, str]
    failure: tuple[str, str] | None
    refusal: bool
    stuck: bool
    ended_at: datetime | None
    step_not_ended: "StepNotEnded | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNotEnded:
    """A Step's container that runs though its Step has recorded its end, and what shows that.

    Tekton's entrypoint writes its ``out`` file first and may wait for ever after that: it opens the files of
    results, and one may be a FIFO.

    Attributes:
        step: The container.
        since: When the container that shows it ended.
        shown_by: A container that has ended, and ends only after that Step.
        waited: That container waited for the Step's container before it ended.
    """

    step: str
    since: datetime
    shown_by: str
    waited: bool


def progress_of(pod: Object, now: datetime) -> Progress:
    """Return how far a pod has come, by Tekton's rules (pkg/pod/status.go) except where comments differ."""
    status = pod.get("status", {})
    phase = status.get("phase", "Pending")
    containers = main_statuses(pod)
    names = [container["name"] for container in pod["spec"]["containers"]]
    wanted = [name for name in names if is_step(name)]
    # In the order of the spec, as Tekton sorts them: of several that failed, the first is the cause.
    ended = {
        name: containers[name]["state"]["terminated"]
        for name in names
        if "terminated" in containers.get(name, {}).get("state", {})
    }
    steps = {name: ended[name] for name in wanted if name in ended}
    killed = any(step.get("reason") == OOM for step in steps.values())
    finished = [when for step in steps.values() if (when := parse_time(step.get("finishedAt")))]
    last = max(finished, default=None)
    failing = any(step.get("exitCode") for step in steps.values())
    # Steps behind a failed one are skipped within a second each; a Step killed from outside wrote no
    # `out.err`, and those behind it would wait for ever.
    patience = 5 + 2 * len(wanted)
    late = last is not None and (now - last).total_seconds() > patience
    all_steps_ended = len(steps) == len(wanted)
    return Progress(
        steps_done=all_steps_ended or has_finished(pod),
        running=_running(pod, phase),
        failure=(
            _failure(pod, ended, last if all_steps_ended else None)
            if failing or killed or phase == "Failed"
            else None
        ),
        refusal=failing and all(_refused(step, pod) for step in steps.values() if step.get("exitCode")),
        stuck=phase == "Running" and (killed or (failing and late)),
        ended_at=last or (_changed_at(status) if phase in ("Succeeded", "Failed") else None),
        step_not_ended=_step_not_ended(pod, wanted) if phase == "Running" and not all_steps_ended else None,
    )


def _step_not_ended(pod: Object, steps: Sequence[str]) -> StepNotEnded | None:
    """Return the first Step's container that is known to run though its Step has ended."""
    containers = main_statuses(pod)
    states = {name: status.get("state", {}) for name, status in containers.items()}
    running = [name for name in steps if "running" in states.get(name, {})]
    if not running or "deletionTimestamp" in pod["metadata"]:
        return None
    for name in reversed(steps[steps.index(running[0]) + 1 :]):
        # A Step starts only when all Steps before it have recorded their end. A Step that was skipped has an
        # exit code other than 0.
        end = states.get(name, {}).get("terminated")
        since = parse_time(end.get("finishedAt")) if end and end.get("exitCode") == 0 else None
        if since is not None:
            return StepNotEnded(step=running[0], since=since, shown_by=name, waited=False)
    # The results sidecar ends with exit code 0 only when no Step will write anything more.
    native = RESULTS_SIDECAR in native_sidecars(pod)
    sidecar = container_statuses(pod).get(RESULTS_SIDECAR, {})
    end = sidecar.get("state", {}).get("terminated") or sidecar.get("lastState", {}).get("terminated") or {}
    since = parse_time(end.get("finishedAt")) if end.get("exitCode") == 0 else None
    if since is None:
        return None
    return StepNotEnded(step=running[0], since=since, shown_by=RESULTS_SIDECAR, waited=native)


def _changed_at(status: Object) -> datetime | None:
    """Return when the last of a pod's conditions changed."""
    times = [parse_time(condition.get("lastTransitionTime")) for condition in status.get("conditions") or ()]
    return max((when for when in times if when), default=None)


def _running(pod: Object, phase: str) -> tuple[str, str]:
    """Return reason and message of the condition of a run that is not over, in Tekton's words."""
    if phase != "Pending":
        return reasons.RUNNING, "Not all Steps in the Task have finished executing"
    conditions = pod.get("status", {}).get("conditions") or ()
    if any(
        condition.get("reason") == "Unschedulable" and "Insufficient" in condition.get("message", "")
        for condition in conditions
    ):
        return "ExceededNodeResources", "TaskRun Pod exceeded available resources"
    waiting = [
        (name, status["state"]["waiting"])
        for name, status in container_statuses(pod).items()
        if "waiting" in status.get("state", {})
    ]
    reason = (
        "PullImageFailed" if any(w.get("reason") in _IMAGE_FAULTS for _, w in waiting) else reasons.PENDING
    )
    for name, why in waiting:
        if name in main_statuses(pod) and why.get("message"):
            return reason, f'build step "{name}" is pending with reason "{why["message"]}"'
    for condition in conditions:
        if condition.get("status") != "True":
            message = json.dumps(condition.get("message", ""), ensure_ascii=False)
            known = f'"{condition.get("type")}":"{condition.get("status")}"'
            return reason, f"pod status {known}; message: {message}"
    return reason, pod.get("status", {}).get("message") or reasons.PENDING


def _failure(pod: Object, ended: Mapping[str, Object], steps_end: datetime | None) -> tuple[str, str] | None:
    """Return reason and message of what failed.

    Tekton's order: init containers first, then memory before exit codes, Sidecars before Steps. A Sidecar
    that ended after all Steps had, at ``steps_end``, was stopped by the controller: its exit code is ignored.
    """
    status = pod.get("status", {})
    if status.get("reason") == "Evicted":
        return reasons.EVICTED, status.get("message", "")
    if phase_reason := _TAKEN_AWAY.get(status.get("reason", "")):
        return reasons.EVICTED, f"{phase_reason}: {status.get('message', '')}"
    # Tekton also blames a native sidecar that the kubelet ended after the Steps. Such a sidecar fails no pod.
    beside = native_sidecars(pod)
    init = {
        name: status["state"]["terminated"]
        for name, status in init_statuses(pod).items()
        if "terminated" in status.get("state", {}) and name not in beside
    }
    stopped = {
        name
        for name, end in ended.items()
        if is_sidecar(name)
        and steps_end
        and (when := parse_time(end.get("finishedAt")))
        and when >= steps_end
    }
    judged = {name: end for name, end in ended.items() if name not in stopped}
    for some, where in ((init, "init container failed, "), (judged, "")):
        for wanted in (_is_oom, _has_failed):
            for kind in ("Sidecar", "Step" if not where else "InitContainer"):
                for name, end in some.items():
                    mine = is_sidecar(name) == (kind == "Sidecar") and (
                        where or is_sidecar(name) or is_step(name)
                    )
                    if mine and name != RESULTS_SIDECAR and wanted(end):
                        suffix = "OOM" if wanted is _is_oom else "Failed"
                        return f"{kind}{suffix}", where + _how(
                            name, end, message_budget(pod), init=bool(where)
                        )
    if (RESULTS_SIDECAR in ended or RESULTS_SIDECAR in beside or stopped) and not status.get("message"):
        return None
    return "Failed", status.get("message") or "build failed for unspecified reasons."


def _refused(end: Object, pod: Object) -> bool:
    return (
        internal_entries(read_message(end.get("message") or "", message_budget(pod))).get("Reason") == REFUSED
    )


def _is_oom(end: Object) -> bool:
    return end.get("reason") == OOM


def _has_failed(end: Object) -> bool:
    return bool(end.get("exitCode"))


def _how(name: str, end: Object, budget: int, *, init: bool = False) -> str:
    """Return how a container failed, in Tekton's words."""
    internal = internal_entries(read_message(end.get("message") or "", budget))
    if internal.get("Reason") == STEP_TIMEOUT:
        return f'"{name}" exited because the step exceeded the specified timeout limit'
    reason = f": {end['reason']}" if end.get("reason") else ""
    # Tekton's init containers leave no message; ours says which file it could not write, and why.
    why = f": {end['message']}" if init and end.get("message") else ""
    return f'"{name}" exited with code {end.get("exitCode", 0)}{reason}{why}'
