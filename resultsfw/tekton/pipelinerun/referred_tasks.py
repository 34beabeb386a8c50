"""Read the Tasks that a Pipeline refers to, by name or through resolvers, before its first TaskRun."""

import json
from collections.abc import Mapping
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import InputError, NotFoundError
from resultsfw.limits import object_size
from resultsfw.tekton.api.conditions import succeeded
from resultsfw.tekton.api.kinds import PIPELINERUNS, TASKRUNS, TASKS
from resultsfw.tekton.api.models import validate_task_document
from resultsfw.tekton.api.refusals import USER_ERROR, RefusedRun
from resultsfw.tekton.pipelinerun import reasons
from resultsfw.tekton.pipelinerun.children import kind_of, names_of
from resultsfw.tekton.pipelinerun.pipeline_spec import Plan
from resultsfw.tekton.pipelinerun.validate_pipeline import tasks_of
from resultsfw.tekton.resolution.outcomes import AwaitingResolution, ResolutionFailed
from resultsfw.tekton.resolution.references import described, reference_of
from resultsfw.tekton.resolution.requests import Requester
from resultsfw.tekton.resolution.resolver import resolve
from resultsfw.tekton.resolution.terms import Terms
from resultsfw.tekton.spec.expansion import Budget, Expansion

__all__ = ["MAX_TASKS", "read_tasks"]

MAX_TASKS: Final = 500
"""How many different Tasks a Pipeline may refer to.

All are read before its first TaskRun, one request each: thousands keep a worker, and the share of requests of
everybody, for minutes.
"""

MAX_BYTES: Final = 67_108_864
"""Of all Tasks that resolvers found for one Pipeline: they are in memory at the same time."""


def read_tasks(
    plan: Plan, cluster: Cluster, pipelinerun: Object, terms: Terms | None
) -> Mapping[str, Object]:
    """Return the specs of the Tasks that Pipeline Tasks refer to, by the name of the Pipeline Task.

    A Task that several name is read once.

    Raises:
        RefusedRun: They are too many, or one is not there; with Tekton's reason.
        AwaitingResolution: A resolver has not found one of them yet; all were asked for.
        ClusterError: One could not be read.
    """
    namespace = pipelinerun["metadata"].get("namespace", "")
    refs = {
        task["name"]: task.get("taskRef") or {}
        for _, task in tasks_of(plan.spec)
        if task.get("taskSpec") is None and kind_of(task) == TASKRUNS
    }
    remote = [name for name, ref in refs.items() if ref.get("resolver")]
    names = dict.fromkeys(ref.get("name") or "" for ref in refs.values() if not ref.get("resolver"))
    if (count := len(names) + len(remote)) > MAX_TASKS:
        raise RefusedRun(
            reasons.INVALID,
            f"{USER_ERROR}Pipeline {namespace}/{plan.name} can't be Run; it names {count} different "
            f"Tasks, over the limit of {MAX_TASKS}; embed some of them, or split it into several Pipelines",
        )
    reader = _Reader(plan, cluster, pipelinerun, terms)
    found = reader.remote_specs(remote, refs)
    specs = {name: reader.spec_by_name(name) for name in names}
    return found | {task: specs[ref.get("name") or ""] for task, ref in refs.items() if task not in found}


class _Reader:
    """Reads the Tasks of one run.

    Args:
        plan: What the run is to do.
        cluster: Where the Tasks are.
        pipelinerun: The run.
        terms: Of resolvers.
    """

    def __init__(self, plan: Plan, cluster: Cluster, pipelinerun: Object, terms: Terms | None) -> None:
        self._plan = plan
        self._cluster = cluster
        self._run = pipelinerun
        self._terms = terms

    def spec_by_name(self, name: str) -> Object:
        """Return the spec of a Task of the run's namespace.

        Raises:
            RefusedRun: There is none, or it is invalid.
        """
        if not name:
            raise self._refused(name, "it has no name: give taskRef.name, taskRef.resolver or taskSpec")
        try:
            task = self._cluster.get(TASKS, self._run["metadata"].get("namespace", ""), name)
            validate_task_document(task)
        except NotFoundError as error:
            raise self._refused(name, error.message) from error
        except InputError as error:
            raise self._invalid(name, error.message) from error
        spec: Object = task["spec"]
        return spec

    def remote_specs(self, tasks: list[str], refs: Mapping[str, Object]) -> dict[str, Object]:
        """Return the specs of the Tasks that resolvers found.

        Args:
            tasks: Names of Pipeline Tasks.
            refs: Their ``taskRef``, and that of others.

        Raises:
            RefusedRun: A resolver did not find one.
            AwaitingResolution: A resolver has not answered yet. In the first reconcile, all were asked.
        """
        specs: dict[str, Object] = {}
        size = 0
        awaited: AwaitingResolution | None = None
        for task in tasks:
            try:
                specs[task] = self._remote_spec(task, refs[task])
                size += object_size(specs[task])
            except AwaitingResolution as awaiting:
                if succeeded(self._run).get("reason") == awaiting.reason:
                    raise  # all were asked before
                awaited = awaited or awaiting
            if size > MAX_BYTES:
                raise self._too_large(size)
        if awaited is not None:
            raise awaited
        return specs

    def _remote_spec(self, task: str, ref: Object) -> Object:
        # The request is the one that the TaskRun will read: it has the TaskRun's name in its own.
        name = names_of(self._run["metadata"]["name"], task)[0]
        requester = Requester(self._run, PIPELINERUNS, name, self._terms)
        # The Pipeline's variables are replaced already; what is left is the resolver's, as under Tekton.
        reference = reference_of(ref, TASKS, Expansion(lambda _: None, Budget()), "taskRef")
        try:
            found = resolve(self._cluster, reference, requester, validate_task_document)
        except ResolutionFailed as error:
            raise self._refused(reference.name or described(ref), error.message) from error
        spec: Object = found.document["spec"]
        return spec

    def _too_large(self, size: int) -> RefusedRun:
        namespace = self._run["metadata"].get("namespace", "")
        return RefusedRun(
            reasons.INVALID,
            f"{USER_ERROR}Pipeline {namespace}/{self._plan.name} can't be Run: the Tasks of its resolvers "
            f"have {size} bytes or more together, over the limit of {MAX_BYTES}; split it into several "
            f"Pipelines",
        )

    def _invalid(self, name: str, why: str) -> RefusedRun:
        namespace = self._run["metadata"].get("namespace", "")
        return RefusedRun(
            reasons.INVALID,
            f"{USER_ERROR}Pipeline {namespace}/{self._plan.name} can't be Run; its Task "
            f"{json.dumps(name, ensure_ascii=False)} is invalid: {why}",
        )

    def _refused(self, name: str, why: str) -> RefusedRun:
        namespace = self._run["metadata"].get("namespace", "")
        return RefusedRun(
            reasons.COULDNT_GET_TASK,
            f"Pipeline {namespace}/{self._plan.name} can't be Run; it contains Tasks that don't exist: "
            f"Couldn't retrieve Task {json.dumps(name, ensure_ascii=False)}: {why}",
        )
