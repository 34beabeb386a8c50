"""Resolve the Task of a TaskRun: read it, merge its StepActions, validate it, replace its variables."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import ClusterError, ForbiddenError, InputError, NotFoundError
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.inherited import inherited_metadata
from resultsfw.tekton.api.kinds import TASK_LABEL, TASKRUNS, TASKS
from resultsfw.tekton.api.models import validate_task_document, validate_taskrun_document
from resultsfw.tekton.api.refusals import USER_ERROR, RefusedRun, pod_refused, subject_of
from resultsfw.tekton.resolution.outcomes import ResolutionFailed
from resultsfw.tekton.resolution.references import Reference, reference_of
from resultsfw.tekton.resolution.requests import Requester
from resultsfw.tekton.resolution.resolver import resolve
from resultsfw.tekton.resolution.terms import Terms
from resultsfw.tekton.spec.default_workspaces import with_default_bindings
from resultsfw.tekton.spec.expansion import Budget, Expansion, TooLargeError
from resultsfw.tekton.spec.param_files import expand_compact_spec
from resultsfw.tekton.spec.run_texts import escape_run_protection, run_lookup, run_params
from resultsfw.tekton.spec.substitution import stored_spec
from resultsfw.tekton.spec.validate_taskrun import refuse_invalid
from resultsfw.tekton.taskrun.step_actions import read_step_actions

__all__ = ["FoundTask", "RefSources", "ResolvedTask", "read_task", "resolve_task"]

log = logging.getLogger(__name__)


_FIELD: Final = "spec.taskRef"


@dataclass(frozen=True, slots=True)
class FoundTask:
    """The Task of a run, as written.

    Attributes:
        spec: Of the Task.
        name: Of the Task; empty if it is embedded.
        metadata: Of the Task; empty if it is embedded.
        ref_source: Where a resolver found it; ``None`` without one.
    """

    spec: Object
    name: str = ""
    metadata: Object = field(default_factory=dict)
    ref_source: Object | None = None


@dataclass(frozen=True, slots=True)
class RefSources:
    """Where resolvers found what a run refers to (``uri``, ``digest``, ``entryPoint``).

    Attributes:
        task: The Task; ``None`` if no resolver found it.
        steps: The StepAction of each Step, by index, likewise; empty if no Step refers to one.
    """

    task: Object | None = None
    steps: Sequence[Object | None] = ()


@dataclass(frozen=True, slots=True)
class ResolvedTask:
    """The Task of a run, ready for its pod.

    Attributes:
        spec: Valid, with all variables replaced that can be before the pod runs.
        taskrun: The run, with the metadata that it has now.
        sources: Where resolvers found it and its StepActions; nothing if the status holds the Task.
    """

    spec: Object
    taskrun: Object
    sources: RefSources = field(default_factory=RefSources)


def resolve_task(
    taskrun: Object,
    cluster: Cluster,
    *,
    inherit: bool = True,
    terms: Terms | None = None,
    binding: Object | None = None,
) -> ResolvedTask:
    """Return the TaskRun's Task spec, valid, with all variables replaced that can be before the pod runs.

    A spec that the status holds already is used: a Task that changes later does not change a run. But for a
    retry, a spec that is embedded in the TaskRun is substituted again: ``$(context.task.retry-count)`` may be
    in it.

    Args:
        taskrun: The run.
        cluster: Where its Task is.
        inherit: Write the Task's labels and annotations to the TaskRun, as Tekton does.
        terms: Of resolvers; ``None``: they may take until the run's timeout.
        binding: Of workspaces that the run must bind and does not; the run that is returned binds them.

    Raises:
        RefusedRun: There is no Task or StepAction, or the run cannot be made of them.
        AwaitingResolution: A resolver has not answered yet.
        ClusterError: One of them could not be read, or the labels not be written.
    """
    status = taskrun.get("status", {})
    begins = not status.get("podName") and taskrun["spec"].get("taskSpec") is not None
    if (known := status.get("taskSpec")) and not begins:
        taskrun = with_default_bindings(taskrun, known, binding)
        return ResolvedTask(expand_compact_spec(dict(known), taskrun), taskrun)
    try:
        validate_taskrun_document(taskrun)
        task = read_task(taskrun, cluster, terms)
    except InputError as error:
        raise RefusedRun(reasons.VALIDATION_FAILED, error.message, subject=error.subject) from error
    taskrun = with_default_bindings(taskrun, task.spec, binding)
    actions = read_step_actions(taskrun, task.spec, cluster, terms)
    substituted = refuse_invalid(taskrun, task.spec, task_name=task.name, actions=actions.specs)
    if task.name and inherit:
        taskrun = _inherit(taskrun, cluster, task.name, task.metadata)
    sources = RefSources(task.ref_source, actions.ref_sources)
    return ResolvedTask(stored_spec(substituted, taskrun), taskrun, sources)


def read_task(taskrun: Object, cluster: Cluster, terms: Terms | None = None) -> FoundTask:
    """Return the Task of a run as written.

    Raises:
        RefusedRun: There is no such Task.
        AwaitingResolution: A resolver has not answered yet.
        InputError: It is not valid.
        ClusterError: It could not be read.
    """
    spec = taskrun["spec"]
    if spec.get("taskSpec") is not None:
        return FoundTask(spec["taskSpec"])
    named = (spec.get("taskRef") or {}).get("name") or ""
    requester = Requester(taskrun, TASKRUNS, taskrun["metadata"]["name"], terms)
    try:
        found = resolve(cluster, _reference(taskrun), requester, validate_task_document)
    except NotFoundError as error:
        raise RefusedRun(
            reasons.RESOLUTION_FAILED,
            f'there is no Task "{named}" in namespace "{requester.namespace}": {error.message}',
        ) from error
    except ResolutionFailed as error:
        whose = f"error when listing tasks for taskRun {taskrun['metadata']['name']}: " if named else ""
        raise RefusedRun(reasons.RESOLUTION_FAILED, whose + error.message, subject=error.subject) from error
    except TooLargeError as error:
        raise RefusedRun(reasons.RESOLUTION_FAILED, f"{USER_ERROR}{error.message}") from error
    task = found.document
    return FoundTask(task["spec"], task["metadata"].get("name") or "", task["metadata"], found.ref_source)


def _reference(taskrun: Object) -> Reference:
    """Return the run's reference to its Task, with what is known of the run put in.

    Raises:
        RefusedRun: It names nothing.
        TooLargeError: It would be larger than one object can be.
    """
    ref = escape_run_protection(taskrun["spec"].get("taskRef") or {}, taskrun)
    if not (ref.get("resolver") or ref.get("name")):
        raise RefusedRun(
            reasons.RESOLUTION_FAILED,
            f"{subject_of(taskrun)} refers to no Task: give taskRef.name, taskRef.resolver or taskSpec",
        )
    lookup = run_lookup(taskrun, run_params(taskrun, {}))
    return reference_of(ref, TASKS, Expansion(lookup, Budget()), _FIELD)


def _inherit(taskrun: Object, cluster: Cluster, name: str, described: Object) -> Object:
    """Return the TaskRun with its Task's labels and annotations, which its pod is built with; write them.

    Raises:
        RefusedRun: The server will never accept them.
        ClusterError: They cannot be written now.
    """
    added = inherited_metadata(taskrun, described, label=TASK_LABEL, name=name)
    if not added:
        return taskrun
    metadata = taskrun["metadata"]
    namespace, run = metadata.get("namespace", ""), metadata["name"]
    patch = {"metadata": {**added, "resourceVersion": metadata["resourceVersion"]}}
    try:
        return {**taskrun, "metadata": cluster.patch(TASKRUNS, namespace, run, patch)["metadata"]}
    except ForbiddenError as error:  # the stamp is refused next, which says what the controller may not do
        log.warning("TaskRun %s/%s does not get its Task's labels: %s", namespace, run, error.message)
        return taskrun
    except ClusterError as error:
        if error.retryable:
            raise
        raise pod_refused(taskrun, f"it cannot have the labels of its Task: {error.message}") from error
