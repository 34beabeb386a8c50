"""One TaskRun, one look: from what is there now to the next step. Crash-only: it keeps no state."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from resultsfw.cluster import PODS, Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import (
    BackendError,
    ClusterError,
    FlagError,
    ForbiddenError,
    InputError,
    NotFoundError,
    ObjectTooLargeError,
    ResultsError,
    TooEarlyError,
)
from resultsfw.limits import object_size
from resultsfw.pods import grace_period, is_terminating
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.conditions import condition, is_done, succeeded
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.api.names import pod_name
from resultsfw.tekton.api.owners import owns
from resultsfw.tekton.api.policies import Policies
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.api.times import format_time, parse_time
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.podstatus.pod_state import (
    all_containers_ended,
    is_cancellable,
    is_scheduled,
    steps_may_have_started,
)
from resultsfw.tekton.podstatus.progress import Progress, progress_of
from resultsfw.tekton.podstatus.step_states import pod_status_fields
from resultsfw.tekton.spec.declared_results import run_of
from resultsfw.tekton.taskrun import credentials
from resultsfw.tekton.taskrun.completion import complete, failed_status
from resultsfw.tekton.taskrun.credentials import CredentialNotes
from resultsfw.tekton.taskrun.finalizers import finalize, purge_earlier
from resultsfw.tekton.taskrun.initial_status import (
    attempt_status,
    first_status,
    is_pending,
    pending_status,
    refused_status,
)
from resultsfw.tekton.taskrun.missing_pod import missing_pod_status
from resultsfw.tekton.taskrun.pod_creation import EndedError, PodCreation
from resultsfw.tekton.taskrun.pod_lifecycle import delete_unscheduled, mark_ready, stop_sidecars, terminate
from resultsfw.tekton.taskrun.requeue import Timing, requeue_after
from resultsfw.tekton.taskrun.stamps import purged_by, recorded_stamp
from resultsfw.tekton.taskrun.termination import (
    TerminationCause,
    cancelled,
    deadline,
    step_not_ended_cause,
    stop_annotation,
    termination_cause,
    timed_out,
)
from resultsfw.types import Run, Stamp

__all__ = ["Reconciler", "Timing", "is_done"]

log = logging.getLogger(__name__)


class Reconciler:
    """Takes TaskRuns from wherever they are to their end.

    Args:
        core: With the flags in force.
        cluster: Where TaskRuns and Pods live.
        options: Images and defaults of the pods it builds.
        timing: How long it waits.
        clock: Tells the time; UTC.
        policies: What an operator forbids.
        tell: Warns people of what a run does not get here; besides the log.
    """

    def __init__(
        self,
        core: ResultsManager,
        cluster: Cluster,
        *,
        options: PodOptions | None = None,
        timing: Timing | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        policies: Policies | None = None,
        tell: Callable[[Object, str, str], None] = lambda *_: None,
    ) -> None:
        self._policies = policies or Policies()
        self._tell = tell
        self._credentials = CredentialNotes(cluster)
        self.core = core
        self._cluster = cluster
        self._options = options or PodOptions()
        self._timing = timing or Timing()
        self._clock = clock
        self._pods = PodCreation(
            core,
            cluster,
            self._options,
            self._write,
            policies=self._policies,
            begins=self._warn_of_withheld,
        )

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take a TaskRun one step further; one that its server cannot hold any more is ended by name.

        See `_reconcile` for what it returns and raises.
        """
        try:
            return self._reconcile(namespace, name)
        except ObjectTooLargeError as error:
            taskrun = self._cluster.get(TASKRUNS, namespace, name)
            message = (
                f"[User error] the run with its status is larger than the API server stores: "
                f"{error.message}; make its Task, parameters and scripts smaller"
            )
            cause = TerminationCause(reasons.TOO_LARGE, message)
            now = self._clock()
            started = taskrun.get("status", {}).get("startTime") or format_time(now)
            self._write(taskrun, failed_status(cause, now, startTime=started, podName="", taskSpec=None))
            attempt = len(taskrun.get("status", {}).get("retriesStatus") or ())
            with contextlib.suppress(NotFoundError):
                pod = self._cluster.get(PODS, namespace, pod_name(name, attempt))
                if owns(taskrun, pod):
                    self._cluster.delete(PODS, namespace, pod["metadata"]["name"])
            return None

    def _reconcile(self, namespace: str, name: str) -> float | None:
        """Take a TaskRun one step further.

        Returns:
            Seconds after which it wants to look again though nothing changed; ``None`` for never.

        Raises:
            ClusterError: Try again if it is ``retryable``; a conflict means somebody else wrote.
        """
        try:
            taskrun = self._cluster.get(TASKRUNS, namespace, name)
        except NotFoundError:
            return None
        if taskrun["metadata"].get("deletionTimestamp"):
            return finalize(self.core, self._cluster, taskrun)
        if is_done(taskrun):
            self._clean_up(taskrun)
            return None
        now = self._clock()
        if is_pending(taskrun):
            self._write(taskrun, pending_status(taskrun, now))
            return None
        status = taskrun.get("status", {})
        if not status.get("startTime"):
            self._write(taskrun, first_status(now))  # before anything can fail: the timeout counts from here
        attempt = len(status.get("retriesStatus") or ())
        if (cause := self._over_without_pod(taskrun, attempt, now)) is not None:
            return self._end(taskrun, cause, now)
        try:
            return self._begun(taskrun, attempt, now)
        except ClusterError as error:
            if (end := deadline(taskrun)) is not None and now < end:
                error.retry_within = (end - now).total_seconds()
            raise

    def _begun(self, taskrun: Object, attempt: int, now: datetime) -> float | None:
        """Take a run that has its first status, and is not over, one step further."""
        try:
            spec = self._pods.task_spec(taskrun, now)
            run = run_of(taskrun, spec, attempt=attempt)
            pod = self._pods.pod_of(taskrun, spec, run, now)
        except RefusedRun as refused:
            self._write_refusal(taskrun, refused, now)
            return None
        except (FlagError, BackendError, InputError) as error:
            return self._end(taskrun, TerminationCause(reasons.VALIDATION_FAILED, error.message), now)
        except EndedError as ended:
            return self._end(taskrun, ended.cause, now, run=run)
        return self._follow(taskrun, run, pod, now)

    def _over_without_pod(self, taskrun: Object, attempt: int, now: datetime) -> TerminationCause | None:
        """Return why a run ends before it got a pod; asked before anything that may keep the pod away.

        A pod that was made just before a crash is not in the status yet: it is to be stopped.
        """
        if taskrun.get("status", {}).get("podName"):
            return None
        cause = cancelled(taskrun) or timed_out(taskrun, now)
        if cause is None:
            return None
        metadata = taskrun["metadata"]
        with contextlib.suppress(NotFoundError, ForbiddenError):
            name = pod_name(metadata["name"], attempt)
            if owns(taskrun, self._cluster.get(PODS, metadata.get("namespace", ""), name)):
                return None
        return cause

    def _warn_of_withheld(self, taskrun: Object, pod: Object) -> None:
        """Say what Steps of an attempt that begins do not get of their service account."""
        if note := self._withheld(pod):
            metadata = taskrun["metadata"]
            log.warning("TaskRun %s/%s: %s", metadata.get("namespace", ""), metadata["name"], note)
            self._tell(taskrun, credentials.REASON, note)

    def _withheld(self, pod: Object) -> str:
        """Return what Steps of the pod do not get of their service account; empty where they miss nothing."""
        if not self._policies.credentials:
            return ""
        account = pod["spec"].get("serviceAccountName") or self._options.service_account
        return self._credentials.note(pod["metadata"].get("namespace", ""), account)

    def _noted(self, pod: Object, message: str) -> str:
        """Return a message with what Steps of the pod do not get, if there is anything."""
        note = self._withheld(pod)
        return f"{message}; {note}" if note else message

    # The way to the end.

    def _follow(self, taskrun: Object, run: Run, pod: Object, now: datetime) -> float | None:
        progress = progress_of(pod, now)
        stamp, over, trouble, early = None, False, None, False
        with contextlib.suppress(BackendError):  # somebody edited it: the core says so where it is read
            stamp = recorded_stamp(self.core, taskrun, pod)
        cause = termination_cause(taskrun, pod, progress, now, unschedulable=self._timing.unschedulable)
        # A pod that goes takes its log along: it is read as soon as it is whole.
        if progress.steps_done or (cause is not None and is_terminating(pod)):
            try:
                over = self.core.is_ready(run, pod, stamp=stamp)
            except ResultsError as error:
                # Who cannot say when its pod is ready is asked for its results once all of it has ended.
                log.warning("run %s/%s: is it ready to be read? %s", run.namespace, run.name, error.message)
                trouble = error
        if over or all_containers_ended(pod):
            try:
                return self._conclude(taskrun, run, pod, stamp, cause=cause, now=now)
            except ClusterError as error:
                # Of a pod that goes there may never be more to read: it is not waited for longer than that.
                if isinstance(error, TooEarlyError):
                    early = True
                elif is_terminating(pod):
                    early, trouble = True, error
                else:
                    raise
        mark, soon = stop_annotation(pod), None
        ending = cause or (mark.cause if mark else self._must_stop(progress, now))
        if ending is not None:
            waited = terminate(self._cluster, pod, ending, now) if is_scheduled(pod) else 0
            if not steps_may_have_started(pod) or waited > grace_period(pod) + self._timing.stop:
                return self._conclude(taskrun, run, pod, stamp, cause=cause, now=now, final=True)
        elif progress.steps_done:
            # Native sidecars end, and with them the pod, only when no other container runs.
            stop_sidecars(self._cluster, pod, self._options.nop_image)
        else:
            soon = mark_ready(self._cluster, pod, now)
        status = pod_status_fields(
            pod, taskrun.get("status", {}), done=False, messages=not self.core.redacting_extensions
        )
        reason, message = progress.running
        status["conditions"] = [
            condition(
                "Unknown", reason, self._noted(pod, message) if reason == reasons.PENDING else message, now
            )
            if trouble is None
            else _unread(taskrun, trouble, now)
        ]
        self._write(taskrun, status)
        return requeue_after(
            taskrun, pod, progress, self._timing, stopping=ending is not None, early=early, soon=soon, now=now
        )

    def _must_stop(self, progress: Progress, now: datetime) -> TerminationCause | None:
        """Why the pod must be stopped though its run has no cause of its own to end."""
        if progress.stuck:
            return TerminationCause("", "a Step was killed; others may wait for it for ever")
        if (step_not_ended := progress.step_not_ended) is not None:
            waited = (now - step_not_ended.since).total_seconds()
            if step_not_ended.waited or waited > self._timing.sidecar:
                return step_not_ended_cause(step_not_ended)
        if progress.steps_done and progress.ended_at is not None:
            waited = (now - progress.ended_at).total_seconds()
            if waited > self._timing.sidecar:
                return TerminationCause(
                    "", f"the Steps ended {waited:.0f} s ago and their results are not there"
                )
        return None

    def _conclude(
        self,
        taskrun: Object,
        run: Run,
        pod: Object,
        stamp: Stamp | None,
        *,
        cause: TerminationCause | None,
        now: datetime,
        final: bool = False,
    ) -> float | None:
        # Not from the pod's end: that may be long ago when a controller, or its server, comes back.
        waited = (now - (_unread_since(taskrun) or now)).total_seconds()
        final = final or waited > self._timing.read
        try:
            done = complete(
                self.core, self._cluster, taskrun, run, pod, now=now, stamp=stamp, cause=cause, final=final
            )
        except TooEarlyError:
            raise
        except ResultsError as error:
            log.warning("run %s/%s: reading results: %s", run.namespace, run.name, error.message)
            status = pod_status_fields(
                pod, taskrun.get("status", {}), done=False, messages=not self.core.redacting_extensions
            )
            status["conditions"] = [_unread(taskrun, error, now)]
            self._write(taskrun, status)
            if isinstance(error, ClusterError):
                raise
            return min(5.0, self._timing.read)
        for verdict in done.patch["status"]["conditions"]:
            if verdict.get("status") == "False" and verdict.get("reason") == credentials.STEP_FAILED:
                verdict["message"] = self._noted(pod, verdict["message"])  # a Step may have failed for it
        if self._retries_left(taskrun, done.patch):
            again = self._retry(taskrun, done.patch["status"], now)
            delete_unscheduled(self._cluster, pod)
            return again
        self._write_end(taskrun, done.patch["status"], now)
        self._clean_up({**taskrun, "status": {**taskrun.get("status", {}), **done.patch["status"]}}, pod=pod)
        return None

    def _end(
        self, taskrun: Object, cause: TerminationCause, now: datetime, *, run: Run | None = None
    ) -> float | None:
        """End a run that has no pod to read; ``run`` where it had one."""
        status = taskrun.get("status", {})
        first = {} if status.get("startTime") else attempt_status(taskrun, None, self.core, now)
        if not status.get("podName"):
            first["podName"] = ""
        if run is not None and status.get("podName"):
            told = missing_pod_status(self.core, self._cluster, taskrun, run, cause=cause, now=now)
        else:
            told = failed_status(cause, now)
        ended = {**first, **told}
        if self._retries_left(taskrun, {"status": ended}) and cause.reason == reasons.POD_DELETED:
            return self._retry(taskrun, ended, now)
        self._write_end(taskrun, ended, now)
        return None

    def _retries_left(self, taskrun: Object, patch: Object) -> bool:
        verdict = next(one for one in patch["status"]["conditions"] if one["type"] == "Succeeded")
        if verdict["status"] == "True" or verdict["reason"] == reasons.CANCELLED:
            return False
        tried = len(taskrun.get("status", {}).get("retriesStatus") or ())
        return tried < int(taskrun["spec"].get("retries") or 0)

    def _retry(self, taskrun: Object, ended: Object, now: datetime) -> float:
        """Put the attempt away and begin the next one, under another pod name."""
        status = taskrun.get("status", {})
        earlier = status.get("retriesStatus") or []
        attempt = {key: value for key, value in {**status, **ended}.items() if value is not None}
        attempt.pop("retriesStatus", None)
        if object_size(attempt) > _ARCHIVED_BYTES:
            # What an attempt that failed left must not take the room of the one that succeeds.
            attempt = _without_values(attempt)
        verdict = attempt["conditions"][0]
        fresh: dict[str, Any] = dict.fromkeys(attempt)
        fresh |= {
            "podName": "",  # the CRD requires one
            "retriesStatus": [*earlier, attempt],
            "taskSpec": status.get("taskSpec"),
            "conditions": [condition("Unknown", reasons.TO_BE_RETRIED, verdict["message"], now)],
        }
        self._write(taskrun, fresh)
        return 0.0

    def _clean_up(self, taskrun: Object, *, pod: Object | None = None) -> None:
        """After the verdict: stop the user's Sidecars, purge, and delete the pod of a cancelled run.

        One that was made to be kept stays, also when the flag has changed since.
        """
        status = taskrun.get("status", {})
        namespace, name = taskrun["metadata"].get("namespace", ""), status.get("podName")
        if not name:
            return
        try:
            pod = pod or self._cluster.get(PODS, namespace, name)
        except NotFoundError:
            return
        if not owns(taskrun, pod):
            return  # made later, under the same name
        verdict = succeeded(taskrun)
        attempt = len(status.get("retriesStatus") or ())
        run = run_of(taskrun, status.get("taskSpec") or {}, attempt=attempt)
        keep = self._options.keep_pod_on_cancel or is_cancellable(pod)
        gone = verdict.get("reason") in (reasons.CANCELLED, reasons.TIMED_OUT) and not keep
        with contextlib.suppress(NotFoundError):
            if not gone:  # before the purge: a backend that fails there must not keep Sidecars running
                delete_unscheduled(self._cluster, pod)
                stop_sidecars(self._cluster, pod, self._options.nop_image)
            if run.declares_results and (backend := purged_by(self.core, taskrun, pod)):
                self.core.purge(run, pod, self._cluster, backend=backend)
            purge_earlier(self.core, self._cluster, taskrun)
            if gone:
                self._cluster.delete(PODS, namespace, name)

    # Writing.

    def _write(self, taskrun: Object, status: Object) -> None:
        """One conditional status write, none if nothing but a time would change."""
        if not _differs(taskrun.get("status", {}), status):
            return
        metadata = taskrun["metadata"]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
        written = self._cluster.patch(
            TASKRUNS, metadata.get("namespace", ""), metadata["name"], patch, subresource="status"
        )
        taskrun["metadata"], taskrun["status"] = written["metadata"], written.get("status", {})

    def _write_refusal(self, taskrun: Object, refused: RefusedRun, now: datetime) -> None:
        """Write that a run cannot run; where the Task's spec has no room in the status, without that."""
        ended = refused_status(taskrun, self._cluster, self.core, refused, now)
        try:
            self._write(taskrun, ended)
        except ObjectTooLargeError:
            self._write(taskrun, {**ended, "taskSpec": None, "steps": None})

    def _write_end(self, taskrun: Object, status: Object, now: datetime) -> None:
        """Write the verdict. One that the server finds too large is written without results."""
        try:
            self._write(taskrun, status)
        except ObjectTooLargeError as error:
            message = (
                f"[User error] the run's status with its results is larger than the API server stores: "
                f"{error.message}; its results are left out"
            )
            small = failed_status(TerminationCause(reasons.TOO_LARGE, message), now, results=None)
            self._write(taskrun, small)


