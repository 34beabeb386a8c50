"""One PipelineRun, one look: which TaskRuns are due, and what its status says. It keeps no state."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from resultsfw.cluster import Cluster, Object
from resultsfw.core import Core
from resultsfw.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    ObjectTooLargeError,
)
from resultsfw.jsons import merge_patch
from resultsfw.limits import object_size
from resultsfw.tekton.api.policies import Policies, pipeline_violations, violations
from resultsfw.tekton.conclude import condition
from resultsfw.tekton.conditions import is_done
from resultsfw.tekton.kinds import CLAIMS, PIPELINERUNS, RESULTS_LEFT_OUT, TASKRUNS
from resultsfw.tekton.mirror import format_time
from resultsfw.tekton.owner import owns
from resultsfw.tekton.pipelines import embedded, reasons
from resultsfw.tekton.pipelines.check import refuse_references
from resultsfw.tekton.pipelines.embedded import ROOM, children_in
from resultsfw.tekton.pipelines.facts import Facts
from resultsfw.tekton.pipelines.marks import marks_of
from resultsfw.tekton.pipelines.problems import tasks_of
from resultsfw.tekton.pipelines.reading import reader
from resultsfw.tekton.pipelines.room import beyond_room, refuse_large, too_large
from resultsfw.tekton.pipelines.spec import Applied, applied, raw_spec
from resultsfw.tekton.pipelines.status import pipeline_results, skipped_tasks, verdict
from resultsfw.tekton.pipelines.taskruns import build_taskrun, taskrun_name
from resultsfw.tekton.pipelines.times import times_of
from resultsfw.tekton.validate import USER_ERROR, RefusedRun
from resultsfw.tekton.workspaces import claims_of

__all__ = ["PipelineReconciler"]

log = logging.getLogger(__name__)

_CHILD_ENDED: Final = "TaskRun cancelled as the PipelineRun it belongs to is too large to be stored."

Tell = Callable[[Object, str, str], None]
"""Warns of something about a run: the run, a reason and a sentence."""


class PipelineReconciler:
    """Takes PipelineRuns from wherever they are to their end.

    It reads results from the status of TaskRuns only, never from pods.

    Args:
        core: With the flags in force.
        cluster: Where PipelineRuns and TaskRuns live.
        clock: Tells the time; UTC.
        tell: Warns people of what a run's status cannot hold; besides the log.
        read_whole: Reads a TaskRun that is over from where it is whole: ``cluster`` may hold it without what
            few looks read, its results among it (`RESULTS_LEFT_OUT`).
        policies: What an operator forbids.
    """

    def __init__(
        self,
        core: Core,
        cluster: Cluster,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        tell: Tell = lambda *_: None,
        read_whole: Callable[[Object], Object] = lambda taskrun: taskrun,
        policies: Policies | None = None,
    ) -> None:
        self._policies = policies or Policies()
        self.core = core
        self._read_whole = read_whole
        self._tell = tell
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
        status = pipelinerun.get("status", {})
        if asked == "PipelineRunPending" and not status.get("startTime"):
            said = f'PipelineRun "{name}" is pending'
            self._write(pipelinerun, {"conditions": [condition("Unknown", reasons.PENDING, said, now)]})
            return None
        try:
            spec, pipeline, metadata = raw_spec(pipelinerun, self._cluster)
            if not children_in(status):
                self._refuse_forbidden(pipelinerun, spec, pipeline)
            self._mark(pipelinerun, pipeline, metadata)
            plan = applied(pipelinerun, spec, pipeline)
            try:
                return self._follow(pipelinerun, spec, plan, asked, now)
            except ObjectTooLargeError as error:
                self._end_too_large(pipelinerun, plan, error, now)
                return None
        except RefusedRun as refused:
            self._end(pipelinerun, refused.reason, refused.message, now)
            return None

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
        ended = {**self._final(reasons.TOO_LARGE, said, now), "pipelineSpec": None}
        self._write(pipelinerun, ended)

    def _follow(
        self, pipelinerun: Object, spec: Object, plan: Applied, asked: str, now: datetime
    ) -> float | None:
        status: Object = {
            "startTime": pipelinerun.get("status", {}).get("startTime") or format_time(now),
            "pipelineSpec": spec,
        }
        begun = {**pipelinerun, "status": {**pipelinerun.get("status", {}), **status}}
        times = times_of(begun, now)
        runs = self._runs(pipelinerun, plan, sure=bool(asked) or times.pipeline_over or times.tasks_over)
        if not runs:
            refuse_large(begun)
            refuse_references(pipelinerun, plan, self._cluster)
            self._make_claims(pipelinerun)
        refuse = lambda facts, name: too_large(build_taskrun(pipelinerun, facts, name), name)  # noqa: E731
        read = reader(self.core, self._cluster, pipelinerun["metadata"].get("namespace", ""), times)
        facts = Facts(plan, runs, asked, times, refuse, read, self._with_results)
        self._end_children(pipelinerun, facts)
        if asked == "Cancelled":
            said = f'PipelineRun "{pipelinerun["metadata"]["name"]}" was cancelled'
            ended = self._final(reasons.CANCELLED, said, now)
            self._put(pipelinerun, spec, facts, {**status, **ended}, now)
            return None
        due = facts.next_tasks()
        if due:
            runs = {**runs, **{one: self._make(pipelinerun, facts, one) for one in due}}
            facts = Facts(plan, runs, asked, times, refuse, read, self._with_results)
        if facts.final and facts.dag_done and not begun["status"].get("finallyStartTime"):
            status["finallyStartTime"] = format_time(now)
        told, reason, message = verdict(pipelinerun["metadata"]["name"], facts)
        status |= {
            "skippedTasks": skipped_tasks(facts) or None,
            "conditions": [condition(told, reason, message, now)],
        }
        self._put(pipelinerun, spec, facts, status, now)
        return None if told != "Unknown" else min(facts.times.left(), default=None)

    def _mark(self, pipelinerun: Object, pipeline: str, described: Object) -> None:
        """Give a run that begins the label of its Pipeline, and what the Pipeline itself is labelled with."""
        if pipelinerun.get("status", {}).get("startTime"):
            return
        if marks := marks_of(pipelinerun, pipeline, described):
            metadata = pipelinerun["metadata"]
            marked = {"metadata": {**marks, "resourceVersion": metadata["resourceVersion"]}}
            namespace, name = metadata.get("namespace", ""), metadata["name"]
            try:
                changed = self._cluster.patch(PIPELINERUNS, namespace, name, marked)
            except ForbiddenError as error:  # people search by them; nothing here does
                log.warning("PipelineRun %s/%s gets no labels: %s", namespace, name, error.message)
                return
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
        if self.core.flags.embedded_status != "minimal" and is_done(taskrun):
            self._complete(taskrun)
        return taskrun

    def _with_results(self, taskrun: Object) -> Object:
        if RESULTS_LEFT_OUT in taskrun:
            self._complete(taskrun)
        return taskrun

    def _complete(self, taskrun: Object) -> None:
        """Make a TaskRun that is over whole, in place: one look asks for it once."""
        name, found = taskrun["metadata"]["name"], None
        with contextlib.suppress(NotFoundError):
            found = self._read_whole(taskrun)
        if (
            found is None
            or found["metadata"].get("uid") != taskrun["metadata"].get("uid")
            or not is_done(found)
        ):
            # What is held is of the past: the look is to be taken again, by what is there now.
            raise ConflictError("it went, or was made anew, meanwhile", subject=name)
        taskrun.pop(RESULTS_LEFT_OUT, None)
        taskrun.update(found)

    def _make(self, pipelinerun: Object, facts: Facts, name: str) -> Object:
        taskrun = build_taskrun(pipelinerun, facts, name)
        try:
            return self._cluster.create(TASKRUNS, taskrun)
        except AlreadyExistsError:
            return self._own(pipelinerun, taskrun["metadata"]["name"])
        except ClusterError as error:
            if error.retryable:
                raise
            raise RefusedRun(
                reasons.CREATE_RUN_FAILED,
                f'TaskRun "{taskrun["metadata"]["name"]}" of Pipeline Task "{name}" could not be made: '
                f"{error.message}",
            ) from error

    def _make_claims(self, pipelinerun: Object) -> None:
        for claim in claims_of(pipelinerun, PIPELINERUNS):
            with contextlib.suppress(AlreadyExistsError):
                self._cluster.create(CLAIMS, claim)

    def _end_children(self, pipelinerun: Object, facts: Facts) -> None:
        """Cancel the TaskRuns that must end with the run, or with the part of it they belong to."""
        times = facts.times
        running = [name for name in facts.tasks if facts.runs_now(name)]
        early = [name for name in running if not facts.is_final(name)]
        if facts.asked == "Cancelled":
            self._cancel(pipelinerun, facts.runs, running, reasons.CHILD_CANCELLED)
        elif times.pipeline_over or times.finally_over:
            self._cancel(pipelinerun, facts.runs, running, reasons.CHILD_TIMED_OUT)
        elif times.tasks_over:
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

    # The status.

    def _put(self, pipelinerun: Object, spec: Object, facts: Facts, status: Object, now: datetime) -> None:
        """Write where a run stands, or how it ended, as far as one object holds it.

        Copies of TaskRuns are left out before results of its own; whatever is, the run fails naming it.
        """
        mode = self.core.flags.embedded_status
        status = {**status, **embedded.described(facts, pipelinerun.get("status", {}), mode)}
        over = status["conditions"][0]["status"] != "Unknown"
        if over:
            status |= self._ended(pipelinerun, spec, facts, status, now)
        status, size, left = embedded.fitted(pipelinerun, status)
        if over and left:
            status["conditions"] = [_too_full(status, mode, beyond_room(size), left, now)]
        try:
            written = self._write(pipelinerun, status)
        except ObjectTooLargeError as error:
            if not (copied := embedded.names_of(status)):
                raise
            status = embedded.without_copies(status, copied)
            if over:
                why = f"is larger than the server stores ({error.message})"
                names = [f'"{name}"' for name in copied]
                status["conditions"] = [_too_full(status, mode, why, names, now)]
            written = self._write(pipelinerun, status)
        if embedded.is_pruned(status, written):
            instead = embedded.references_only(facts, mode)
            (said,) = instead["annotations"].values()
            metadata = pipelinerun["metadata"]
            log.warning("PipelineRun %s/%s: %s", metadata.get("namespace", ""), metadata["name"], said)
            self._tell(pipelinerun, reasons.STATUS_PRUNED, said)
            pipelinerun["metadata"], pipelinerun["status"] = written["metadata"], written["status"]
            self._write(pipelinerun, instead)

    def _ended(
        self, pipelinerun: Object, spec: Object, facts: Facts, status: Object, now: datetime
    ) -> dict[str, Any]:
        """What a verdict adds: the time, and the run's own results as far as they fit into one object."""
        ended: dict[str, Any] = {"completionTime": format_time(now)}
        known = status["conditions"][0]
        if facts.asked == "Cancelled":
            return ended
        written, invalid = pipeline_results(spec, facts)
        if invalid:
            said = (
                f"Failed to get PipelineResult from TaskRun Results for PipelineRun "
                f"{pipelinerun['metadata']['name']}: invalid pipelineresults [{' '.join(invalid)}], the "
                f"referenced results don't exist"
            )
            reason = reasons.COULDNT_GET_RESULT
            if facts.invalid:  # why Tasks did not run comes first
                reason, said = known["reason"], f"{known['message']}; {said}"
            ended["conditions"] = [condition("False", reason, said, now)]
        bare = {**status, **ended, "taskRuns": None, "results": written}
        size = object_size(merge_patch(pipelinerun, {"status": bare}))
        left: list[str] = []
        excess = size - ROOM
        for one in sorted(written, key=object_size, reverse=True):
            if excess <= 0:
                break
            excess -= object_size(one)
            written = [other for other in written if other is not one]
            left.append(f'"{one["name"]}" ({object_size(one["value"])} bytes)')
        if left:
            said = (
                f"{known['message']}; with its results the PipelineRun {beyond_room(size)}; left out: "
                f"{', '.join(left)}: take them from the TaskRuns that wrote them"
            )
            ended["conditions"] = [condition("False", reasons.TOO_LARGE, said, now)]
        return {**ended, "results": written or None}

    def _final(self, reason: str, message: str, now: datetime) -> Object:
        return {
            "completionTime": format_time(now),
            "conditions": [condition("False", reason, message, now)],
        }

    def _end(self, pipelinerun: Object, reason: str, message: str, now: datetime) -> None:
        started = pipelinerun.get("status", {}).get("startTime") or format_time(now)
        self._write(pipelinerun, {"startTime": started, **self._final(reason, message, now)})

    def _write(self, pipelinerun: Object, status: Object) -> Object:
        """One conditional status write, none if nothing but a time would change; the run as it is then."""
        known = pipelinerun.get("status", {})
        same = {key for key, value in status.items() if _is_still(key, known.get(key), value)}
        if same == status.keys():
            return pipelinerun
        if "conditions" in same:  # its time is that of its last change
            status = {key: value for key, value in status.items() if key != "conditions"}
        metadata = pipelinerun["metadata"]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
        return self._cluster.patch(
            PIPELINERUNS, metadata.get("namespace", ""), metadata["name"], patch, subresource="status"
        )


def _too_full(status: Object, mode: str, why: str, left: list[str], now: datetime) -> Object:
    """The condition of a run that is over and cannot hold copies of all its TaskRuns."""
    said = (
        f"{status['conditions'][0]['message']}; with embedded-status {mode} the PipelineRun {why}; left out "
        f"of status.taskRuns: {', '.join(left)}: see the TaskRuns themselves, or set embedded-status: minimal"
    )
    return condition("False", reasons.TOO_LARGE, said, now)


def _is_still(key: str, old: Any, new: Any) -> bool:
    """Whether a patch of a field would change nothing but the time of its conditions."""
    if key == "conditions":
        return bool(_untimed(old) == _untimed(new))
    if old == new:
        return True
    return isinstance(new, dict) and bool(merge_patch(old, new) == old)


def _untimed(conditions: Any) -> Any:
    return [{name: one[name] for name in one if name != "lastTransitionTime"} for one in conditions or ()]
