"""Complete a TaskRun: collect the results of its pod and build the status that ends it.

The controller and `resultsfw collect` both do it here.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from resultsfw.cluster import Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import BackendError, InputError, ResultsError
from resultsfw.jsons import merge_patch
from resultsfw.pods import RESULTS_SIDECAR
from resultsfw.result_annotations import without_result_annotations
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.kinds import ON_ERROR_ANNOTATION
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.podstatus.pod_state import steps_may_have_started
from resultsfw.tekton.podstatus.progress import Progress, progress_of
from resultsfw.tekton.podstatus.step_states import pod_status_fields
from resultsfw.tekton.taskrun.termination import TerminationCause, stop_annotation
from resultsfw.types import CollectionOutcome, ProblemCode, Run, Stamp

__all__ = ["Completion", "attest", "complete", "end_steps", "failed_status"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Completion:
    """How an attempt ends.

    Attributes:
        patch: The patch that ends it.
        collected: The verdict over its results.
    """

    patch: Object
    collected: CollectionOutcome


def complete(
    core: ResultsManager,
    cluster: Cluster,
    taskrun: Object,
    run: Run,
    pod: Object,
    *,
    now: datetime,
    stamp: Stamp | None = None,
    cause: TerminationCause | None = None,
    final: bool = False,
    progress: Progress | None = None,
) -> Completion:
    """Collect the results and return the status that ends the attempt.

    Args:
        core: Reads and judges the results.
        cluster: Where logs are read.
        taskrun: As last read.
        run: The attempt, as backends see it.
        pod: As last read.
        now: The time of the condition and of completion.
        stamp: How the pod was created, if its own annotations do not say so.
        cause: Why the run ends, if its pod did not end by itself.
        final: No further try to read results follows.
        progress: Of the pod, if it is known already.

    Raises:
        ClusterError: The results could not be read and can still be; only when not ``final``.
    """
    collected = CollectionOutcome()
    if steps_may_have_started(pod):  # else there is nothing to read, and nothing is missing
        collected = core.collect(run, pod, cluster, stamp=stamp, final=final)
    if progress is None or stop_annotation(pod) is not None:
        progress = progress_of(_without_termination(pod), now)
    failure = cause or (TerminationCause(*progress.failure) if progress.failure else None)
    annotations = taskrun["metadata"].get("annotations") or {}
    if failure is not None and cause is None and annotations.get(ON_ERROR_ANNOTATION) == "continue":
        failure = replace(failure, reason=reasons.FAILURE_IGNORED)
    if cause is not None and cause.reason == reasons.STEP_NOT_ENDED and collected.problems:
        failure = None  # what is wrong with the result is what keeps the container running
    if failure is not None and cause is None and progress.refusal and collected.problems:
        # Only together with a known problem: a Step can forge such a message.
        failure = None
    if failure is not None:
        # A Step that did not run wrote nothing: that its results are missing is no problem of its own.
        rest = tuple(problem for problem in collected.problems if problem.code is not ProblemCode.MISSING)
        collected = replace(collected, problems=rest)
    status = pod_status_fields(
        pod, taskrun.get("status", {}), done=True, messages=not core.redacting_extensions
    )
    status["completionTime"] = format_time(now)
    _end_results_sidecar(status, now)
    if failure is not None:
        status["conditions"] = [condition("False", failure.reason, failure.message, now)]
    if cause is not None and "steps" in status:
        status["steps"] = end_steps(status["steps"], cause, taskrun, now)
    patch = core.status_patch(
        collected, taskrun, now=format_time(now), status=status, reason_and_message=reasons.reason_and_message
    )
    return Completion(patch, collected)


def attest(core: ResultsManager, taskrun: Object, run: Run, done: Completion, *, final: bool) -> None:
    """Sign the status that ends an attempt: add the annotations to its patch, or why there are none.

    Only for a patch that will be written: a saved run that is judged again is not signed.

    Args:
        core: Its extension signs.
        taskrun: As last read.
        run: The attempt, as backends see it.
        done: How it ends; its patch is changed.
        final: No further try to read results follows.

    Raises:
        ResultsError: It cannot be signed now; only when not ``final``.
    """
    if not any(extension.verifies_results for extension in core.extensions.values()):
        return  # the merged status is for it alone
    before = without_result_annotations(taskrun)
    status = done.patch["status"]
    stored = merge_patch(before, done.patch)["status"]
    try:
        annotations = core.attest_status(run, stored, obj=before, collected=done.collected)
    except ResultsError as error:
        passes = not (isinstance(error, InputError) or (isinstance(error, BackendError) and error.final))
        if passes and not final:
            raise
        log.warning("run %s/%s: its status is not signed: %s", run.namespace, run.name, error.message)
        succeeded = status["conditions"][0]
        why = f"{succeeded['message']}; this status is not signed ({error.code}): {error.message}"
        status["conditions"] = [{**succeeded, "message": why}, *status["conditions"][1:]]
        return
    if annotations:
        status["annotations"] = dict(annotations)


def failed_status(cause: TerminationCause, now: datetime, **more: Any) -> Object:
    """Return the status of a run that fails without a pod to read; ``more`` are further fields."""
    ended = format_time(now)
    return {
        "completionTime": ended,
        "conditions": [condition("False", cause.reason, cause.message, now)],
        **more,
    }


def _without_termination(pod: Object) -> Object:
    """Return the pod without the phase and reason that it has only because the controller terminated it."""
    if stop_annotation(pod) is None:
        return pod
    status = {key: value for key, value in pod.get("status", {}).items() if key not in ("message", "reason")}
    return {**pod, "status": {**status, "phase": "Running"}}


def end_steps(
    steps: Sequence[Object], cause: TerminationCause, taskrun: Object, now: datetime
) -> list[Object]:
    """Return the Steps' states for a run that did not end because its Steps ended, worded as Tekton's.

    Steps that were terminated with the pod get the cause; Steps that had not ended count as ended.
    """
    return [_ended_step(step, cause, taskrun, now) for step in steps]


def _ended_step(step: Object, cause: TerminationCause, taskrun: Object, now: datetime) -> Object:
    end = step.get("terminated")
    if end is not None:
        if not end.get("exitCode"):
            return step
        # tkn shows this reason. The kubelet's "Error" stands for all failures; any other reason says more.
        why = cause.reason if end.get("reason") == "Error" else end.get("reason")
        return {**step, "terminated": {**end, "reason": why}, "terminationReason": cause.reason}
    if not ("running" in step or "waiting" in step):
        return step
    pod = taskrun.get("status", {}).get("podName", "")
    # The CRD requires startedAt.
    created = taskrun["metadata"].get("creationTimestamp") or format_time(now)
    left = {key: value for key, value in step.items() if key not in ("running", "waiting")}
    ended = {
        "exitCode": 1,
        "startedAt": step.get("running", {}).get("startedAt") or created,
        "finishedAt": format_time(now),
        "reason": cause.reason,
        "message": f"Step {step.get('name', '')} terminated as pod {pod} is terminated",
    }
    return {**left, "terminated": ended, "terminationReason": cause.reason}


def _end_results_sidecar(status: Object, now: datetime) -> None:
    """Report the results sidecar as ended: it has printed all, and no later pass would report its end.

    Tekton waits for its end. Other Sidecars are reported as they were when the Steps ended, as Tekton does.
    """
    for sidecar in status.get("sidecars", ()):
        if sidecar["container"] == RESULTS_SIDECAR and (state := sidecar.pop("running", None)) is not None:
            sidecar["terminated"] = {
                "exitCode": 0,
                "finishedAt": format_time(now),
                "reason": "Completed",
                "startedAt": state.get("startedAt"),
            }
