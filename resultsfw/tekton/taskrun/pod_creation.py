"""Create the pod of a TaskRun's attempt, or say why it cannot be created."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from resultsfw.cluster import CONFIG_MAPS, PODS, Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import (
    AlreadyExistsError,
    BackendError,
    ClusterError,
    CorruptError,
    FlagError,
    InputError,
    ObjectTooLargeError,
    ResultsError,
)
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.kinds import TASKRUNS
from resultsfw.tekton.api.owners import owns
from resultsfw.tekton.api.policies import Policies
from resultsfw.tekton.api.refusals import RefusedRun, pod_refused
from resultsfw.tekton.pod.affinity import affinity_events
from resultsfw.tekton.pod.builder import PodOptions, build_pod_and_maps
from resultsfw.tekton.pod.container_resources import with_container_resources
from resultsfw.tekton.pod.containers import PARAMS_MOUNT
from resultsfw.tekton.spec.param_files import large_params, largest_param_note
from resultsfw.tekton.spec.param_references import ResolvedReferences, resolve_references
from resultsfw.tekton.spec.validate_taskrun import refuse_forbidden
from resultsfw.tekton.spec.workspaces import make_claims
from resultsfw.tekton.taskrun.credentials import AccountCredentials, read_credentials
from resultsfw.tekton.taskrun.finalizers import required_metadata
from resultsfw.tekton.taskrun.image_lookup import ImageLookup, awaited_message, find_images
from resultsfw.tekton.taskrun.observation import Failure
from resultsfw.tekton.taskrun.service_accounts import ServiceAccounts
from resultsfw.types import Run

__all__ = ["REFUSALS", "Creation", "PodCreator", "failure_of", "foreign_pod"]

log = logging.getLogger(__name__)

REFUSALS = (RefusedRun, FlagError, BackendError, InputError)
"""What is raised for a run that cannot be run as it is written, or under the flags as they are."""


@dataclass(frozen=True, slots=True)
class Creation:
    """The outcome of creating a pod.

    Attributes:
        taskrun: With the metadata that it has now.
        pod: As the API server made it; ``None`` if it was not created.
        failure: Why it was not created.
        awaited_images: Why it is not created yet: commands of images are looked up.
    """

    taskrun: Object
    pod: Object | None = None
    failure: Failure | None = None
    awaited_images: str = ""


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What is to be created, in this order, and what the TaskRun's metadata must hold before that."""

    config_maps: Sequence[Object]
    pod: Object
    metadata: Object
    params: ResolvedReferences
    events: Sequence[tuple[str, str]]


def failure_of(error: ResultsError) -> Failure:
    """Return the failure of a TaskRun that cannot be run as it is written."""
    reason = error.reason if isinstance(error, RefusedRun) else reasons.VALIDATION_FAILED
    return Failure(reason, error.message, error)


def foreign_pod(taskrun: Object, pod: Object) -> Failure | None:
    """Return the failure of a TaskRun whose pod's name is taken by a pod of somebody else."""
    if owns(taskrun, pod):
        return None
    name = pod["metadata"]["name"]
    refused = RefusedRun(
        reasons.POD_CREATION_FAILED,
        f'failed to create task run pod "{taskrun["metadata"]["name"]}": pod "{name}" '
        f"exists and does not belong to this run; delete it, or give the run another name",
    )
    return failure_of(refused)


