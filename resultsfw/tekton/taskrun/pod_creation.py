"""Making the pod of a TaskRun's attempt, and saying why it cannot be made, or not yet."""

import contextlib
from collections.abc import Callable
from datetime import datetime

from resultsfw.cluster import CONFIG_MAPS, PODS, Cluster, Object
from resultsfw.core import STAMP_ANNOTATION, ResultsManager
from resultsfw.errors import (
    AlreadyExistsError,
    ClusterError,
    ConflictError,
    CorruptError,
    ForbiddenError,
    NotFoundError,
    ObjectTooLargeError,
)
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.api.names import pod_name
from resultsfw.tekton.api.owners import owns
from resultsfw.tekton.api.policies import Policies
from resultsfw.tekton.api.refusals import RefusedRun, pod_refused
from resultsfw.tekton.pod.builder import PodOptions, build_pod_and_maps
from resultsfw.tekton.pod.containers import PARAMS_MOUNT
from resultsfw.tekton.spec.param_files import large_params, largest
from resultsfw.tekton.spec.param_references import resolved
from resultsfw.tekton.spec.validate_taskrun import refuse_forbidden
from resultsfw.tekton.spec.workspaces import make_claims
from resultsfw.tekton.taskrun.finalizers import required_metadata
from resultsfw.tekton.taskrun.initial_status import attempt_status, task_spec_of
from resultsfw.tekton.taskrun.stamps import recorded_stamp
from resultsfw.tekton.taskrun.termination import TerminationCause
from resultsfw.types import Run

__all__ = ["EndedError", "PodCreation"]


class EndedError(Exception):
    """The run is over for a cause that needs no pod. No error: a way out of looking for one."""

    def __init__(self, cause: TerminationCause) -> None:
        super().__init__(cause.message)
        self.cause = cause


