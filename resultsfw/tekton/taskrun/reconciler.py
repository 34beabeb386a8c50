"""Reconcile one TaskRun: observe it and its pod, decide the next action, apply it."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime

from resultsfw.cluster import PODS, Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import ClusterError, NotFoundError, ObjectTooLargeError
from resultsfw.result_annotations import annotation_removal
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.attempts import attempt_number
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.api.names import pod_name
from resultsfw.tekton.api.owners import owns
from resultsfw.tekton.api.policies import Policies
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.pod.builder import PodOptions
from resultsfw.tekton.podstatus.startup_failures import StartTolerance
from resultsfw.tekton.resolution.terms import ListPolicies, no_policies
from resultsfw.tekton.spec.run_defaults import RunDefaults, with_run_defaults
from resultsfw.tekton.taskrun.attempt import Attempt, Finished
from resultsfw.tekton.taskrun.completion import failed_status
from resultsfw.tekton.taskrun.decision import MOST_ROUNDS, decide
from resultsfw.tekton.taskrun.executor import Executor
from resultsfw.tekton.taskrun.image_lookup import ImageLookup
from resultsfw.tekton.taskrun.observation import observe
from resultsfw.tekton.taskrun.requeue import Timing
from resultsfw.tekton.taskrun.status_writer import write_status
from resultsfw.tekton.taskrun.termination import TerminationCause, deadline

__all__ = ["Reconciler", "Timing", "is_done"]


class Reconciler:
    """Reconciles TaskRuns. Keeps no state of any of them: it may be killed anywhere and started again.

    Args:
        core: The core with the flags in effect.
        cluster: Where TaskRuns and Pods live.
        options: Images and defaults of the pods it builds.
        timing: How long it waits.
        clock: Tells the time; UTC.
        policies: What an operator forbids.
        tolerance: How long a run waits for containers that cannot start.
        defaults: The defaults of runs.
        tell: Records an Event on a TaskRun: reason and message.
        images: Looks up the commands of images; ``None``: a Step without a command is refused.
        verification_policies: Returns the VerificationPolicies of a namespace, which may demand signatures.
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
        tolerance: StartTolerance | None = None,
        defaults: RunDefaults | None = None,
        tell: Callable[[Object, str, str], None] = lambda *_: None,
        images: ImageLookup | None = None,
        verification_policies: ListPolicies = no_policies,
    ) -> None:
        self.core = core
        self._cluster = cluster
        self._timing = timing or Timing()
        self._clock = clock
        self._defaults = defaults or RunDefaults()
        self._executor = Executor(
            core,
            cluster,
            options=options or PodOptions(),
            policies=policies or Policies(),
            tolerance=tolerance or StartTolerance(),
            tell=tell,
            defaults=self._defaults,
            verification_policies=verification_policies,
            images=images,
        )

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Take a TaskRun as far as it goes without waiting.

        Returns:
            Seconds after which to reconcile it again though nothing changed; ``None``: never.

        Raises:
            ClusterError: Try again if it is ``retryable``; a ConflictError means that somebody else wrote.
            BackendError: What a backend keeps of the run could not be purged; try again.
        """
        try:
            taskrun = self._cluster.get(TASKRUNS, namespace, name)
        except NotFoundError:
            return None
        try:
            return self._run_to_wait(with_run_defaults(taskrun, self._defaults))
        except ObjectTooLargeError as error:
            self._fail_too_large(namespace, name, error)
            return None

    def _run_to_wait(self, taskrun: Object) -> float | None:
        """Decide and apply until an action ends the pass."""
        now = self._clock()
        seen = observe(taskrun, None, now)
        attempt = Attempt(taskrun=taskrun, seen=seen)
        try:
            for _ in range(MOST_ROUNDS):
                outcome = self._executor.apply(decide(attempt.seen, self._timing), attempt)
                if isinstance(outcome, Finished):
                    return outcome.requeue_after
                attempt = outcome
        except ClusterError as error:
            # The queue's pauses grow; but the run must not be found out of time long after it is.
            if (
                not (seen.deleted or seen.done)
                and (end := deadline(attempt.taskrun)) is not None
                and now < end
            ):
                error.retry_within = (end - now).total_seconds()
            raise
        raise AssertionError(f"no end of the pass in {MOST_ROUNDS} rounds")

    def _fail_too_large(self, namespace: str, name: str, error: ObjectTooLargeError) -> None:
        """Fail a TaskRun that the API server cannot store with its status any more, and delete its pod."""
        taskrun = self._cluster.get(TASKRUNS, namespace, name)
        message = (
            f"[User error] the run with its status is larger than the API server stores: "
            f"{error.message}; make its Task, parameters and scripts smaller"
        )
        cause, now = TerminationCause(reasons.TOO_LARGE, message), self._clock()
        started = taskrun.get("status", {}).get("startTime") or format_time(now)
        failed = failed_status(cause, now, startTime=started, podName="", taskSpec=None)
        write_status(self._cluster, taskrun, failed | annotation_removal(taskrun))
        number = attempt_number(taskrun)
        with contextlib.suppress(NotFoundError):
            pod = self._cluster.get(PODS, namespace, pod_name(name, number))
            if owns(taskrun, pod):
                self._cluster.delete(PODS, namespace, pod["metadata"]["name"])
