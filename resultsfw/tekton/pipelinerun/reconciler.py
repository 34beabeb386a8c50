"""Reconcile one PipelineRun: observe it, decide the next action, apply it, until the reconcile is over."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, assert_never

from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import AlreadyExistsError, ClusterError, ConflictError, ForbiddenError, NotFoundError
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.kinds import CUSTOMRUNS, PIPELINERUNS
from resultsfw.tekton.api.owners import owns
from resultsfw.tekton.api.policies import Policies
from resultsfw.tekton.api.reasons import CLAIM_FAILED
from resultsfw.tekton.api.refusals import RefusedRun
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.affinity_assistant import is_per_run
from resultsfw.tekton.pipelinerun.ancestors import Ancestry, ancestry_of, refuse_nesting
from resultsfw.tekton.pipelinerun.assistants import (
    create_assistants,
    leave_cordoned_nodes,
    remove_assistants,
)
from resultsfw.tekton.pipelinerun.child_statuses import children_of
from resultsfw.tekton.pipelinerun.children import (
    Children,
    cancel_patch,
    kind_of,
    kind_of_reference,
    running_of,
)
from resultsfw.tekton.pipelinerun.decision import (
    Action,
    AddMetadata,
    AwaitResolution,
    CancelChildren,
    Complete,
    CreateChildren,
    CreateClaims,
    Fail,
    HoldBack,
    Ignore,
    Raise,
    ReportProgress,
    ReportWaiting,
    Retry,
    Start,
    decide,
)
from resultsfw.tekton.pipelinerun.facts import Facts
from resultsfw.tekton.pipelinerun.known import Known, failed_request, refusal
from resultsfw.tekton.pipelinerun.observation import FailedCreation, FailedRequest, Refusal
from resultsfw.tekton.pipelinerun.observer import Observer
from resultsfw.tekton.pipelinerun.readable import unreadable_part
from resultsfw.tekton.pipelinerun.status import Verdict, skipped_tasks
from resultsfw.tekton.pipelinerun.status_writer import StatusWriter, Warn
from resultsfw.tekton.pipelinerun.taskrun_results import ChildReader, WholeChildren
from resultsfw.tekton.pipelinerun.timeouts import times_of
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of
from resultsfw.tekton.resolution.terms import ListPolicies, no_policies
from resultsfw.tekton.spec.coscheduling import Coscheduling
from resultsfw.tekton.spec.run_defaults import RunDefaults, with_run_defaults
from resultsfw.tekton.spec.variables import unprotect
from resultsfw.tekton.spec.workspaces import make_claims

__all__ = ["ChildReader", "PipelineReconciler"]

_AWAITED_SECONDS: Final = 15.0
"""Seconds between two checks for answers of resolvers, if no watch reports them: a run of many Tasks has as
many requests."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Finished:
    """The reconcile is over.

    Attributes:
        requeue_after: Seconds after which the run is to be reconciled again; ``None`` for never.
    """

    requeue_after: float | None = None