class PodCreator:
    """Creates the pods of TaskRuns.

    Args:
        core: The core with the flags in effect.
        cluster: Where TaskRuns and Pods live.
        options: Images and defaults of the pods.
        policies: What an operator forbids.
        tell: Records an Event on a TaskRun: reason and message.
        images: Looks up the commands of images; ``None``: a Step without a command is refused.
    """

    def __init__(
        self,
        core: ResultsManager,
        cluster: Cluster,
        options: PodOptions,
        policies: Policies,
        *,
        tell: Callable[[Object, str, str], None],
        images: ImageLookup | None,
    ) -> None:
        self._core = core
        self._cluster = cluster
        self._accounts = ServiceAccounts(cluster)
        self._options = options
        self._policies = policies
        self._tell = tell
        self._images = images

    def create(self, taskrun: Object, task_spec: Object, run: Run, now: datetime) -> Creation:
        """Create the pod of a TaskRun's attempt, and before it what it needs.

        The pod's name follows from TaskRun and attempt: if the pod exists already, that one is returned.

        Args:
            taskrun: As last read. Its metadata gets the stamp and a finalizer, if its backend needs one.
            task_spec: ResolvedReferences.
            run: The attempt, as backends see it.
            now: The time.

        Raises:
            ClusterError: The pod exists and cannot be read.
        """
        failed = f'failed to create task run pod "{run.name}": '
        try:
            prepared = self._prepare(taskrun, task_spec, run, now)
            if prepared is None:
                return Creation(taskrun, awaited_images=awaited_message(task_spec))
            # The pod's own stamp is what reading follows; this one is for people, and outlives the pod.
            taskrun = self._write_metadata(taskrun, prepared.metadata)
        except CorruptError as error:
            return Creation(taskrun, failure=failure_of(pod_refused(taskrun, error.message)))
        except ClusterError as error:
            return _not_created(taskrun, failed + error.message, error)
        except REFUSALS as error:
            return Creation(taskrun, failure=failure_of(error))
        return self._create_prepared(taskrun, task_spec, run, prepared)

    def _create_prepared(self, taskrun: Object, task_spec: Object, run: Run, prepared: _Prepared) -> Creation:
        """Create what was prepared."""
        failed = f'failed to create task run pod "{run.name}": '
        if (claim := make_claims(self._cluster, taskrun)) is not None:
            return _not_created(taskrun, *claim, reason=reasons.CLAIM_FAILED)
        try:
            for config_map in prepared.config_maps:
                # The name is a digest of the content, and the pod checks that: the owner does not matter.
                with contextlib.suppress(AlreadyExistsError):
                    self._cluster.create(CONFIG_MAPS, config_map)
            pod = self._cluster.create(PODS, prepared.pod)
        except AlreadyExistsError:
            pod = self._cluster.get(PODS, run.namespace, prepared.pod["metadata"]["name"])
            if (foreign := foreign_pod(taskrun, pod)) is not None:
                return Creation(taskrun, failure=foreign)
        except ObjectTooLargeError as error:
            large = largest_param_note(large_params(prepared.params.taskrun, task_spec))
            why = f"{failed}{error.message}{large}; make its scripts and parameters smaller"
            return _not_created(taskrun, why, error)
        except ClusterError as error:
            return _not_created(taskrun, failed + error.message, error)
        self._report(taskrun, prepared.events)
        return Creation(taskrun, pod)

    def _prepare(self, taskrun: Object, task_spec: Object, run: Run, now: datetime) -> _Prepared | None:
        """Build the pod and let its backend prepare it, which may create what the pod needs.

        Returns ``None`` while the commands of its images are looked up.
        """
        refuse_forbidden(taskrun, task_spec, self._policies)
        whole = resolve_references(self._core, self._cluster, taskrun, task_spec)
        name = (taskrun.get("spec") or {}).get("serviceAccountName") or self._options.service_account
        images = find_images(
            self._images,
            self._cluster,
            whole.taskrun,
            task_spec=whole.task_spec,
            run=run,
            read_account=partial(self._accounts.read, taskrun, name, now),
        )
        if images is None:
            return None
        account = self._read_credentials(taskrun, name, now)
        pod, config_maps = build_pod_and_maps(
            whole.taskrun,
            whole.task_spec,
            attempt=run.attempt,
            options=self._options,
            files=whole.files,
            credentials=account.credentials,
            images=images,
        )
        pod = self._core.place_files(run, pod, whole.files, PARAMS_MOUNT, cluster=self._cluster)
        annotations = taskrun["metadata"].get("annotations") or {}
        pod = self._core.prepare_pod(run, pod, cluster=self._cluster, annotations=annotations)
        pod = with_container_resources(pod, self._options.container_resources)
        metadata = required_metadata(self._core, taskrun, pod)
        events = (*account.events, *affinity_events(taskrun, pod))
        return _Prepared(config_maps, pod, metadata, whole, events)

    def _read_credentials(self, taskrun: Object, account: str, now: datetime) -> AccountCredentials:
        """Return the credentials that Steps get of the run's service account."""
        if self._options.disable_creds_init:
            return AccountCredentials()
        return read_credentials(
            self._cluster,
            self._accounts,
            taskrun,
            account,
            now=now,
            require_known_hosts=self._options.require_git_ssh_known_hosts,
        )

    def _report(self, taskrun: Object, events: Sequence[tuple[str, str]]) -> None:
        """Say in the log and in Events what the pod lacks."""
        metadata = taskrun["metadata"]
        for reason, message in events:
            log.warning("TaskRun %s/%s: %s", metadata.get("namespace", ""), metadata["name"], message)
            self._tell(taskrun, reason, message)

    def _write_metadata(self, taskrun: Object, required: Object) -> Object:
        """Return the TaskRun with the metadata that it must have before its pod is created; write it.

        Conditional: a cancellation that came meanwhile must be seen before there is a pod.
        """
        if not required:
            return taskrun
        metadata = taskrun["metadata"]
        patch = {"metadata": {**required, "resourceVersion": metadata["resourceVersion"]}}
        changed = self._cluster.patch(TASKRUNS, metadata.get("namespace", ""), metadata["name"], patch)
        return {**taskrun, "metadata": changed["metadata"]}


def _not_created(
    taskrun: Object, message: str, error: ClusterError, *, reason: str = reasons.POD_CREATION_FAILED
) -> Creation:
    return Creation(taskrun, failure=Failure(reason, message, error))
