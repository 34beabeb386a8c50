"""Complete a TaskRun whose pod is gone before its results were read, from what its status still holds."""

import contextlib
from dataclasses import replace
from datetime import datetime
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import BackendError
from resultsfw.limits import DEFAULT_RESULT_BYTES
from resultsfw.stamps import LIMIT_ANNOTATION, STAMP_ANNOTATION
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.podstatus.step_states import without_messages
from resultsfw.tekton.taskrun.completion import end_steps, failed_status
from resultsfw.tekton.taskrun.stamps import recorded_stamp
from resultsfw.tekton.taskrun.termination import TerminationCause
from resultsfw.types import ProblemCode, Run

__all__ = ["missing_pod_status"]

_FILLERS: Final = 2
"""Init containers that each of our pods has at least: the kubelet's 12 KiB are divided among them, too."""


def missing_pod_status(
    core: ResultsManager,
    cluster: Cluster,
    taskrun: Object,
    run: Run,
    *,
    cause: TerminationCause,
    now: datetime,
) -> Object:
    """Return the status that ends the attempt, with the results that had arrived.

    The TaskRun's status holds the termination messages of Steps that had ended, and a backend that stores
    values elsewhere may still have them. A log is deleted with its pod.
    """
    steps = [dict(step) for step in taskrun.get("status", {}).get("steps") or ()]
    if not any("terminated" in step for step in steps):
        # No Step is known to have ended, so no result is known.
        return failed_status(cause, now, steps=end_steps(steps, cause, taskrun, now))
    pod = _pod_from_status(taskrun, run, steps)
    stamp = None
    with contextlib.suppress(BackendError):  # the core says so where it is read
        stamp = recorded_stamp(core, taskrun, pod)
    collected = core.collect(run, pod, cluster, stamp=stamp, final=True)
    if run.declares_results and (kept := " and ".join(f'"{name}"' for name in core.redacting_extensions)):
        why = f"{cause.message}; {kept} keeps Steps' messages out of the status: results in them went with it"
        cause = replace(cause, message=why)
        steps = without_messages(steps)  # written before the extension was enabled
    known = tuple(problem for problem in collected.problems if problem.code is not ProblemCode.MISSING)
    status = failed_status(cause, now, steps=end_steps(steps, cause, taskrun, now))
    patch = core.status_patch(
        replace(collected, problems=known),
        taskrun,
        now=format_time(now),
        status=status,
        reason_and_message=reasons.reason_and_message,
    )
    ended: Object = patch["status"]
    return ended


def _pod_from_status(taskrun: Object, run: Run, steps: list[Object]) -> Object:
    """Return a pod with what the TaskRun's status says of it."""
    metadata, status = taskrun["metadata"], taskrun["status"]
    stamp = (metadata.get("annotations") or {}).get(STAMP_ANNOTATION)
    flags = status.get("provenance", {}).get("featureFlags", {})
    limit = str(flags.get("maxResultSize", DEFAULT_RESULT_BYTES))
    annotations = {} if stamp is None else {STAMP_ANNOTATION: stamp, LIMIT_ANNOTATION: limit}
    known = [
        {"name": step["container"], "state": {"terminated": step["terminated"]}}
        for step in steps
        if "container" in step and "terminated" in step
    ]
    sidecars = [
        {"name": sidecar["container"]} for sidecar in status.get("sidecars") or () if "container" in sidecar
    ]
    return {
        "metadata": {
            "name": status.get("podName", ""),
            "namespace": metadata.get("namespace", ""),
            "annotations": annotations,
        },
        "spec": {
            "initContainers": [{"name": f"init-{number}"} for number in range(_FILLERS)],
            "containers": [*({"name": step.container} for step in run.steps), *sidecars],
        },
        "status": {"phase": "Unknown", "containerStatuses": known},
    }
