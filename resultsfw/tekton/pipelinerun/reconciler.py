"""One PipelineRun, one look: which TaskRuns are due, and what its status says. It keeps no state."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol

from resultsfw.cluster import Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ObjectTooLargeError,
)
from resultsfw.tekton.api.conditions import condition, is_done, previous_status, waiting_for
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.api.owners import owns
from resultsfw.tekton.api.policies import Policies, pipeline_violations, violations
from resultsfw.tekton.api.reasons import CLAIM_FAILED
from resultsfw.tekton.api.refusals import USER_ERROR, RefusedRun
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.child_statuses import children_in
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.object_limits import refuse_large, too_large
from resultsfw.tekton.pipelinerun.pipeline_spec import Applied, applied, marks_of, raw_spec
from resultsfw.tekton.pipelinerun.result_refs import reader
from resultsfw.tekton.pipelinerun.status import skipped_tasks, timed_out, verdict
from resultsfw.tekton.pipelinerun.status_writer import StatusWriter, Warn
from resultsfw.tekton.pipelinerun.taskrun_builder import TaskRunBuilder, at_once_of, taskrun_name
from resultsfw.tekton.pipelinerun.timeouts import refuse_timeouts, times_of
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of
from resultsfw.tekton.pipelinerun.validate_references import refuse_references
from resultsfw.tekton.spec.workspaces import make_claims

__all__ = ["PipelineReconciler", "TaskRunReader"]

log = logging.getLogger(__name__)

_HELD: Final = "PipelineRunPending"
"""``spec.status`` of a run that must not begin yet."""

_AGAIN: Final = 0.05
"""Seconds after which the next are made."""

_CHILD_REFUSED: Final = "TaskRun cancelled as the PipelineRun it belongs to cannot go on."
_CHILD_ENDED: Final = "TaskRun cancelled as the PipelineRun it belongs to is too large to be stored."


@dataclass(frozen=True, slots=True)
class _Unmade:
    """A TaskRun that could not be made, and why."""

    taskrun: str
    task: str
    error: ClusterError

    def __str__(self) -> str:
        why = self.error.message
        return f'TaskRun "{self.taskrun}" of Pipeline Task "{self.task}" could not be made: {why}'


class _Noted(Exception):  # noqa: N818 - a way out, to `reconcile`
    """A request failed and is to be tried again; why, the run's condition says already."""

    def __init__(self, error: ClusterError) -> None:
        super().__init__(error.message)
        self.error = error


class TaskRunReader(Protocol):
    """Reads finished TaskRuns whose results a cache leaves out to save memory."""

    def is_complete(self, taskrun: Object) -> bool:
        """Return whether a TaskRun from the cache has all results that it has on the API server."""
        ...

    def read(self, taskrun: Object) -> Object:
        """Return the TaskRun from the API server. Raises ClusterError."""
        ...