_ARCHIVED_BYTES: Final = 32_768
"""Bytes of an earlier attempt that are kept whole in ``retriesStatus``."""


def _unread(taskrun: Object, error: ResultsError, now: datetime) -> Object:
    """What a person sees while results cannot be read: one sentence for a kind of error, not one a try."""
    known = succeeded(taskrun)
    why = f"the results cannot be read yet and are tried again ({error.code}): "
    if str(known.get("message", "")).startswith(why):
        return known
    # What foreign code raised is in no ResultsError's message but by its type: it may hold a secret.
    return condition("Unknown", reasons.UNREADABLE, why + error.message, _unread_since(taskrun) or now)


def _unread_since(taskrun: Object) -> datetime | None:
    """When the attempt's results could not be read for the first time; ``None`` before that."""
    known = succeeded(taskrun)
    return parse_time(known.get("lastTransitionTime")) if known.get("reason") == reasons.UNREADABLE else None


def _without_values(attempt: Object) -> Object:
    """An archived attempt without what is large in it: results, messages, the Task's spec."""
    small = {key: value for key, value in attempt.items() if key not in ("results", "taskSpec")}
    small["steps"] = [
        {key: value for key, value in step.items() if key != "results"} for step in attempt.get("steps") or ()
    ]
    return small


def _differs(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether a status patch would change more than the time of a condition."""

    def still(conditions: Any) -> Any:
        return [{key: one[key] for key in one if key != "lastTransitionTime"} for one in conditions or ()]

    return any(
        still(value) != still(old.get(key)) if key == "conditions" else value != old.get(key)
        for key, value in new.items()
    )
