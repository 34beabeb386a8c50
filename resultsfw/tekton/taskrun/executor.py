"""Carry out the action that was decided for a TaskRun, and return what it brought to light."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from resultsfw.cluster import PODS, Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import (
    BackendError,
    ClusterError,
    ForbiddenError,
    NotFoundError,
    ResultsError,
    TooEarlyError,
)
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.attempts import attempt_number
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.names import pod_name
from resultsfw.tekton.api.policies import Policies
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.podstatus.ready_signal import REPEAT_SECONDS, ReadySignal
from resultsfw.tekton.podstatus.startup_failures import StartTolerance
from resultsfw.tekton.podstatus.step_states import pod_status_fields
from resultsfw.tekton.resolution.outcomes import AwaitingResolution
from resultsfw.tekton.resolution.requests import POLL_SECONDS
from resultsfw.tekton.resolution.terms import ListPolicies, Terms
from resultsfw.tekton.spec.declared_results import run_of
from resultsfw.tekton.spec.run_defaults import RunDefaults
from resultsfw.tekton.taskrun import actions
from resultsfw.tekton.taskrun.actions import Action
from resultsfw.tekton.taskrun.attempt import (
    Attempt,
    Finished,
    finished_within,
    required,
    with_failure,
    with_pod_facts,
)
from resultsfw.tekton.taskrun.cleanup import clean_up
from resultsfw.tekton.taskrun.completion import attest, complete, failed_status
from resultsfw.tekton.taskrun.finalizers import finalize
from resultsfw.tekton.taskrun.image_lookup import ImageLookup
from resultsfw.tekton.taskrun.initial_status import (
    attempt_status,
    first_status,
    pending_status,
    refused_status,
)
from resultsfw.tekton.taskrun.missing_pod import missing_pod_status
from resultsfw.tekton.taskrun.observation import (
    AwaitedAnswer,
    Failure,
    Lookup,
    Readiness,
    observe,
    verdict_of,
)
from resultsfw.tekton.taskrun.pod_creation import REFUSALS, PodCreator, failure_of, foreign_pod
from resultsfw.tekton.taskrun.pod_lifecycle import delete_unscheduled, mark_ready, stop_sidecars, terminate
from resultsfw.tekton.taskrun.pod_registration import (
    RETRY_SECONDS,
    awaits_registration,
    is_unregistered,
    register_pod,
)
from resultsfw.tekton.taskrun.stamps import recorded_stamp
from resultsfw.tekton.taskrun.status_writer import (
    retry_status,
    unreadable_condition,
    write_final_status,
    write_refusal,
    write_status,
)
from resultsfw.tekton.taskrun.task_resolution import resolve_task
from resultsfw.tekton.taskrun.termination import TerminationCause

__all__ = ["Executor"]

log = logging.getLogger(__name__)


class Executor:
    """Carries out actions. Keeps no state of any TaskRun.

    Args:
        core: The core with the flags in effect.
        cluster: Where TaskRuns and Pods live.
        options: Images and defaults of the pods.
        policies: What an operator forbids.
        tolerance: How long a run waits for containers that cannot start.
        tell: Records an Event on a TaskRun: reason and message.
        defaults: The defaults of runs.
        verification_policies: Returns the VerificationPolicies of a namespace.
        images: Looks up the commands of images; ``None``: nothing does.
    """

    def __init__(
        self,
        core: ResultsManager,
        cluster: Cluster,
        *,
        options: PodOptions,
        policies: Policies,
        tolerance: StartTolerance,
        tell: Callable[[Object, str, str], None],
        defaults: RunDefaults,
        verification_policies: ListPolicies,
        images: ImageLookup | None,
    ) -> None:
        self.core = core
        self._defaults = defaults
        self._verification_policies = verification_policies
        self._cluster = cluster
        self._options = options
        self._policies = policies
        self._tolerance = tolerance
        self._pods = PodCreator(core, cluster, options, policies, tell=tell, images=images)
        self._handlers: dict[type[Action], Callable[[Any, Attempt], Attempt | Finished]] = {
            actions.HoldBack: self._hold_back,
            actions.StartAttempt: self._start_attempt,
            actions.ResolveTask: self._resolve_task,
            actions.ReadPod: self._read_pod,
            actions.CreatePod: self._create_pod,
            actions.RecordPod: self._record_pod,
            actions.AwaitResolution: self._await_resolution,
            actions.Refuse: self._refuse,
            actions.FailWithoutPod: self._fail_without_pod,
            actions.CollectWithoutPod: self._collect_without_pod,
            actions.AwaitImages: self._await_images,
            actions.ReportWaiting: self._report_waiting,
            actions.BackOff: self._back_off,
            actions.AskWhetherReady: self._ask_whether_ready,
            actions.Collect: self._collect,
            actions.TerminatePod: self._terminate_pod,
            actions.StopSidecars: self._stop_sidecars,
            actions.MarkReady: self._mark_ready,
            actions.Wait: self._wait,
            actions.ReportUnreadable: self._report_unreadable,
            actions.Retry: self._retry,
            actions.WriteFinalStatus: self._write_final_status,
            actions.CleanUp: self._clean_up,
            actions.Finalize: self._finalize,
            actions.Finish: self._finish,
        }

    def apply(self, action: Action, attempt: Attempt) -> Attempt | Finished:
        """Carry out an action.

        Returns:
            The attempt with what the action brought to light, or the end of the pass.

        Raises:
            ClusterError: The API server refused, or the action is to raise one.
            BackendError: What a backend keeps could not be purged.
        """
        return self._handlers[type(action)](action, attempt)

    # The beginning of an attempt.

    def _hold_back(self, _: actions.HoldBack, attempt: Attempt) -> Finished:
        taskrun = attempt.taskrun
        write_status(self._cluster, taskrun, pending_status(taskrun, attempt.seen.now))
        return Finished()

    def _start_attempt(self, _: actions.StartAttempt, attempt: Attempt) -> Attempt:
        now = attempt.seen.now
        taskrun = write_status(self._cluster, attempt.taskrun, first_status(now))
        return replace(attempt, taskrun=taskrun, seen=observe(taskrun, None, now))

    def _resolve_task(self, _: actions.ResolveTask, attempt: Attempt) -> Attempt:
        taskrun = attempt.taskrun
        try:
            terms = Terms(attempt.seen.now, self._defaults.resolution_timeout, self._verification_policies)
            task = resolve_task(taskrun, self._cluster, terms=terms, binding=self._defaults.workspace_binding)
            run = run_of(task.taskrun, task.spec, attempt=attempt_number(taskrun))
        except AwaitingResolution as awaiting:
            awaited = AwaitedAnswer(awaiting.reason, awaiting.message)
            return replace(attempt, seen=replace(attempt.seen, awaited_answer=awaited))
        except REFUSALS as error:
            return with_failure(attempt, failure_of(error))
        except ClusterError as error:
            why = f"the Task could not be read, or the run not labelled as it is: {error.message}"
            return with_failure(attempt, Failure(reasons.RESOLUTION_FAILED, why, error))
        seen = replace(attempt.seen, task_resolved=True)
        return replace(
            attempt,
            taskrun=task.taskrun,
            task_spec=task.spec,
            sources=task.sources,
            run=run,
            seen=seen,
        )

    def _await_resolution(self, action: actions.AwaitResolution, attempt: Attempt) -> Finished:
        taskrun, now = attempt.taskrun, attempt.seen.now
        waiting = condition("Unknown", action.reason, action.message, now)
        write_status(self._cluster, taskrun, {"podName": "", "conditions": [waiting]})
        return finished_within(taskrun, POLL_SECONDS, now)

    def _read_pod(self, _: actions.ReadPod, attempt: Attempt) -> Attempt:
        taskrun, seen = attempt.taskrun, attempt.seen
        metadata = taskrun["metadata"]
        try:
            name = pod_name(metadata["name"], attempt_number(taskrun))
            pod = self._cluster.get(PODS, metadata.get("namespace", ""), name)
        except NotFoundError:
            return replace(attempt, seen=replace(seen, lookup=Lookup.ABSENT))
        except ForbiddenError as error:
            why = f"the pod could not be read: {error.message}"
            return with_failure(attempt, Failure(reasons.POD_CREATION_FAILED, why, error), Lookup.UNUSABLE)
        if (foreign := foreign_pod(taskrun, pod)) is not None:
            return with_failure(attempt, foreign, Lookup.UNUSABLE)
        if seen.pod_recorded:
            return self._with_pod(attempt, taskrun, pod)
        return replace(attempt, pod=pod, seen=replace(seen, lookup=Lookup.FOUND))

    def _create_pod(self, _: actions.CreatePod, attempt: Attempt) -> Attempt:
        made = self._pods.create(
            attempt.taskrun, required(attempt.task_spec), required(attempt.run), attempt.seen.now
        )
        attempt = replace(attempt, taskrun=made.taskrun, pod=made.pod)
        if made.failure is not None:
            return with_failure(attempt, made.failure)
        if made.awaited_images:
            return replace(attempt, seen=replace(attempt.seen, awaited_images=made.awaited_images))
        return replace(attempt, seen=replace(attempt.seen, lookup=Lookup.FOUND))

    def _record_pod(self, _: actions.RecordPod, attempt: Attempt) -> Attempt:
        taskrun, pod = attempt.taskrun, required(attempt.pod)
        required(attempt.task_spec)
        status = self._attempt_status(attempt)
        try:
            stamp = recorded_stamp(self.core, taskrun, pod)
        except BackendError as error:
            return with_failure(attempt, failure_of(error))
        # What is written here is what later passes trust: whoever may write pods can edit their annotations.
        status["provenance"]["featureFlags"] |= {
            "maxResultSize": stamp.max_result_size,
            "resultExtractionMethod": stamp.backend,
        }
        if (awaited := register_pod(self.core, required(attempt.run), pod, attempt.seen.now)) is not None:
            status["conditions"] = [*status["conditions"], awaited]
        taskrun = write_status(self._cluster, taskrun, status | {"podName": pod["metadata"]["name"]})
        return self._with_pod(attempt, taskrun, pod)

    def _with_pod(self, attempt: Attempt, taskrun: Object, pod: Object) -> Attempt:
        seen = observe(
            taskrun, pod, attempt.seen.now, nop_image=self._options.nop_image, tolerance=self._tolerance
        )
        stamp = None
        with contextlib.suppress(BackendError):
            stamp = recorded_stamp(self.core, taskrun, pod)
        return replace(attempt, taskrun=taskrun, pod=pod, stamp=stamp, seen=seen)

    # While the pod runs.

    def _ask_whether_ready(self, _: actions.AskWhetherReady, attempt: Attempt) -> Attempt:
        run, pod = required(attempt.run), required(attempt.pod)
        try:
            readiness = Readiness(self.core.is_ready(run, pod, stamp=attempt.stamp))
        except ResultsError as error:
            log.warning("run %s/%s: is it ready to be read? %s", run.namespace, run.name, error.message)
            readiness = Readiness(ready=False, error=error)
        return with_pod_facts(attempt, readiness=readiness)

    def _mark_ready(self, action: actions.MarkReady, attempt: Attempt) -> Attempt:
        mark_ready(self._cluster, required(attempt.pod), attempt.seen.now, repeat=action.repeat)
        return with_pod_facts(
            attempt, signal=ReadySignal(repeat_in=None if action.repeat else REPEAT_SECONDS)
        )

    def _terminate_pod(self, action: actions.TerminatePod, attempt: Attempt) -> Attempt:
        terminate(self._cluster, required(attempt.pod), action.cause, attempt.seen.now)
        return with_pod_facts(attempt, terminating_for=0.0)

    def _stop_sidecars(self, _: actions.StopSidecars, attempt: Attempt) -> Attempt:
        stop_sidecars(self._cluster, required(attempt.pod), self._options.nop_image)
        return with_pod_facts(attempt, sidecars_run=False)

    def _wait(self, action: actions.Wait, attempt: Attempt) -> Finished:
        waiting = condition("Unknown", action.reason, action.message, attempt.seen.now)
        written = self._write_pod_status(attempt, waiting)
        if is_unregistered(written):
            return Finished(min(RETRY_SECONDS, action.requeue_after or RETRY_SECONDS))
        return Finished(action.requeue_after)

    def _report_unreadable(self, action: actions.ReportUnreadable, attempt: Attempt) -> Finished:
        unreadable = unreadable_condition(attempt.taskrun, action.error, attempt.seen.now)
        self._write_pod_status(attempt, unreadable)
        if action.back_off:
            raise action.error
        return Finished(action.requeue_after)

    def _write_pod_status(self, attempt: Attempt, succeeded: Object) -> Object:
        """Copy the states of Steps and Sidecars into the status, with this condition; return the TaskRun."""
        conditions = [succeeded]
        run, pod = required(attempt.run), required(attempt.pod)
        if awaits_registration(attempt.taskrun, attempt.seen.now) and (
            awaited := register_pod(self.core, run, pod, attempt.seen.now)
        ):
            conditions.append(awaited)
        status = pod_status_fields(
            pod,
            attempt.taskrun.get("status", {}),
            done=False,
            messages=not self.core.redacting_extensions,
        )
        return write_status(self._cluster, attempt.taskrun, status | {"conditions": conditions})

    # The end of an attempt.

    def _collect(self, action: actions.Collect, attempt: Attempt) -> Attempt:
        taskrun, run, pod = attempt.taskrun, required(attempt.run), required(attempt.pod)
        try:
            done = complete(
                self.core,
                self._cluster,
                taskrun,
                run,
                pod,
                now=attempt.seen.now,
                stamp=attempt.stamp,
                cause=action.cause,
                final=action.final,
                progress=None if attempt.seen.pod is None else attempt.seen.pod.progress,
            )
            attest(self.core, taskrun, run, done, final=action.final)
        except TooEarlyError as error:
            return with_pod_facts(attempt, read_error=error)
        except ResultsError as error:
            log.warning("run %s/%s: reading results: %s", run.namespace, run.name, error.message)
            return with_pod_facts(attempt, read_error=error)
        ended = done.patch["status"]
        return replace(attempt, ended=ended, seen=replace(attempt.seen, verdict=verdict_of(taskrun, ended)))

    def _collect_without_pod(self, _: actions.CollectWithoutPod, attempt: Attempt) -> Attempt:
        taskrun = attempt.taskrun
        why = f'pod "{taskrun["status"]["podName"]}" vanished before its results were read'
        cause = TerminationCause(reasons.POD_DELETED, why)
        run, now = required(attempt.run), attempt.seen.now
        ended = missing_pod_status(self.core, self._cluster, taskrun, run, cause=cause, now=now)
        return replace(attempt, ended=ended, seen=replace(attempt.seen, verdict=verdict_of(taskrun, ended)))

    def _write_final_status(self, _: actions.WriteFinalStatus, attempt: Attempt) -> Attempt:
        taskrun, ended = attempt.taskrun, required(attempt.ended)
        taskrun = write_final_status(self._cluster, taskrun, ended, attempt.seen.now)
        # What is cleaned up follows from the verdict, also if its results did not fit.
        taskrun = {**taskrun, "status": {**taskrun.get("status", {}), **ended}}
        return replace(attempt, taskrun=taskrun, seen=replace(attempt.seen, done=True))

    def _retry(self, _: actions.Retry, attempt: Attempt) -> Finished:
        taskrun, now = attempt.taskrun, attempt.seen.now
        write_status(self._cluster, taskrun, retry_status(taskrun, required(attempt.ended), now))
        if attempt.pod is not None:
            delete_unscheduled(self._cluster, attempt.pod)
        return Finished(0.0)

    def _fail_without_pod(self, action: actions.FailWithoutPod, attempt: Attempt) -> Finished:
        taskrun, now = attempt.taskrun, attempt.seen.now
        unnamed = {} if taskrun["status"].get("podName") else {"podName": ""}  # the CRD requires one
        write_final_status(self._cluster, taskrun, unnamed | failed_status(action.cause, now), now)
        return Finished()

    def _refuse(self, action: actions.Refuse, attempt: Attempt) -> Finished:
        cause = TerminationCause(action.reason, action.message)
        refused = refused_status(attempt.taskrun, self._cluster, self.core, cause, attempt.seen.now)
        write_refusal(self._cluster, attempt.taskrun, refused)
        return Finished()

    def _attempt_status(self, attempt: Attempt) -> Object:
        return attempt_status(
            attempt.taskrun,
            attempt.task_spec,
            self.core,
            attempt.seen.now,
            sources=attempt.sources,
            nonfalsifiability=self._policies.nonfalsifiability,
        )

    def _await_images(self, action: actions.AwaitImages, attempt: Attempt) -> Finished:
        taskrun, now = attempt.taskrun, attempt.seen.now
        waiting = condition("Unknown", reasons.PENDING, action.message, now)
        status = self._attempt_status(attempt) | {"podName": "", "conditions": [waiting]}
        return finished_within(write_status(self._cluster, taskrun, status), POLL_SECONDS, now)

    def _report_waiting(self, action: actions.ReportWaiting, attempt: Attempt) -> Finished:
        if not attempt.seen.pod_recorded:
            now = attempt.seen.now
            status = self._attempt_status(attempt)
            waiting = condition("Unknown", reasons.PENDING, action.message, now)
            write_status(self._cluster, attempt.taskrun, status | {"podName": "", "conditions": [waiting]})
        raise action.error

    def _back_off(self, action: actions.BackOff, _: Attempt) -> Finished:
        raise action.error

    def _clean_up(self, _: actions.CleanUp, attempt: Attempt) -> Finished:
        clean_up(self.core, self._cluster, attempt.taskrun, self._options, pod=attempt.pod)
        return Finished()

    def _finalize(self, _: actions.Finalize, attempt: Attempt) -> Finished:
        return Finished(finalize(self.core, self._cluster, attempt.taskrun))

    def _finish(self, _: actions.Finish, __: Attempt) -> Finished:
        return Finished()
