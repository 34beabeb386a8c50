"""Compute the status that the controller would write for a saved TaskRun and Pod, without a cluster."""

from dataclasses import dataclass
from datetime import UTC, datetime

from resultsfw.cluster import Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import InputError
from resultsfw.jsons import merge_patch
from resultsfw.tekton.api.attempts import attempt_number
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.names import pod_name
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.podstatus.progress import progress_of
from resultsfw.tekton.podstatus.step_states import pod_status_fields
from resultsfw.tekton.spec.declared_results import run_of
from resultsfw.tekton.taskrun.completion import complete
from resultsfw.tekton.taskrun.foreign_pods import infer_stamp
from resultsfw.tekton.taskrun.initial_status import attempt_status, refused_status
from resultsfw.tekton.taskrun.task_resolution import resolve_task
from resultsfw.tekton.taskrun.termination import TerminationCause, termination_cause
from resultsfw.types import CollectionOutcome, Run, Stamp

__all__ = ["Offline", "taskrun_from_pod"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offline:
    """The verdict over a saved TaskRun and Pod.

    Attributes:
        taskrun: With the status the controller would write.
        run: Its Steps and declared results; ``None`` if it is refused.
        collected: The verdict over its results; ``None`` if there is none yet.
        stamp: By which transport the pod is read.
        how: How that is known, in words.
        finished: Whether the run is over.
    """

    taskrun: Object
    run: Run | None = None
    collected: CollectionOutcome | None = None
    stamp: Stamp | None = None
    how: str = ""
    finished: bool = True


def taskrun_from_pod(
    taskrun: Object,
    pod: Object | None,
    core: ResultsManager,
    cluster: Cluster,
    *,
    now: datetime | None = None,
) -> Offline:
    """Judge a saved TaskRun by its saved Pod.

    The status of the given TaskRun is computed again; only its resolved ``taskSpec``, its times and
    its earlier attempts are kept. Nothing is asked twice: a log that cannot be read is a problem.

    Args:
        taskrun: As ``kubectl get -o json`` gives it, or as it was created.
        pod: Its pod likewise; ``None`` where none was made.
        core: The core with the flags in effect.
        cluster: Only logs are read of it.
        now: Of the conditions; else now.

    Raises:
        InputError: The two do not belong together, or a run that needs a pod comes without.
    """
    now = now or datetime.now(UTC)
    old = taskrun.get("status", {})
    keep = {"retriesStatus": old["retriesStatus"]} if "retriesStatus" in old else {}
    if (taskrun["spec"].get("taskRef") or {}).get("resolver") and not old.get("taskSpec"):
        raise InputError(
            "its Task comes from a resolver: save the run once its status contains the Task",
            subject="--taskrun",
        )
    try:
        spec = resolve_task(taskrun, cluster, inherit=False).spec
    except RefusedRun as refused:
        cause = TerminationCause(refused.reason, refused.message)
        status = {**refused_status(taskrun, cluster, core, cause, now), **keep}
        return Offline(taskrun={**taskrun, "status": status})
    base = {**taskrun, "status": {**attempt_status(taskrun, spec, core, now), **keep}}
    if pod is None:
        raise InputError("a pod is needed: this run is valid, so one was made", subject="--pod")
    attempt = _attempt(taskrun, pod)
    run = run_of(taskrun, spec, attempt=attempt)
    stamp, how = infer_stamp(pod, core.flags)
    progress = progress_of(pod, now)
    over = progress.steps_done and core.is_ready(run, pod, stamp=stamp)
    stopped = termination_cause(base, pod, progress, now)
    if over or progress.stuck or stopped is not None:
        done = complete(core, cluster, base, run, pod, now=now, stamp=stamp, cause=stopped, final=True)
        merged = merge_patch(base, {"status": done.patch["status"]})
        return Offline(taskrun=merged, run=run, collected=done.collected, stamp=stamp, how=how)
    status = {
        **pod_status_fields(pod, old, done=False, messages=not core.redacting_extensions),
        "conditions": [condition("Unknown", *progress.running, now)],
    }
    merged = merge_patch(base, {"status": status})
    return Offline(taskrun=merged, run=run, stamp=stamp, how=how, finished=False)


def _attempt(taskrun: Object, pod: Object) -> int:
    """Return the number of the attempt whose pod this is."""
    name, found = taskrun["metadata"]["name"], pod["metadata"]["name"]
    retries = int(taskrun["spec"].get("retries") or 0)
    for attempt in range(retries + 1):
        if pod_name(name, attempt) == found:
            return attempt
    owners = pod["metadata"].get("ownerReferences") or ()
    uid = taskrun["metadata"].get("uid")
    if any(owner.get("kind") == "TaskRun" and owner.get("name") == name for owner in owners) or (
        uid and any(owner.get("uid") == uid for owner in owners)
    ):
        return attempt_number(taskrun)
    raise InputError(f'pod "{found}" is not of TaskRun "{name}"', subject="metadata.name")