class PodCreation:
    """Makes the pods of TaskRuns.

    Args:
        core: With the flags in force.
        cluster: Where TaskRuns and Pods live.
        options: Images and defaults of the pods.
        write: Writes a part of a TaskRun's status.
        policies: What an operator forbids.
        begins: Told of a TaskRun and its pod before the status says that the attempt has one.
    """

    def __init__(
        self,
        core: ResultsManager,
        cluster: Cluster,
        options: PodOptions,
        write: Callable[[Object, Object], None],
        *,
        policies: Policies,
        begins: Callable[[Object, Object], None],
    ) -> None:
        self._policies = policies
        self._begins = begins
        self._core = core
        self._cluster = cluster
        self._options = options
        self._write = write

    def task_spec(self, taskrun: Object, now: datetime) -> Object:
        """Return the run's Task spec (`task_spec_of`); where it cannot be read, the run says so and waits."""
        try:
            return task_spec_of(taskrun, self._cluster)
        except ClusterError as error:
            why = f"the Task could not be read, or the run not labelled as it is: {error.message}"
            raise self._not_made(taskrun, None, why, error, now, reason=reasons.RESOLUTION_FAILED) from error

    def pod_of(self, taskrun: Object, spec: Object, run: Run, now: datetime) -> Object:
        """Return the attempt's pod, made if there is none yet.

        Its name is a function of run and attempt: one made just before a crash is found again.

        Raises:
            RefusedRun: It cannot be made.
            EndedError: It was there, and is not there any more.
            ClusterError: It cannot be made now; the run's condition says why.
        """
        name = pod_name(run.name, run.attempt)
        status = taskrun.get("status", {})
        known = status.get("podName") == name
        if not known and STAMP_ANNOTATION not in (taskrun["metadata"].get("annotations") or {}):
            # The stamp is written before the pod: without it there can be none whose backend was chosen.
            return self._make(taskrun, spec, run, now)
        try:
            pod = self._cluster.get(PODS, run.namespace, name)
        except NotFoundError as error:
            if known:
                why = f'pod "{name}" vanished before its results were read'
                raise EndedError(TerminationCause(reasons.POD_DELETED, why)) from error
            return self._make(taskrun, spec, run, now)
        except ForbiddenError as error:
            why = f"the pod could not be read: {error.message}"
            raise self._not_made(taskrun, spec, why, error, now) from error
        _refuse_foreign(taskrun, pod)
        if not status.get("podName"):
            self._begin(taskrun, spec, pod, now)
        return pod

    def _make(self, taskrun: Object, spec: Object, run: Run, now: datetime) -> Object:
        refuse_forbidden(taskrun, self._policies)
        annotations = taskrun["metadata"].get("annotations") or {}
        failed = f'failed to create task run pod "{run.name}": '
        try:
            whole = resolved(self._core, self._cluster, taskrun, spec)
            bare, maps = build_pod_and_maps(
                whole.taskrun,
                whole.task_spec,
                attempt=run.attempt,
                options=self._options,
                files=whole.files,
            )
            bare = self._core.place_files(run, bare, whole.files, PARAMS_MOUNT)
            pod = self._core.prepare_pod(run, bare, cluster=self._cluster, annotations=annotations)
            if marks := required_metadata(self._core, taskrun, pod):
                # The pod's own stamp is what reading follows; this one is for people, and outlives the pod.
                # Conditional: a cancel that came meanwhile must be seen before there is a pod.
                marks["resourceVersion"] = taskrun["metadata"]["resourceVersion"]
                changed = self._cluster.patch(TASKRUNS, run.namespace, run.name, {"metadata": marks})
                taskrun["metadata"] = changed["metadata"]
        except CorruptError as error:
            raise pod_refused(taskrun, error.message) from error
        except ClusterError as error:
            raise self._not_made(taskrun, spec, failed + error.message, error, now) from error
        if (failure := make_claims(self._cluster, taskrun)) is not None:
            why, refusal = failure
            claim_failed = reasons.CLAIM_FAILED
            raise self._not_made(taskrun, spec, why, refusal, now, reason=claim_failed) from refusal
        try:
            for config_map in maps:
                # The name says what is in it, and the pod checks that: whose it is need not be asked.
                with contextlib.suppress(AlreadyExistsError):
                    self._cluster.create(CONFIG_MAPS, config_map)
            pod = self._cluster.create(PODS, pod)
        except AlreadyExistsError:
            pod = self._cluster.get(PODS, run.namespace, pod["metadata"]["name"])
            _refuse_foreign(taskrun, pod)
        except ObjectTooLargeError as error:
            raise RefusedRun(
                reasons.POD_CREATION_FAILED,
                f"{failed}{error.message}"
                f"{largest(large_params(whole.taskrun, spec))}; make its scripts and parameters smaller",
            ) from error
        except ClusterError as error:
            raise self._not_made(taskrun, spec, failed + error.message, error, now) from error
        self._begin(taskrun, spec, pod, now)
        return pod

    def _not_made(
        self,
        taskrun: Object,
        spec: Object | None,
        why: str,
        error: ClusterError,
        now: datetime,
        *,
        reason: str = reasons.POD_CREATION_FAILED,
    ) -> Exception:
        """Return what to raise where a pod, or what it needs, could not be made or read.

        What a server will never accept ends the run, with ``reason``. What may come right is tried again,
        and the run's condition says what it waits for; its timeout decides. A quota may free itself; a Pod
        Security level does not, but nothing except a message tells the two apart.
        """
        if isinstance(error, ConflictError):
            return error  # somebody else wrote: nothing is known to be wrong
        if not error.retryable:
            return RefusedRun(reason, why)
        if not taskrun.get("status", {}).get("podName"):
            waiting = attempt_status(taskrun, spec, self._core, now) | {"podName": ""}
            waiting["conditions"] = [condition("Unknown", reasons.PENDING, why, now)]
            self._write(taskrun, waiting)
        return error

    def _begin(self, taskrun: Object, spec: Object, pod: Object, now: datetime) -> None:
        """Write that the attempt has a pod."""
        status = attempt_status(taskrun, spec, self._core, now)
        status["podName"] = pod["metadata"]["name"]
        # What is written here is what later reconciles trust: a pod's own word is not enough.
        stamp = recorded_stamp(self._core, taskrun, pod)
        status["provenance"]["featureFlags"] |= {
            "maxResultSize": stamp.max_result_size,
            "resultExtractionMethod": stamp.backend,
        }
        self._begins(taskrun, pod)
        self._write(taskrun, status)


def _refuse_foreign(taskrun: Object, pod: Object) -> None:
    """Raise RefusedRun for a pod under the run's name that is not its own."""
    if not owns(taskrun, pod):
        raise RefusedRun(
            reasons.POD_CREATION_FAILED,
            f'failed to create task run pod "{taskrun["metadata"]["name"]}": pod "{pod["metadata"]["name"]}" '
            f"exists and belongs to somebody else; delete it or name the run otherwise",
        )
