"""Build the first statuses of a TaskRun: pending, started, with a Task; and its only one if it cannot run."""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain, repeat
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import ResultsError
from resultsfw.flags import ANNOTATION
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.conditions import condition
from resultsfw.tekton.api.names import container_name, step_name
from resultsfw.tekton.api.times import format_time
from resultsfw.tekton.spec.param_files import compact_spec
from resultsfw.tekton.spec.substitution import apply
from resultsfw.tekton.taskrun.completion import failed_status
from resultsfw.tekton.taskrun.step_actions import read_step_actions
from resultsfw.tekton.taskrun.task_resolution import RefSources, read_task
from resultsfw.tekton.taskrun.termination import TerminationCause

__all__ = ["attempt_status", "first_status", "is_pending", "pending_status", "refused_status"]


_NO_SOURCES: Final = RefSources()


def is_pending(taskrun: Object) -> bool:
    """Return whether a run must not begin yet (``spec.status: TaskRunPending``).

    A run that has begun goes on: Tekton's webhook refuses to hold it back then.
    """
    started = (taskrun.get("status") or {}).get("startTime")
    return taskrun["spec"].get("status") == reasons.RUN_PENDING and not started


def pending_status(taskrun: Object, now: datetime) -> Object:
    """Return the status of a run that is held back. Without ``startTime``, its timeout does not count yet."""
    message = f'TaskRun "{taskrun["metadata"]["name"]}" is pending'
    return {"podName": "", "conditions": [condition("Unknown", reasons.RUN_PENDING, message, now)]}


def first_status(now: datetime) -> Object:
    """Return the status that an attempt gets before anything else is tried.

    Its ``startTime`` is what the timeout counts from: whatever fails afterwards, the run ends.
    """
    return {
        "startTime": format_time(now),
        "podName": "",  # the CRD requires one
        "conditions": [condition("Unknown", reasons.PENDING, reasons.PENDING, now)],
    }


def refused_status(
    taskrun: Object, cluster: Cluster, core: ResultsManager, cause: TerminationCause, now: datetime
) -> Object:
    """Return the status of a run that gets no pod.

    As Tekton's, it holds the Task's spec if only the pod cannot be created.
    """
    spec, sources = None, RefSources()
    if cause.reason == reasons.POD_CREATION_FAILED:
        with contextlib.suppress(ResultsError):  # the verdict must not depend on reading the Task once more
            task = read_task(taskrun, cluster)
            actions = read_step_actions(taskrun, task.spec, cluster)
            spec = apply(task.spec, taskrun, task_name=task.name, actions=actions.specs)
            sources = RefSources(task.ref_source, actions.ref_sources)
    ended = failed_status(cause, now, podName="")
    return {**attempt_status(taskrun, spec, core, now, sources=sources), **ended}


def attempt_status(
    taskrun: Object,
    task_spec: Object | None,
    core: ResultsManager,
    now: datetime,
    *,
    sources: RefSources = _NO_SOURCES,
    nonfalsifiability: str = "",
) -> Object:
    """Return the status of an attempt whose Task is known, before it has a pod. An earlier start is kept.

    Args:
        taskrun: As last read.
        task_spec: Its Task's; ``None`` if it is not known.
        core: The core with the flags in effect.
        now: The time.
        sources: Where resolvers found the Task and its StepActions.
        nonfalsifiability: The flag ``enforce-nonfalsifiability``; "" without it.
    """
    asked = (taskrun["metadata"].get("annotations") or {}).get(ANNOTATION)
    # Later reconciles trust this field: never write a name here that only the run's author chose.
    backend = asked if asked in core.flags.allowed_results_from else core.flags.results_from
    status: Object = {
        "startTime": taskrun.get("status", {}).get("startTime") or format_time(now),
        "provenance": {
            "featureFlags": {
                "maxResultSize": core.flags.max_result_size,
                "resultExtractionMethod": backend,
            }
        },
        "conditions": [condition("Unknown", reasons.PENDING, reasons.PENDING, now)],
    }
    if nonfalsifiability:
        status["provenance"]["featureFlags"]["enforceNonfalsifiability"] = nonfalsifiability
    if sources.task is not None:
        status["provenance"]["refSource"] = sources.task
    if task_spec is not None:
        status["taskSpec"] = compact_spec(task_spec, taskrun)
        status["steps"] = [
            {
                "name": container_name(f"step-{step_name(step, index)}").removeprefix("step-"),
                "provenance": {} if source is None else {"refSource": source},
            }
            for index, (step, source) in enumerate(_with_sources(task_spec.get("steps") or (), sources))
        ]
    return status


def _with_sources(steps: Sequence[Object], sources: RefSources) -> Iterator[tuple[Object, Object | None]]:
    """Return each Step, and where a resolver found its StepAction."""
    return zip(steps, chain(sources.steps, repeat(None)), strict=False)
