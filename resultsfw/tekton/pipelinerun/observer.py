"""Observe one PipelineRun: read its Pipeline, Tasks and children, as far as the next decision needs them.

What is found is data: a run that cannot be run and a request that failed are problems, not exceptions.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache

from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import ClusterError, NotFoundError
from resultsfw.tekton.api.conditions import is_done, previous_status, waiting_for
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS
from resultsfw.tekton.api.owners import owns
from resultsfw.tekton.api.policies import Policies, pipeline_violations, violations
from resultsfw.tekton.api.refusals import USER_ERROR, RefusedRun
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.affinity_assistant import assistant_names
from resultsfw.tekton.pipelinerun.child_builder import ChildBuilder, batch_size_of
from resultsfw.tekton.pipelinerun.child_statuses import children_of
from resultsfw.tekton.pipelinerun.children import (
    Children,
    kind_of,
    kind_of_reference,
    possible_names,
    running_of,
)
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.known import Known, failed_request, refusal
from resultsfw.tekton.pipelinerun.object_limits import refuse_too_large
from resultsfw.tekton.pipelinerun.observation import (
    AwaitedAnswer,
    Blocked,
    FailedRequest,
    Fault,
    Following,
    NotStarted,
    Observation,
    Over,
    Part,
    Problem,
    Unlabelled,
    Unplanned,
    Unprepared,
)
from resultsfw.tekton.pipelinerun.pipeline_spec import (
    PipelineSource,
    Plan,
    make_plan,
    missing_metadata,
    read_pipeline,
)
from resultsfw.tekton.pipelinerun.readable import refuse_unreadable
from resultsfw.tekton.pipelinerun.result_refs import value_reader
from resultsfw.tekton.pipelinerun.status import verdict
from resultsfw.tekton.pipelinerun.timeouts import refuse_timeouts, times_of
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of
from resultsfw.tekton.pipelinerun.validate_references import refuse_references
from resultsfw.tekton.resolution.outcomes import AwaitingResolution
from resultsfw.tekton.resolution.terms import ListPolicies, Terms
from resultsfw.tekton.spec.coscheduling import Mode
from resultsfw.tekton.spec.run_defaults import RunDefaults
from resultsfw.tekton.spec.workspaces import claims_of

__all__ = ["Observer"]


class Observer:
    """Reads what a decision needs.

    Args:
        core: The core with the flags in effect.
        cluster: Where PipelineRuns and TaskRuns live.
        policies: What an operator forbids.
        defaults: The defaults of runs.
        verification_policies: Returns the VerificationPolicies of a namespace.
        custom_tasks: Whether there may be controllers of custom tasks.
        mode: How pods are placed.
    """

    def __init__(
        self,
        core: ResultsManager,
        cluster: Cluster,
        policies: Policies,
        defaults: RunDefaults,
        verification_policies: ListPolicies,
        *,
        custom_tasks: bool = True,
        mode: Mode = "disabled",
    ) -> None:
        self._core = core
        self._cluster = cluster
        self._policies = policies
        self._defaults = defaults
        self._custom_tasks = custom_tasks
        self._mode = mode
        self._verification_policies = verification_policies

    def observe(self, known: Known) -> tuple[Known, Observation]:
        """Return what is known of a run now, and the observation to decide by."""
        pipelinerun = known.pipelinerun
        if pipelinerun["metadata"].get("deletionTimestamp") or is_done(pipelinerun):
            return known, Over()
        if not pipelinerun.get("status", {}).get("startTime"):
            is_pending = pipelinerun["spec"].get("status") == reasons.PENDING
            return known, NotStarted(pipelinerun["metadata"]["name"], is_pending)
        if known.plan is None:
            known, stage = self._plan(known)
            if stage is not None:
                return known, stage
        if known.problem is None:
            try:
                return self._follow(known)
            except RefusedRun as refused:
                known = replace(known, problem=refusal(refused))
            except AwaitingResolution as awaiting:
                known = replace(known, problem=AwaitedAnswer(awaiting.reason, awaiting.message))
            except ClusterError as error:
                known = replace(known, problem=failed_request(error))
        assert known.problem is not None  # noqa: S101 - one was found or was there
        return known, Blocked(known.problem, known.is_reported)

    # The Pipeline.

    def _plan(self, known: Known) -> tuple[Known, Observation | None]:
        """Read the Pipeline and plan the run; return the stage if it cannot go on, or lacks labels."""
        if known.problem is None:
            try:
                known, stage = self._read_plan(known)
            except RefusedRun as refused:
                known = replace(known, problem=refusal(refused))
            except AwaitingResolution as awaiting:
                known = replace(known, problem=AwaitedAnswer(awaiting.reason, awaiting.message))
            except ClusterError as error:
                why = f"the Pipeline could not be read: {error.message}"
                problem = FailedRequest(why, error, reasons.COULDNT_GET_PIPELINE)
                known = replace(known, problem=problem)
            except Exception as error:  # noqa: BLE001 - of whatever kind: the run must not outlive its timeout
                known = replace(known, problem=Fault(error))
            else:
                return known, stage
        assert known.problem is not None  # noqa: S101 - one was found or was there
        return known, _unplanned(known, known.problem)

    def _read_plan(self, known: Known) -> tuple[Known, Unlabelled | None]:
        """Read and check the Pipeline once; plan the run when it has the Pipeline's labels.

        Raises:
            RefusedRun: The run cannot be run.
            AwaitingResolution: A resolver has not found the Pipeline yet.
            ClusterError: The Pipeline could not be read.
        """
        pipelinerun = known.pipelinerun
        if known.source is None:
            source = read_pipeline(pipelinerun, self._cluster, self._terms(known))
            if not children_of(pipelinerun["status"]):
                self._refuse_forbidden(pipelinerun, source)
            known = replace(known, source=source)
        else:
            source = known.source
        if not pipelinerun["status"].get("pipelineSpec"):
            if not known.is_labelled:
                known = replace(known, is_labelled=True)
                if missing := missing_metadata(pipelinerun, source):
                    return known, Unlabelled(missing)
            refuse_timeouts(pipelinerun)
        plan = make_plan(
            pipelinerun, source.spec, source.name, max_combinations=self._policies.max_combinations
        )
        builder = ChildBuilder(pipelinerun, self._defaults.timeout, self._mode)
        return replace(known, plan=plan, builder=builder), None

    def _refuse_forbidden(self, pipelinerun: Object, source: PipelineSource) -> None:
        """Raise RefusedRun for a run without TaskRuns yet that the operator's policies forbid."""
        found = violations(pipelinerun, self._policies)
        if pipelinerun["spec"].get("pipelineSpec") is None:
            found += pipeline_violations(source.spec, self._policies, path=f'Pipeline "{source.name}": spec')
        if found:
            metadata = pipelinerun["metadata"]
            run = f"{metadata.get('namespace', '')}/{metadata['name']}"
            message = f"{USER_ERROR}PipelineRun {run} can't be Run: {'; '.join(found)}"
            raise RefusedRun(reasons.INVALID, message, subject=f"PipelineRun {run}")

    def _terms(self, known: Known) -> Terms:
        # One answer holds for all Tasks of the run.
        return Terms(known.now, self._defaults.resolution_timeout, cache(self._verification_policies))

    # The children.

    def _follow(self, known: Known) -> tuple[Known, Observation]:
        """Read the run's children; before the first of them, check what they need.

        Raises:
            RefusedRun: The run cannot be run.
            AwaitingResolution: A resolver has not found one of its Tasks yet.
            ClusterError: Something could not be read.
        """
        if known.facts is not None:
            return known, _following(known, known.facts)
        plan, builder, source = known.plan, known.builder, known.source
        assert plan is not None  # noqa: S101 - planned before
        assert builder is not None  # noqa: S101
        assert source is not None  # noqa: S101
        pipelinerun, requested = known.pipelinerun, known.requested
        times = times_of(pipelinerun, known.now)
        is_late = times.has_elapsed(times.pipeline_deadline)
        # Where nothing more is created, all children are asked for, not only those that the status names.
        asks_all = bool(requested) or is_late or times.has_elapsed(times.tasks_deadline)
        runs = known.runs if known.runs is not None else self._children(known, plan, asks_all=asks_all)
        if not runs and not is_late and requested != "Cancelled" and not known.is_prepared:
            refuse_too_large(_with_pipeline(pipelinerun, source))
            try:
                refuse_references(
                    pipelinerun, plan, self._cluster, self._terms(known), custom_tasks=self._custom_tasks
                )
            except ClusterError as error:
                why = f"a Task could not be read: {error.message}"
                problem = FailedRequest(why, error, reasons.COULDNT_GET_TASK)
                return replace(known, problem=problem), Blocked(problem, known.is_reported)
            known = replace(known, runs=runs, is_prepared=True)
            if claims_of(pipelinerun, PIPELINERUNS) or assistant_names(pipelinerun, self._mode):
                return known, Unprepared()
        facts = Facts(
            plan,
            runs,
            requested,
            times,
            refusal_of=builder.refusal,
            read_value=value_reader(
                self._core, self._cluster, pipelinerun["metadata"].get("namespace", ""), times
            ),
            read_whole=known.whole.with_results,
            batch_size=batch_size_of(pipelinerun),
        )
        if not requested and (why := facts.cel_error()):
            name = pipelinerun["metadata"]["name"]
            raise RefusedRun(reasons.CEL_FAILED, f"{USER_ERROR}Error evaluating CEL {name}: {why}")
        known = replace(known, facts=facts)
        return known, _following(known, facts)

    def _children(self, known: Known, plan: Plan, *, asks_all: bool) -> dict[str, Children]:
        """Return the run's children by Pipeline Task.

        Their names are a function of both, so none is ever created twice: a child created just before a
        crash is found when it is to be created.
        """
        pipelinerun = known.pipelinerun
        named: dict[str, dict[str, Kind]] = {}
        for child in children_of(pipelinerun.get("status", {})):
            task_name = child.get("pipelineTaskName") or ""
            named.setdefault(task_name, {})[child["name"]] = kind_of_reference(child)
        runs: dict[str, Children] = {}
        for _, task in tasks_of(plan.spec):
            found: dict[str, Object] = {}
            for name, kind in named.get(task["name"], {}).items():
                with contextlib.suppress(NotFoundError):
                    found[name] = self.own_child(known, kind, name, task["name"])
            for names in self.possible_names(known, task) if asks_all else ():
                with contextlib.suppress(NotFoundError):
                    for name in names:
                        if name not in found:
                            found[name] = self.own_child(known, kind_of(task), name, task["name"])
            if found:
                runs[task["name"]] = tuple(found.values())
        return runs

    def possible_names(self, known: Known, task: Object) -> Iterator[Iterable[str]]:
        """Yield the names that a Pipeline Task's children may have; see `possible_names`."""
        run = known.pipelinerun["metadata"]["name"]
        return possible_names(run, task, self._policies.max_combinations)

    def own_child(self, known: Known, kind: Kind, name: str, task: str) -> Object:
        """Return a child of the run; a TaskRun whole, if it has ended and the run's status repeats it.

        Raises:
            RefusedRun: It is not the run's, or another Pipeline Task's: a matrix of ``a`` and a Task ``a-0``.
            ClusterError: It could not be read.
        """
        pipelinerun = known.pipelinerun
        child = self._cluster.get(kind, pipelinerun["metadata"].get("namespace", ""), name)
        if not owns(pipelinerun, child):
            raise RefusedRun(
                reasons.CREATE_RUN_FAILED,
                f'{kind.kind} "{name}" does not belong to this run; delete it, or give the run another name',
            )
        if (of := (child["metadata"].get("labels") or {}).get("tekton.dev/pipelineTask", task)) != task:
            raise RefusedRun(
                reasons.CREATE_RUN_FAILED,
                f'{kind.kind} "{name}" belongs to Pipeline Task "{of}", and "{task}" needs one of the '
                f"same name; rename one of them",
            )
        refuse_unreadable(kind, child)
        if kind == TASKRUNS and self._core.flags.embedded_status != "minimal" and is_done(child):
            return known.whole.get(kind, child)
        return child