class PipelineReconciler:
    """Takes PipelineRuns from wherever they are to their end.

    It reads results from the status of TaskRuns only, never from pods.

    Args:
        core: With the flags in force.
        cluster: Where PipelineRuns and TaskRuns live.
        clock: Tells the time; UTC.
        tell: Warns people of what a run's status cannot hold; besides the log.
        taskruns: Reads finished TaskRuns whose results ``cluster`` leaves out.
        policies: What an operator forbids.
    """

    def __init__(
        self,
        core: ResultsManager,
        cluster: Cluster,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        tell: Warn = lambda *_: None,
        taskruns: TaskRunReader | None = None,
        policies: Policies | None = None,
    ) -> None:
        self._policies = policies or Policies()
        self.core = core
        self._taskruns = taskruns
        self._status = StatusWriter(cluster, tell)
        self._cluster = cluster
        self._clock = clock

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take a PipelineRun one step further.

        Returns:
            Seconds after which it wants to look again though nothing changed; ``None`` for never.

        Raises:
            ClusterError: Try again if it is ``retryable``; a conflict means somebody else wrote.
        """
        try:
            pipelinerun = self._cluster.get(PIPELINERUNS, namespace, name)
        except NotFoundError:
            return None
        if pipelinerun["metadata"].get("deletionTimestamp") or is_done(pipelinerun):
            return None
        now = self._clock()
        asked = pipelinerun["spec"].get("status") or ""
        if asked == _HELD:
            if not pipelinerun.get("status", {}).get("startTime"):
                said = f'PipelineRun "{name}" is pending'
                self._status.write(
                    pipelinerun, {"conditions": [condition("Unknown", reasons.PENDING, said, now)]}
                )
                return None
            asked = ""  # one that has begun goes on: Tekton's webhook refuses to hold it back then
        if not pipelinerun.get("status", {}).get("startTime"):
            # Before anything can fail: the timeouts count from here.
            started = {
                "startTime": format_time(now),
                "conditions": [condition("Unknown", reasons.STARTED, "", now)],
            }
            self._status.write(pipelinerun, started)
        try:
            return self._begun(pipelinerun, asked, now)
        except RefusedRun as refused:
            known = children_in(pipelinerun.get("status") or {})
            self._cancel_all(pipelinerun, [child.get("pipelineTaskName") or "" for child in known])
            self._status.write(pipelinerun, _final(refused.reason, refused.message, now))
            return None
        except _Noted as noted:
            noted.error.retry_within = min(times_of(pipelinerun, now).left(), default=None)
            raise noted.error from None

    def _begun(self, pipelinerun: Object, asked: str, now: datetime) -> float | None:
        """Take a run that has its first status one step further."""
        try:
            spec, plan = self._plan(pipelinerun, now)
        except Exception:  # of whatever kind: the run must not outlive its time, nor its cancellation
            if (over := self._over_without_plan(pipelinerun, asked, now)) is None:
                raise
            self._status.write(pipelinerun, _final(*over, now))
            return None
        try:
            return self._follow(pipelinerun, spec, plan, asked, now)
        except ObjectTooLargeError as error:
            self._end_too_large(pipelinerun, plan, error, now)
            return None
        except ClusterError as error:
            if not error.retryable:
                raise
            why = f"a request failed and is tried again: {error.message}"
            raise self._not_done(pipelinerun, "", why, error, now) from error
        except RefusedRun:
            # Some may have been made just now, or before a crash: the status does not know them.
            self._cancel_all(pipelinerun, [task["name"] for _, task in tasks_of(plan.spec)])
            raise

    def _cancel_all(self, pipelinerun: Object, names: Iterable[str]) -> None:
        """Cancel the TaskRuns of these Tasks, where there are any, of a run that ends at once."""
        metadata = pipelinerun["metadata"]
        running: dict[str, Object] = {}
        for name in names:
            with contextlib.suppress(NotFoundError):
                taskrun = self._cluster.get(
                    TASKRUNS, metadata.get("namespace", ""), taskrun_name(metadata["name"], name)
                )
                if owns(pipelinerun, taskrun) and not is_done(taskrun):
                    running[name] = taskrun
        self._cancel(pipelinerun, running, running, _CHILD_REFUSED)

    def _plan(self, pipelinerun: Object, now: datetime) -> tuple[Object, Applied]:
        """Return the Pipeline's spec as written and as this run has it; a run that begins gets its labels."""
        spec, pipeline, metadata = self._pipeline(pipelinerun, now)
        if not children_in(pipelinerun["status"]):
            self._refuse_forbidden(pipelinerun, spec, pipeline)
        if not pipelinerun["status"].get("pipelineSpec"):
            self._mark(pipelinerun, pipeline, metadata, now)
            refuse_timeouts(pipelinerun)
        return spec, applied(pipelinerun, spec, pipeline)

    def _pipeline(self, pipelinerun: Object, now: datetime) -> tuple[Object, str, Object]:
        """Return what `raw_spec` does; where the Pipeline cannot be read, the run says so and waits."""
        try:
            return raw_spec(pipelinerun, self._cluster)
        except ClusterError as error:
            why = f"the Pipeline could not be read: {error.message}"
            raise self._not_done(pipelinerun, reasons.COULDNT_GET_PIPELINE, why, error, now) from error

    def _over_without_plan(self, pipelinerun: Object, asked: str, now: datetime) -> tuple[str, str] | None:
        """Return reason and message for a run that is over before anything of it was made."""
        if pipelinerun["status"].get("pipelineSpec"):
            return None
        times, waited = times_of(pipelinerun, now), _waited(pipelinerun)
        if asked == "Cancelled":
            return reasons.CANCELLED, _cancelled(pipelinerun) + waited
        if times.has_elapsed(times.pipeline_deadline):
            return reasons.TIMED_OUT, timed_out(pipelinerun["metadata"]["name"], times) + waited
        return None

    def _not_done(
        self, pipelinerun: Object, reason: str, why: str, error: ClusterError, now: datetime
    ) -> Exception:
        """Return what to raise where something that a run needs could not be read or made.

        What a server will never accept ends the run, with ``reason``. What may come right is tried again, and
        the run's condition says what it waits for; its timeout decides.
        """
        if isinstance(error, ConflictError):
            return _Noted(error)  # somebody else wrote: nothing is known to be wrong
        if not error.retryable:
            return RefusedRun(reason, why)
        self._status.write(pipelinerun, {"conditions": [condition("Unknown", reasons.PENDING, why, now)]})
        return _Noted(error)

    def _refuse_forbidden(self, pipelinerun: Object, spec: Object, pipeline: str) -> None:
        """Raise RefusedRun for a run without TaskRuns yet that the operator's policies forbid."""
        found = violations(pipelinerun, self._policies)
        if pipelinerun["spec"].get("pipelineSpec") is None:
            found += pipeline_violations(spec, self._policies, path=f'Pipeline "{pipeline}": spec')
        if found:
            metadata = pipelinerun["metadata"]
            whose = f"{metadata.get('namespace', '')}/{metadata['name']}"
            message = f"{USER_ERROR}PipelineRun {whose} can't be Run: {'; '.join(found)}"
            raise RefusedRun(reasons.INVALID, message, subject=f"PipelineRun {whose}")

    def _end_too_large(
        self, pipelinerun: Object, plan: Applied, error: ObjectTooLargeError, now: datetime
    ) -> None:
        """End a run that its server cannot hold any more: it would be tried again for ever."""
        runs = self._runs(pipelinerun, plan, sure=True)
        self._cancel(pipelinerun, runs, [one for one in runs if not is_done(runs[one])], _CHILD_ENDED)
        said = (
            f"the PipelineRun with its status is larger than the API server stores: {error.message}; make "
            f"its Pipeline and parameters smaller"
        )
        ended = {**_final(reasons.TOO_LARGE, said, now), "pipelineSpec": None}
        self._status.write(pipelinerun, ended)

    def _follow(
        self, pipelinerun: Object, spec: Object, plan: Applied, asked: str, now: datetime
    ) -> float | None:
        waited, mode = _waited(pipelinerun), self.core.flags.embedded_status
        status: Object = {"startTime": pipelinerun["status"]["startTime"], "pipelineSpec": spec}
        begun = {**pipelinerun, "status": {**pipelinerun["status"], **status}}
        times = times_of(begun, now)
        elapsed = [times.has_elapsed(end) for end in (times.pipeline_deadline, times.tasks_deadline)]
        runs = self._runs(pipelinerun, plan, sure=bool(asked) or any(elapsed))
        if not runs and not elapsed[0] and asked != "Cancelled":
            refuse_large(begun)
            self._prepare(pipelinerun, plan, now)
        build = TaskRunBuilder(pipelinerun).build
        refuse = lambda facts, name: too_large(build(facts, name), name)  # noqa: E731
        read = reader(self.core, self._cluster, pipelinerun["metadata"].get("namespace", ""), times)
        at_once = at_once_of(pipelinerun)
        facts = Facts(plan, runs, asked, times, refuse, read, self._with_results, at_once)
        self._end_children(pipelinerun, facts)
        if asked == "Cancelled":
            ended = _final(reasons.CANCELLED, _cancelled(pipelinerun) + waited, now)
            self._status.write_facts(pipelinerun, facts, {**status, **ended}, mode, now)
            return None
        refused = None
        due = facts.next_tasks()
        if due:
            made, refused = self._make_all(pipelinerun, build, facts, due[:at_once])
            facts = Facts(plan, {**runs, **made}, asked, times, refuse, read, self._with_results, at_once)
        if facts.final and facts.dag_done and not begun["status"].get("finallyStartTime"):
            status["finallyStartTime"] = format_time(now)
        told, reason, message = verdict(pipelinerun["metadata"]["name"], facts)
        if reason in (reasons.TIMED_OUT, reasons.CANCELLED):
            message += waited
        if refused is not None and told == "Unknown":
            reason, message = reasons.PENDING, f"{message}; {refused}"
        status |= {
            "skippedTasks": skipped_tasks(facts) or None,
            "conditions": [condition(told, reason, message, now)],
        }
        self._status.write_facts(pipelinerun, facts, status, mode, now)
        if refused is not None and told == "Unknown":
            raise _Noted(refused.error)
        if told != "Unknown":
            return None
        return _AGAIN if len(due) > at_once else min(facts.times.left(), default=None)

    def _prepare(self, pipelinerun: Object, plan: Applied, now: datetime) -> None:
        """Before the first TaskRun: refuse what cannot run, make the claims."""
        try:
            refuse_references(pipelinerun, plan, self._cluster)
        except ClusterError as error:
            why = f"a Task could not be read: {error.message}"
            raise self._not_done(pipelinerun, reasons.COULDNT_GET_TASK, why, error, now) from error
        if (failure := make_claims(self._cluster, pipelinerun, PIPELINERUNS)) is not None:
            why, refusal = failure
            raise self._not_done(pipelinerun, CLAIM_FAILED, why, refusal, now) from refusal

    def _mark(self, pipelinerun: Object, pipeline: str, described: Object, now: datetime) -> None:
        """Give a run that begins the label of its Pipeline, and what the Pipeline itself is labelled with."""
        if marks := marks_of(pipelinerun, pipeline, described):
            metadata = pipelinerun["metadata"]
            marked = {"metadata": {**marks, "resourceVersion": metadata["resourceVersion"]}}
            namespace, name = metadata.get("namespace", ""), metadata["name"]
            try:
                changed = self._cluster.patch(PIPELINERUNS, namespace, name, marked)
            except ForbiddenError as error:  # people search by them; nothing here does
                log.warning("PipelineRun %s/%s gets no labels: %s", namespace, name, error.message)
                return
            except ClusterError as error:
                why = f"the labels of its Pipeline could not be added: {error.message}"
                raise self._not_done(pipelinerun, reasons.INVALID, why, error, now) from error
            pipelinerun["metadata"] = changed["metadata"]

    # TaskRuns.

    def _runs(self, pipelinerun: Object, plan: Applied, *, sure: bool) -> dict[str, Object]:
        """The run's TaskRuns by Pipeline Task.

        Their names are a function of both, so none is ever made twice: one that was made just before a crash
        is found when it is to be made. Where nothing more is made, ``sure``, all are asked for.
        """
        metadata = pipelinerun["metadata"]
        known = {one.get("pipelineTaskName") for one in children_in(pipelinerun.get("status", {}))}
        runs: dict[str, Object] = {}
        for _, task in tasks_of(plan.spec):
            if sure or task["name"] in known:
                name = taskrun_name(metadata["name"], task["name"])
                with contextlib.suppress(NotFoundError):
                    runs[task["name"]] = self._own(pipelinerun, name)
        return runs

    def _own(self, pipelinerun: Object, name: str) -> Object:
        taskrun = self._cluster.get(TASKRUNS, pipelinerun["metadata"].get("namespace", ""), name)
        if not owns(pipelinerun, taskrun):
            raise RefusedRun(
                reasons.CREATE_RUN_FAILED,
                f'TaskRun "{name}" is somebody else\'s; delete it, or name the run otherwise',
            )
        copies = self.core.flags.embedded_status != "minimal"
        if copies and self._taskruns is not None and is_done(taskrun):
            self._complete(taskrun, self._taskruns)
        return taskrun

    def _with_results(self, taskrun: Object) -> Object:
        if self._taskruns is not None and not self._taskruns.is_complete(taskrun):
            self._complete(taskrun, self._taskruns)
        return taskrun

    def _complete(self, taskrun: Object, reader: TaskRunReader) -> None:
        """Make a TaskRun that is over whole, in place: one look asks for it once."""
        name, found = taskrun["metadata"]["name"], None
        with contextlib.suppress(NotFoundError):
            found = reader.read(taskrun)
        if (
            found is None
            or found["metadata"].get("uid") != taskrun["metadata"].get("uid")
            or not is_done(found)
        ):
            # What is held is of the past: the look is to be taken again, by what is there now.
            raise ConflictError("it went, or was made anew, meanwhile", subject=name)
        taskrun.update(found)

    def _make_all(
        self, pipelinerun: Object, build: Callable[[Facts, str], Object], facts: Facts, due: Iterable[str]
    ) -> tuple[dict[str, Object], _Unmade | None]:
        """Make the TaskRuns that are due, up to the first that the server does not take now.

        Returns:
            Those made, by Pipeline Task, and the one that was not made, if any.
        """
        made: dict[str, Object] = {}
        for name in due:
            taskrun = build(facts, name)
            try:
                made[name] = self._make(pipelinerun, taskrun, name)
            except ClusterError as error:
                if not error.retryable or isinstance(error, ConflictError):
                    raise
                return made, _Unmade(taskrun["metadata"]["name"], name, error)
        return made, None

    def _make(self, pipelinerun: Object, taskrun: Object, name: str) -> Object:
        try:
            return self._cluster.create(TASKRUNS, taskrun)
        except AlreadyExistsError:
            return self._own(pipelinerun, taskrun["metadata"]["name"])
        except ClusterError as error:
            if error.retryable:
                raise
            raise RefusedRun(
                reasons.CREATE_RUN_FAILED, str(_Unmade(taskrun["metadata"]["name"], name, error))
            ) from error

    def _end_children(self, pipelinerun: Object, facts: Facts) -> None:
        """Cancel the TaskRuns that must end with the run, or with the part of it they belong to."""
        running = [name for name in facts.tasks if facts.runs_now(name)]
        early = [name for name in running if not facts.is_final(name)]
        if facts.asked == "Cancelled":
            self._cancel(pipelinerun, facts.runs, running, reasons.CHILD_CANCELLED)
        elif facts.pipeline_timed_out or facts.finally_timed_out:
            self._cancel(pipelinerun, facts.runs, running, reasons.CHILD_TIMED_OUT)
        elif facts.tasks_timed_out:
            self._cancel(pipelinerun, facts.runs, early, reasons.CHILD_TIMED_OUT)
        elif facts.asked == "CancelledRunFinally":
            self._cancel(pipelinerun, facts.runs, early, reasons.CHILD_CANCELLED)

    def _cancel(
        self, pipelinerun: Object, runs: Mapping[str, Object], names: Iterable[str], why: str
    ) -> None:
        patch = {"spec": {"status": "TaskRunCancelled", "statusMessage": why}}
        for name in names:
            taskrun = runs[name]
            if taskrun["spec"].get("status") == "TaskRunCancelled":
                continue
            with contextlib.suppress(NotFoundError):
                namespace = pipelinerun["metadata"].get("namespace", "")
                self._cluster.patch(TASKRUNS, namespace, taskrun["metadata"]["name"], patch)


def _waited(pipelinerun: Object) -> str:
    """Return what to add to the message of a run that is ended while it waits: for what."""
    waiting = waiting_for(pipelinerun)
    return previous_status(waiting) if waiting[0] == reasons.PENDING else ""


def _final(reason: str, message: str, now: datetime) -> Object:
    """Return the status of a run that ends without success."""
    return {
        "completionTime": format_time(now),
        "conditions": [condition("False", reason, message, now)],
    }


def _cancelled(pipelinerun: Object) -> str:
    """Return the message of a run that was cancelled."""
    return f'PipelineRun "{pipelinerun["metadata"]["name"]}" was cancelled'
