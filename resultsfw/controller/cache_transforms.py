"""Reduce objects to what reconciliations read before the cache stores them.

client-go calls such a function a TransformFunc. What is left out must never be written back: reconcilers
write merge patches of single fields.
"""

from collections.abc import Callable
from typing import Final

from resultsfw.cluster import UNREADABLE, Object
from resultsfw.controller.live_flags import CONFIG_MAP, OTHERS
from resultsfw.controller.ownership import RunSelector, managed_by
from resultsfw.controller.unreadable import defect_of, stub
from resultsfw.tekton.api.conditions import is_done
from resultsfw.tekton.pipelinerun.children import STATUS_MESSAGE_ANNOTATION

__all__ = [
    "RESULT_FIELDS",
    "TaskRunTransform",
    "identity_of",
    "trim_configmap",
    "trim_customrun",
    "trim_foreign_pod",
    "trim_pipelinerun",
    "trim_pod",
    "trim_taskrun",
]

_IDENTITY: Final = ("name", "namespace", "uid", "resourceVersion", "labels", "ownerReferences")
"""Of the metadata, what event handlers read; the cache holds less."""

_CANCELLATION: Final = ("status", "statusMessage")
"""Of the spec of a CustomRun, what its PipelineRun reads."""


RESULT_FIELDS: Final = ("results", "artifacts")
"""Fields of a finished TaskRun's status that may be large, and that its PipelineRun reads."""


class TaskRunTransform:
    """Reduces TaskRuns, and knows of which the results were left out.

    That cannot be part of the cached object itself: it would be a field which Tekton's API does not have.

    Args:
        selector: Selects this controller's TaskRuns.
        keeps_results: Whether the results of a finished TaskRun are worth their memory.
    """

    def __init__(
        self, selector: RunSelector, keeps_results: Callable[[Object], bool] = lambda _: False
    ) -> None:
        self._selector = selector
        self._keeps_results = keeps_results
        self._without_results: set[str] = set()

    def __call__(self, taskrun: Object) -> Object:
        """Return the TaskRun as it is cached; another controller's: only its identity."""
        if not self._selector.selects(taskrun):
            return {**identity_of(taskrun), **_unreadable_mark(taskrun)}
        if defect := defect_of(taskrun):
            return stub(taskrun, defect)
        keeps_results = self._keeps_results(taskrun)
        if is_done(taskrun) and _has_results(taskrun) and not keeps_results:
            self._without_results.add(taskrun["metadata"].get("uid", ""))
        return trim_taskrun(taskrun, results=keeps_results)

    def is_complete(self, taskrun: Object) -> bool:
        """Return whether a TaskRun from the cache has all results that it has on the API server."""
        if _has_results(taskrun):
            return True
        return taskrun["metadata"].get("uid", "") not in self._without_results

    def on_taskrun(self, change: str, taskrun: Object) -> None:
        """Handle a watch event: forget a TaskRun that was deleted."""
        if change == "DELETED":
            self._without_results.discard(taskrun["metadata"].get("uid", ""))


def _has_results(taskrun: Object) -> bool:
    """Return whether a TaskRun has results or artifacts."""
    status = taskrun.get("status") or {}
    return any(status.get(field) for field in RESULT_FIELDS)


def identity_of(obj: Object) -> Object:
    """Return an object with only the metadata that identify it and its owner."""
    return {"metadata": {name: obj["metadata"][name] for name in _IDENTITY if name in obj["metadata"]}}


def trim_foreign_pod(pod: Object) -> Object:
    """Return a pod of another controller's TaskRun with nothing but its identity."""
    return identity_of(pod)


def trim_pod(pod: Object) -> Object:
    """Return a pod without ``managedFields`` and without the text of its scripts, which nothing reads."""
    metadata = {key: value for key, value in pod["metadata"].items() if key != "managedFields"}
    spec = dict(pod.get("spec") or {})
    if "initContainers" in spec:
        spec["initContainers"] = [
            {
                key: value
                for key, value in container.items()
                if key != "args" or container.get("name") != "place-scripts"
            }
            for container in spec["initContainers"]
        ]
    return {**pod, "metadata": metadata, "spec": spec}