def _unplanned(known: Known, problem: Problem) -> Unplanned:
    pipelinerun = known.pipelinerun
    return Unplanned(
        name=pipelinerun["metadata"]["name"],
        requested=known.requested,
        times=times_of(pipelinerun, known.now),
        waited_for=_waited_for(pipelinerun),
        holds_pipeline=bool(pipelinerun["status"].get("pipelineSpec")),
        problem=problem,
        is_reported=known.is_reported,
    )


def _following(known: Known, facts: Facts) -> Following:
    pipelinerun = known.pipelinerun
    name = pipelinerun["metadata"]["name"]
    gracefully = known.cancels_gracefully
    running = [
        task
        for task in facts.tasks
        if task not in known.cancelled and running_of(facts.runs.get(task, ()), gracefully=gracefully)
    ]
    due = () if known.has_created else tuple(facts.next_tasks())
    parts: dict[Part, bool] = {
        "pipeline": facts.pipeline_timed_out,
        "tasks": facts.tasks_timed_out,
        "finally": facts.finally_timed_out,
    }
    return Following(
        name=name,
        requested=facts.requested,
        due=due,
        batch_size=max(1, len(facts.first_batch(due))),
        is_more_due=known.is_more_due,
        running=tuple(running),
        running_before_finally=tuple(task for task in running if not facts.is_final(task)),
        timed_out=frozenset(part for part, is_late in parts.items() if is_late),
        verdict=verdict(name, facts),
        begins_finally=bool(facts.final)
        and facts.dag_done
        and not pipelinerun["status"].get("finallyStartTime"),
        waited_for=_waited_for(pipelinerun),
        failed_creation=known.failed_creation,
        seconds_left=min(facts.times.left(), default=None),
    )


def _waited_for(pipelinerun: Object) -> str:
    """Return what to add to the message of a run that is ended while it waits: for what."""
    waiting = waiting_for(pipelinerun)
    return previous_status(waiting) if waiting[0] == reasons.PENDING else ""


def _with_pipeline(pipelinerun: Object, source: PipelineSource) -> Object:
    """Return the run as it is with the Pipeline's spec in its status."""
    return {**pipelinerun, "status": {**pipelinerun["status"], "pipelineSpec": source.spec}}
