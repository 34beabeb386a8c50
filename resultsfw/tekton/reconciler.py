"""One TaskRun, one look: from what is there now to the next step. Crash-only: it keeps no state."""

import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from resultsfw.cluster import PODS, Cluster, Object
from resultsfw.core import STAMP_ANNOTATION, Core
from resultsfw.errors import (
    AlreadyExistsError,
    BackendError,
    ClusterError,
    CorruptError,
    FlagError,
    NotFoundError,
    ObjectTooLargeError,
    ResultsError,
    TooEarlyError,
)
from resultsfw.limits import object_size
from resultsfw.tekton import reasons
from resultsfw.tekton.conclude import conclude, condition, failed_status
from resultsfw.tekton.conditions import is_done, succeeded
from resultsfw.tekton.containers import PARAMS_MOUNT, is_cancellable
from resultsfw.tekton.ending import Cause, cancelled, cause_of, stop_mark, timed_out
from resultsfw.tekton.faults import begun, leaving, placed
from resultsfw.tekton.kinds import CLAIMS, TASKRUNS
from resultsfw.tekton.large import large_params, largest
from resultsfw.tekton.leftovers import let_go, marks_of, purge_earlier
from resultsfw.tekton.looks import Timing, next_look
from resultsfw.tekton.mirror import Progress, mirror, parse_time, progress_of
from resultsfw.tekton.owner import owns
from resultsfw.tekton.pod import PodOptions, build_pod
from resultsfw.tekton.podcare import all_ended, discard_unplaced, grace_of, release, stop, stop_sidecars
from resultsfw.tekton.referenced import resolved
from resultsfw.tekton.run import pod_name, run_of
from resultsfw.tekton.start import begun_status, refused_status, task_spec_of
from resultsfw.tekton.taskrun.stamps import purged_by, recorded_stamp
from resultsfw.tekton.validate import RefusedRun, pod_refused
from resultsfw.tekton.vanished import vanished_status
from resultsfw.tekton.workspaces import claims_of
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
    """

    def __init__(
        self,
        core: Core,
        cluster: Cluster,
        *,
        options: PodOptions | None = None,
        timing: Timing | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.core = core
        self._cluster = cluster
        self._options = options or PodOptions()
        self._timing = timing or Timing()
        self._clock = clock

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
            cause = Cause(reasons.TOO_LARGE, message)
            self._write(taskrun, failed_status(cause, self._clock(), podName="", taskSpec=None))
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
            return let_go(self.core, self._cluster, taskrun)
        if is_done(taskrun):
            self._clean_up(taskrun)
            return None
        now = self._clock()
        attempt = len(taskrun.get("status", {}).get("retriesStatus") or ())
        try:
            spec = task_spec_of(taskrun, self._cluster)
            run = run_of(taskrun, spec, attempt=attempt)
            pod = self._pod(taskrun, spec, run, now)
        except RefusedRun as refused:
            self._write(taskrun, refused_status(taskrun, self._cluster, self.core, refused, now))
            return None
        except (FlagError, BackendError) as error:
            return self._end(taskrun, Cause(reasons.VALIDATION_FAILED, error.message), now)
        except _Ended as ended:
            return self._end(taskrun, ended.cause, now, run=run)
        return self._follow(taskrun, run, pod, now)

    # The pod.

    def _pod(self, taskrun: Object, spec: Object, run: Run, now: datetime) -> Object:
        """The attempt's pod, made if there is none yet.

        Its name is a function of run and attempt: one made just before a crash is found again.
        """
        name = pod_name(run.name, run.attempt)
        status = taskrun.get("status", {})
        known = status.get("podName") == name
        cause = None if known else cancelled(taskrun) or timed_out(taskrun, now)
        if (
            not known
            and cause is None
            and STAMP_ANNOTATION not in (taskrun["metadata"].get("annotations") or {})
        ):
            # The stamp is written before the pod: without it there can be none whose backend was chosen.
            return self._make_pod(taskrun, spec, run, now)
        try:
            pod = self._cluster.get(PODS, run.namespace, name)
        except NotFoundError as error:
            if known:
                cause = Cause(reasons.POD_DELETED, f'pod "{name}" vanished before its results were read')
            if cause is not None:
                raise _Ended(cause) from error
            return self._make_pod(taskrun, spec, run, now)
        _refuse_foreign(taskrun, pod)
        if not status.get("podName"):
            self._begin(taskrun, spec, pod, now)
        return pod

    def _make_pod(self, taskrun: Object, spec: Object, run: Run, now: datetime) -> Object:
        annotations = taskrun["metadata"].get("annotations") or {}
        try:
            whole = resolved(self.core, self._cluster, taskrun, spec)
            bare = build_pod(
                whole.taskrun,
                whole.task_spec,
                attempt=run.attempt,
                options=self._options,
                files=whole.files,
            )
            bare = self.core.place_files(run, bare, whole.files, PARAMS_MOUNT)
            pod = self.core.prepare_pod(run, bare, cluster=self._cluster, annotations=annotations)
        except CorruptError as error:
            raise pod_refused(taskrun, error.message) from error
        except ClusterError as error:
            raise self._not_made(taskrun, spec, run, error, now) from error
        if marks := marks_of(self.core, taskrun, pod):
            # The pod's own stamp is what reading follows; this one is for people, and outlives the pod.
            # Conditional: a cancel that came meanwhile must be seen before there is a pod.
            marks["resourceVersion"] = taskrun["metadata"]["resourceVersion"]
            changed = self._cluster.patch(TASKRUNS, run.namespace, run.name, {"metadata": marks})
            taskrun["metadata"] = changed["metadata"]
        for claim in claims_of(taskrun):
            with contextlib.suppress(AlreadyExistsError):
                self._cluster.create(CLAIMS, claim)
        try:
            pod = self._cluster.create(PODS, pod)
        except AlreadyExistsError:
            pod = self._cluster.get(PODS, run.namespace, pod["metadata"]["name"])
            _refuse_foreign(taskrun, pod)
        except ObjectTooLargeError as error:
            raise RefusedRun(
                reasons.POD_CREATION_FAILED,
                f'failed to create task run pod "{run.name}": {error.message}'
                f"{largest(large_params(whole.taskrun, spec))}; make its scripts and parameters smaller",
            ) from error
        except ClusterError as error:
            raise self._not_made(taskrun, spec, run, error, now) from error
        self._begin(taskrun, spec, pod, now)
        return pod

    def _not_made(
        self, taskrun: Object, spec: Object, run: Run, error: ClusterError, now: datetime
    ) -> Exception:
        """What to raise where a pod, or what it needs, could not be made; a person sees why it waits."""
        why = f'failed to create task run pod "{run.name}": {error.message}'
        if not error.retryable:
            return RefusedRun(reasons.POD_CREATION_FAILED, why)
        # A quota may free itself; a Pod Security level does not. The run's timeout decides.
        waiting = begun_status(taskrun, spec, self.core, now) | {"podName": ""}
        waiting["conditions"] = [condition("Unknown", reasons.PENDING, why, now)]
        self._write(taskrun, waiting)
        return error

    def _begin(self, taskrun: Object, spec: Object, pod: Object, now: datetime) -> None:
        """Write the attempt's first status."""
        status = begun_status(taskrun, spec, self.core, now)
        status["podName"] = pod["metadata"]["name"]
        # What is written here is what later looks trust: a pod's own word is not enough.
        stamp = recorded_stamp(self.core, taskrun, pod)
        status["provenance"]["featureFlags"] |= {
            "maxResultSize": stamp.max_result_size,
            "resultExtractionMethod": stamp.backend,
        }
        self._write(taskrun, status)

    # The way to the end.

    def _follow(self, taskrun: Object, run: Run, pod: Object, now: datetime) -> float | None:
        progress = progress_of(pod, now)
        stamp, over, trouble, early = None, False, None, False
        with contextlib.suppress(BackendError):  # somebody edited it: the core says so where it is read
            stamp = recorded_stamp(self.core, taskrun, pod)
        cause = cause_of(taskrun, pod, progress, now, unschedulable=self._timing.unschedulable)
        # A pod that goes takes its log along: it is read as soon as it is whole.
        if progress.steps_done or (cause is not None and leaving(pod)):
            try:
                over = self.core.ready(run, pod, stamp=stamp)
            except ResultsError as error:
                # Who cannot say when its pod is ready is asked for its results once all of it has ended.
                log.warning("run %s/%s: is it ready to be read? %s", run.namespace, run.name, error.message)
                trouble = error
        if over or all_ended(pod):
            try:
                return self._conclude(taskrun, run, pod, stamp, cause=cause, now=now)
            except ClusterError as error:
                # Of a pod that goes there may never be more to read: it is not waited for longer than that.
                if isinstance(error, TooEarlyError):
                    early = True
                elif leaving(pod):
                    early, trouble = True, error
                else:
                    raise
        mark, soon = stop_mark(pod), None
        ending = cause or (mark.cause if mark else self._must_stop(progress, now))
        if ending is not None:
            waited = stop(self._cluster, pod, ending, now) if placed(pod) else 0
            if not begun(pod) or waited > grace_of(pod) + self._timing.stop:
                return self._conclude(taskrun, run, pod, stamp, cause=cause, now=now, final=True)
        elif progress.steps_done:
            # Native sidecars end, and with them the pod, only when no other container runs.
            stop_sidecars(self._cluster, pod, self._options.nop_image)
        else:
            soon = release(self._cluster, pod, now)
        status = mirror(pod, taskrun.get("status", {}), done=False, messages=not self.core.withholds)
        status["conditions"] = [
            condition("Unknown", *progress.running, now)
            if trouble is None
            else _unread(taskrun, trouble, now)
        ]
        self._write(taskrun, status)
        return next_look(
            taskrun, pod, progress, self._timing, stopping=ending is not None, early=early, soon=soon, now=now
        )

    def _must_stop(self, progress: Progress, now: datetime) -> Cause | None:
        """Why the pod must be stopped though its run has no cause of its own to end."""
        if progress.stuck:
            return Cause("", "a Step was killed; others may wait for it for ever")
        if progress.steps_done and progress.ended_at is not None:
            waited = (now - progress.ended_at).total_seconds()
            if waited > self._timing.sidecar:
                return Cause("", f"the Steps ended {waited:.0f} s ago and their results are not there")
        return None

    def _conclude(
        self,
        taskrun: Object,
        run: Run,
        pod: Object,
        stamp: Stamp | None,
        *,
        cause: Cause | None,
        now: datetime,
        final: bool = False,
    ) -> float | None:
        # Not from the pod's end: that may be long ago when a controller, or its server, comes back.
        waited = (now - (_unread_since(taskrun) or now)).total_seconds()
        final = final or waited > self._timing.read
        try:
            done = conclude(
                self.core, self._cluster, taskrun, run, pod, now=now, stamp=stamp, cause=cause, final=final
            )
        except TooEarlyError:
            raise
        except ResultsError as error:
            log.warning("run %s/%s: reading results: %s", run.namespace, run.name, error.message)
            status = mirror(pod, taskrun.get("status", {}), done=False, messages=not self.core.withholds)
            status["conditions"] = [_unread(taskrun, error, now)]
            self._write(taskrun, status)
            if isinstance(error, ClusterError):
                raise
            return min(5.0, self._timing.read)
        if self._retries_left(taskrun, done.patch):
            again = self._retry(taskrun, done.patch["status"], now)
            discard_unplaced(self._cluster, pod)
            return again
        self._write_end(taskrun, done.patch["status"], now)
        self._clean_up({**taskrun, "status": {**taskrun.get("status", {}), **done.patch["status"]}}, pod=pod)
        return None

    def _end(self, taskrun: Object, cause: Cause, now: datetime, *, run: Run | None = None) -> float | None:
        """End a run that has no pod to read; ``run`` where it had one."""
        status = taskrun.get("status", {})
        first = {} if status.get("startTime") else begun_status(taskrun, None, self.core, now)
        if not status.get("podName"):
            first["podName"] = ""
        if run is not None and status.get("podName"):
            told = vanished_status(self.core, self._cluster, taskrun, run, cause=cause, now=now)
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
                discard_unplaced(self._cluster, pod)
                stop_sidecars(self._cluster, pod, self._options.nop_image)
            if run.declares and (backend := purged_by(self.core, taskrun, pod)):
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

    def _write_end(self, taskrun: Object, status: Object, now: datetime) -> None:
        """Write the verdict. One that the server finds too large is written without results."""
        try:
            self._write(taskrun, status)
        except ObjectTooLargeError as error:
            message = (
                f"[User error] the run's status with its results is larger than the API server stores: "
                f"{error.message}; its results are left out"
            )
            small = failed_status(Cause(reasons.TOO_LARGE, message), now, results=None)
            self._write(taskrun, small)


_ARCHIVED_BYTES: Final = 32_768
"""Bytes of an earlier attempt that are kept whole in ``retriesStatus``."""


class _Ended(Exception):  # noqa: N818 - no error: a way out of looking for a pod
    """The run is over for a cause that needs no pod."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


def _refuse_foreign(taskrun: Object, pod: Object) -> None:
    """Raise RefusedRun for a pod under the run's name that is not its own."""
    if not owns(taskrun, pod):
        raise RefusedRun(
            reasons.POD_CREATION_FAILED,
            f'failed to create task run pod "{taskrun["metadata"]["name"]}": pod "{pod["metadata"]["name"]}" '
            f"exists and belongs to somebody else; delete it or name the run otherwise",
        )


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