class PipelineReconciler:
    """Reconciles PipelineRuns. It keeps nothing between two reconciles.

    It reads results from the status of TaskRuns only, never from pods.

    Args:
        core: The core with the flags in effect.
        cluster: Where PipelineRuns and TaskRuns live.
        clock: Tells the time; UTC.
        warn: Warns people of what a run's status cannot hold; besides the log.
        children: Reads finished children whose results ``cluster`` leaves out.
        policies: What an operator forbids.
        defaults: The defaults of runs.
        custom_tasks: Whether there may be controllers of custom tasks; without, they are refused by name.
        coscheduling: How pods are placed.
        verification_policies: Returns the VerificationPolicies of a namespace, which may demand signatures.
    """

    def __init__(
        self,
        core: ResultsManager,
        cluster: Cluster,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        warn: Warn = lambda *_: None,
        children: ChildReader | None = None,
        policies: Policies | None = None,
        defaults: RunDefaults | None = None,
        custom_tasks: bool = True,
        coscheduling: Coscheduling | None = None,
        verification_policies: ListPolicies = no_policies,
    ) -> None:
        self.core = core
        self._children = children
        self._status = StatusWriter(cluster, warn)
        self._warn = warn
        self._cluster = cluster
        self._clock = clock
        self._warn = warn
        self._defaults = defaults or RunDefaults()
        self._coscheduling = coscheduling or Coscheduling()
        self._observer = Observer(
            core,
            cluster,
            policies or Policies(),
            self._defaults,
            verification_policies,
            custom_tasks=custom_tasks,
            mode=self._coscheduling.mode,
        )

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take a PipelineRun as far as it goes now.

        Returns:
            Seconds after which it is to be reconciled again though nothing changed; ``None`` for never.

        Raises:
            ClusterError: Try again if it is ``retryable``; a conflict means somebody else wrote.
        """
        try:
            pipelinerun = self._cluster.get(PIPELINERUNS, namespace, name)
        except NotFoundError:
            return None
        pipelinerun = with_run_defaults(pipelinerun, self._defaults)
        known = Known(pipelinerun, self._clock(), WholeChildren(self._children))
        while True:
            known, observation = self._observer.observe(known)
            outcome = self._apply(decide(observation), known)
            if isinstance(outcome, _Finished):
                return outcome.requeue_after
            known = outcome

    def _apply(self, action: Action, known: Known) -> Known | _Finished:
        """Apply an action; return what is known then, or that the reconcile is over.

        Raises:
            ClusterError: The run is to be tried again, or its verdict could not be written.
        """
        match action:
            case Start():
                status = {
                    "startTime": format_time(known.now),
                    "conditions": [_waiting(reasons.STARTED, "", known)],
                }
                return self._write(known, status)
            case AddMetadata(metadata):
                return self._add_metadata(known, metadata)
            case CreateClaims() | CancelChildren() | CreateChildren() | ReportProgress() | Complete():
                return self._apply_followed(action, known)
            case ReportWaiting(message):
                status = {"conditions": [_waiting(reasons.PENDING, message, known)]}
                return replace(self._write(known, status), is_reported=True)
            case Ignore():
                return _Finished()
            case HoldBack() | AwaitResolution():
                return self._hold_back(known, action)
            case Fail():
                self._fail(known, action)
                return _Finished()
            case Retry(error):
                raise _retried(error, known) from None
            case Raise(error):
                raise error
            case _:  # pragma: no cover
                assert_never(action)

    def _apply_followed(
        self, action: CreateClaims | CancelChildren | CreateChildren | ReportProgress | Complete, known: Known
    ) -> Known | _Finished:
        """Apply an action to a run whose Pipeline is known; a failed request becomes a problem of the run.

        Raises:
            ClusterError: A TaskRun could not be created, and the run says so.
        """
        try:
            match action:
                case CreateClaims():
                    return self._create_claims(known)
                case CancelChildren(tasks, message):
                    return self._cancel_children(known, tasks, message)
                case CreateChildren(tasks, is_more_due):
                    return replace(self._create_children(known, tasks), is_more_due=is_more_due)
                case ReportProgress(reason, message, begins_finally):
                    verdict = Verdict("Unknown", reason, message)
                    known = self._write_verdict(known, verdict, begins_finally=begins_finally)
                case Complete(status, reason, message, begins_finally):
                    verdict = Verdict(status, reason, message)
                    self._remove_assistants(known.pipelinerun)
                    self._write_verdict(known, verdict, begins_finally=begins_finally)
                    return _Finished()
        except RefusedRun as refused:
            return replace(known, problem=refusal(refused))
        except ClusterError as error:
            return replace(known, problem=failed_request(error))
        if action.error is not None:
            raise _retried(action.error, known) from None
        return _Finished(action.requeue_after)

    # The run.

    def _hold_back(self, known: Known, action: HoldBack | AwaitResolution) -> _Finished:
        """Write why nothing is done now; a change of the run, or a resolver's answer, brings it back."""
        is_pending = isinstance(action, HoldBack)
        reason = reasons.PENDING if isinstance(action, HoldBack) else action.reason
        self._write(known, {"conditions": [_waiting(reason, action.message, known)]})
        left = times_of(known.pipelinerun, known.now).left()
        return _Finished(None if is_pending else min([_AWAITED_SECONDS, *left]))

    def _write(self, known: Known, status: Object) -> Known:
        """Write fields of the run's status."""
        return replace(known, pipelinerun=self._status.write(known.pipelinerun, status))

    def _write_verdict(self, known: Known, verdict: Verdict, *, begins_finally: bool) -> Known:
        """Write the state of the run, or how it ended, with its TaskRuns and the Tasks that were skipped."""
        facts, source = _facts(known), known.source
        assert source is not None  # noqa: S101 - facts are of a Pipeline
        status: Object = {
            "startTime": known.pipelinerun["status"]["startTime"],
            "pipelineSpec": source.spec,
            "conditions": [condition(*verdict, known.now)],
        }
        if source.ref_source is not None:
            status["provenance"] = {"refSource": source.ref_source}
        if facts.requested != "Cancelled":
            status["skippedTasks"] = skipped_tasks(facts) or None
        if begins_finally:
            status["finallyStartTime"] = format_time(known.now)
        mode = self.core.flags.embedded_status
        written = self._status.write_facts(known.pipelinerun, facts, status, mode, known.now)
        return replace(known, pipelinerun=written)

    def _add_metadata(self, known: Known, added: Object) -> Known:
        """Give a run that begins the label of its Pipeline, and what the Pipeline itself is labelled with."""
        metadata = known.pipelinerun["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        patch = {"metadata": {**added, "resourceVersion": metadata["resourceVersion"]}}
        try:
            changed = self._cluster.patch(PIPELINERUNS, namespace, name, patch)
        except ForbiddenError as error:  # people search by them; nothing here does
            log.warning("PipelineRun %s/%s gets no labels: %s", namespace, name, error.message)
            return known
        except ClusterError as error:
            why = f"the labels of its Pipeline could not be added: {error.message}"
            return replace(known, problem=FailedRequest(why, error, reasons.INVALID))
        return replace(known, pipelinerun={**known.pipelinerun, "metadata": changed["metadata"]})

    def _fail(self, known: Known, failure: Fail) -> None:
        """Cancel what children the run has and write its verdict.

        Some may have been created just now, or before a crash: the status does not name them.
        """
        self._cancel_found(known, failure.child_message)
        self._remove_assistants(known.pipelinerun)
        status: Object = {
            "completionTime": format_time(known.now),
            "conditions": [condition("False", failure.reason, failure.message, known.now)],
        }
        if failure.drops_pipeline:
            status["pipelineSpec"] = None
        self._write(known, status)

    def _create_claims(self, known: Known) -> Known:
        pipelinerun, coscheduling = known.pipelinerun, self._coscheduling
        # Otherwise the assistant's StatefulSet makes them.
        if not is_per_run(coscheduling.mode) and (
            failure := make_claims(self._cluster, pipelinerun, PIPELINERUNS)
        ):
            return replace(known, problem=FailedRequest(*failure, CLAIM_FAILED))
        bindings = known.plan.workspaces.values() if known.plan is not None else ()
        if failure := create_assistants(self._cluster, pipelinerun, unprotect([*bindings]), coscheduling):
            return replace(known, problem=FailedRequest(*failure, reasons.ASSISTANT_FAILED))
        return known

    def _remove_assistants(self, pipelinerun: Object) -> None:
        """Remove the run's affinity assistants before its verdict: a finished run is not reconciled again."""
        for line in remove_assistants(self._cluster, pipelinerun, self._coscheduling.mode):
            log.warning("PipelineRun %s: %s", pipelinerun["metadata"]["name"], line)
            self._warn(pipelinerun, reasons.CLEANUP_FAILED, line)

    # Children.

    def _create_children(self, known: Known, tasks: Iterable[str]) -> Known:
        """Create the children of Pipeline Tasks, up to the first that the server does not take now."""
        facts, builder = _facts(known), known.builder
        assert builder is not None  # noqa: S101 - facts are of a plan
        leave_cordoned_nodes(self._cluster, known.pipelinerun, self._coscheduling.mode)
        created: dict[str, Children] = {}
        nesting: tuple[Ancestry, int] | None = None
        failed = None
        for task, child in ((name, child) for name in tasks for child in builder.build(facts, name)):
            kind = facts.kinds[task]
            if kind == PIPELINERUNS:
                nesting = nesting or (
                    ancestry_of(known.pipelinerun, self._cluster),
                    facts.most_children(PIPELINERUNS),
                )
                refuse_nesting(child, *nesting)
            try:
                created[task] = (*created.get(task, ()), self._create(known, kind, child))
            except ClusterError as error:
                if isinstance(error, ConflictError):
                    raise
                name = child["metadata"]["name"]
                why = f'{kind.kind} "{name}" of Pipeline Task "{task}" could not be created: {error.message}'
                if kind == CUSTOMRUNS and isinstance(error, NotFoundError):
                    why += "; does the server have the CRD customruns.tekton.dev?"
                if not error.retryable:
                    return replace(known, problem=Refusal(reasons.CREATE_RUN_FAILED, why))
                failed = FailedCreation(why, error)
                break
            if ignored := builder.ignored_fields(facts, task):
                self._warn_of_ignored(known, kind, task, ignored)
        return replace(known, facts=facts.with_created(created), has_created=True, failed_creation=failed)

    def _warn_of_ignored(self, known: Known, kind: Kind, task: str, fields: list[str]) -> None:
        metadata = known.pipelinerun["metadata"]
        message = f'{", ".join(fields)} of Pipeline Task "{task}" has no effect on a {kind.kind}'
        log.warning("PipelineRun %s/%s: %s", metadata.get("namespace", ""), metadata["name"], message)
        self._warn(known.pipelinerun, reasons.FIELDS_IGNORED, message)

    def _create(self, known: Known, kind: Kind, child: Object) -> Object:
        """Create a child, or return the run's own that is there."""
        try:
            return self._cluster.create(kind, child)
        except AlreadyExistsError:
            return self._observer.own_child(
                known, kind, child["metadata"]["name"], child["metadata"]["labels"]["tekton.dev/pipelineTask"]
            )

    def _cancel_children(self, known: Known, tasks: tuple[str, ...], message: str) -> Known:
        """Cancel the children of Tasks that were read as running."""
        facts, gracefully = _facts(known), known.cancels_gracefully
        for task in tasks:
            kind = facts.kinds[task]
            for child in running_of(facts.runs[task], gracefully=gracefully):
                patch = cancel_patch(kind, message, gracefully=gracefully)
                self._cancel(known.pipelinerun, kind, child["metadata"]["name"], patch)
        return replace(known, cancelled=known.cancelled | set(tasks))

    def _cancel_found(self, known: Known, message: str) -> None:
        """Cancel the children that are there and have not ended."""
        namespace = known.pipelinerun["metadata"].get("namespace", "")
        running: dict[str, Kind] = {}
        for kind, names in self._possible_children(known):
            with contextlib.suppress(NotFoundError):
                for name in names:
                    child = self._cluster.get(kind, namespace, name)
                    is_running = unreadable_part(kind, child) or running_of((child,))
                    if owns(known.pipelinerun, child) and is_running:
                        running[name] = kind
        for name, kind in running.items():
            self._cancel(known.pipelinerun, kind, name, cancel_patch(kind, message))

    def _possible_children(self, known: Known) -> Iterator[tuple[Kind, Iterable[str]]]:
        """Yield kinds and names of children; where a name is missing, so are those behind it."""
        for child in children_of(known.pipelinerun.get("status") or {}):
            yield kind_of_reference(child), (child["name"],)
        for _, task in tasks_of(known.plan.spec) if known.plan is not None else ():
            for names in self._observer.possible_names(known, task):
                yield kind_of(task), names

    def _cancel(self, pipelinerun: Object, kind: Kind, name: str, patch: Object) -> None:
        with contextlib.suppress(NotFoundError):
            self._cluster.patch(kind, pipelinerun["metadata"].get("namespace", ""), name, patch)


def _facts(known: Known) -> Facts:
    assert known.facts is not None  # noqa: S101 - decided from them
    return known.facts


def _waiting(reason: str, message: str, known: Known) -> Object:
    """Return the condition of a run that is not over."""
    return condition("Unknown", reason, message, known.now)


def _retried(error: ClusterError, known: Known) -> ClusterError:
    """Return an error that says when the run has its next deadline, at which it must be tried again."""
    error.retry_within = min(times_of(known.pipelinerun, known.now).left(), default=None)
    return error