def trim_taskrun(taskrun: Object, *, results: bool = False) -> Object:
    """Return a TaskRun without ``managedFields``; a finished one with what its cleanup and PipelineRun read.

    Args:
        taskrun: Complete, or trimmed already.
        results: Keep the results of a finished one.
    """
    metadata = {key: value for key, value in taskrun["metadata"].items() if key != "managedFields"}
    if not is_done(taskrun):
        return {**taskrun, "metadata": metadata}
    # The provenance says by which backend the run was read: that backend may have to purge what it keeps.
    wanted = ["conditions", "podName", "taskSpec", "provenance", *(RESULT_FIELDS if results else ())]
    status = {key: value for key, value in taskrun["status"].items() if key in wanted}
    if attempts := taskrun["status"].get("retriesStatus"):
        # Earlier attempts may have been read by other backends, which have to purge, too.
        status["retriesStatus"] = [
            {"provenance": attempt["provenance"]} if "provenance" in attempt else {} for attempt in attempts
        ]
    # Scripts make a Task large, and of a finished run only the declared results are read.
    task_spec = dict(status.get("taskSpec") or {})
    if "steps" in task_spec:
        keep = ("name", "results")
        task_spec["steps"] = [
            {key: step[key] for key in keep if key in step} for step in task_spec["steps"] or ()
        ]
        status["taskSpec"] = task_spec
    wanted = ["managedBy", "status", "statusMessage", "retries"]
    spec = {key: value for key, value in taskrun["spec"].items() if key in wanted}
    return {**taskrun, "metadata": metadata, "spec": spec, "status": status}


def trim_customrun(is_ours: Callable[[Object], bool], customrun: Object) -> Object:
    """Return a CustomRun as it is cached: without results, which are read from the API server when needed.

    Args:
        is_ours: Whether its PipelineRun runs and is this controller's; of others only the identity is held.
        customrun: Complete, or trimmed already.
    """
    if not is_ours(customrun):
        return {**identity_of(customrun), **_unreadable_mark(customrun)}
    if defect := defect_of(customrun):
        return stub(customrun, defect)
    metadata = {key: value for key, value in customrun["metadata"].items() if key != "managedFields"}
    status = customrun.get("status") or {}
    about: Object = {key: customrun[key] for key in ("apiVersion", "kind") if key in customrun}
    spec = {key: customrun["spec"][key] for key in _CANCELLATION if key in customrun["spec"]}
    conditions = {"conditions": status["conditions"]} if "conditions" in status else {}
    return {**about, "metadata": metadata, "spec": spec, "status": conditions}


def trim_pipelinerun(selector: RunSelector, pipelinerun: Object) -> Object:
    """Return a PipelineRun as it is cached; a finished or foreign one with its identity and conditions."""
    selected = selector.selects(pipelinerun)
    if selected and (defect := defect_of(pipelinerun)):
        return stub(pipelinerun, defect)
    if selected and not is_done(pipelinerun):
        metadata = {key: value for key, value in pipelinerun["metadata"].items() if key != "managedFields"}
        return {**pipelinerun, "metadata": metadata}
    trimmed = identity_of(pipelinerun)
    if selected:
        spec = pipelinerun["spec"]
        trimmed["spec"] = {"managedBy": managed_by(pipelinerun), "status": spec.get("status") or ""}
        annotations = pipelinerun["metadata"].get("annotations") or {}
        if why := annotations.get(STATUS_MESSAGE_ANNOTATION):
            trimmed["metadata"]["annotations"] = {STATUS_MESSAGE_ANNOTATION: why}
        trimmed["status"] = {"conditions": pipelinerun["status"]["conditions"]}
    return {**trimmed, **_unreadable_mark(pipelinerun)}


def trim_configmap(configmap: Object) -> Object:
    """Return one of Tekton's ConfigMaps whole, and of the namespace's others only the identity."""
    if configmap["metadata"]["name"] in (CONFIG_MAP, *OTHERS):
        return configmap
    return identity_of(configmap)


def _unreadable_mark(run: Object) -> Object:
    """Return the mark of a run that could not be decoded: log and metrics name other controllers', too."""
    return {UNREADABLE: run[UNREADABLE]} if isinstance(run.get(UNREADABLE), str) else {}
