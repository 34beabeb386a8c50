"""A run whose pod is gone before it was read: what its own status still holds of the results."""

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
"""Init containers that every pod of ours has, at least: they have their share of the kubelet's 12 KiB."""


def missing_pod_status(
    core: ResultsManager,
    cluster: Cluster,
    taskrun: Object,
    run: Run,
    *,
    cause: TerminationCause,
    now: datetime,
) -> Object:
    """The status that ends the run, with the results that had arrived.

    Termination messages of Steps that had ended stand in the run's status; a backend that keeps values
    elsewhere may still have them. A log went with its pod.
    """
    steps = [dict(step) for step in taskrun.get("status", {}).get("steps") or ()]
    if not any("terminated" in step for step in steps):
        # Nobody knows of a Step that ended, so nobody knows of a result.
        return failed_status(cause, now, steps=end_steps(steps, cause, taskrun, now))
    pod = _as_told(taskrun, run, steps)
    stamp = None
    with contextlib.suppress(BackendError):  # the core says so where it is read
        stamp = recorded_stamp(core, taskrun, pod)
    collected = core.collect(run, pod, cluster, stamp=stamp, final=True)
    if run.declares_results and (kept := " and ".join(f'"{name}"' for name in core.redacting_extensions)):
        why = f"{cause.message}; {kept} keeps Steps' messages out of the status: results in them went with it"
        cause = replace(cause, message=why)
        steps = without_messages(steps)  # from before it was switched on
    known = tuple(one for one in collected.problems if one.code is not ProblemCode.MISSING)
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


def _as_told(taskrun: Object, run: Run, steps: list[Object]) -> Object:
    """The pod as far as the run's status tells of it."""
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
    beside = [{"name": one["container"]} for one in status.get("sidecars") or () if "container" in one]
    return {
        "metadata": {
            "name": status.get("podName", ""),
            "namespace": metadata.get("namespace", ""),
            "annotations": annotations,
        },
        "spec": {
            "initContainers": [{"name": f"init-{number}"} for number in range(_FILLERS)],
            "containers": [*({"name": step.container} for step in run.steps), *beside],
        },
        "status": {"phase": "Unknown", "containerStatuses": known},
    }
