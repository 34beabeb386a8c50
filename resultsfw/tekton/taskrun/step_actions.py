"""Read the StepActions that the Steps of a Task refer to, as far as the resulting Task is not too large."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from resultsfw.cluster import Cluster, Object
from resultsfw.errors import InputError, NotFoundError
from resultsfw.limits import OBJECT_BYTES, object_size
from resultsfw.tekton.api import reasons
from resultsfw.tekton.api.kinds import STEP_ACTIONS, TASKRUNS
from resultsfw.tekton.api.models import validate_step_action_document
from resultsfw.tekton.api.refusals import USER_ERROR, RefusedRun, subject_of
from resultsfw.tekton.resolution.outcomes import AwaitingResolution, ResolutionFailed, Resolved
from resultsfw.tekton.resolution.references import Reference, reference_of
from resultsfw.tekton.resolution.requests import Requester
from resultsfw.tekton.resolution.resolver import resolve
from resultsfw.tekton.resolution.terms import Terms
from resultsfw.tekton.spec.expansion import Budget, Expansion, TooLargeError
from resultsfw.tekton.spec.params import ParamError
from resultsfw.tekton.spec.run_texts import escape_run_protection, run_lookup, run_params
from resultsfw.tekton.spec.step_actions import StepActions, has_step_refs, merged_bytes, step_failure
from resultsfw.tekton.spec.validate_taskrun import refuse_step_action, refuse_step_refs

__all__ = ["FoundStepActions", "read_step_actions"]


@dataclass(frozen=True, slots=True)
class FoundStepActions:
    """The StepActions of a Task.

    Attributes:
        specs: The ``spec`` of each Step's, by index, ``None`` where a Step has none; empty if none has one.
        ref_sources: Where resolvers found them, likewise.
    """

    specs: StepActions = ()
    ref_sources: Sequence[Object | None] = ()


_NONE: Final = FoundStepActions()


def read_step_actions(
    taskrun: Object, task_spec: Object, cluster: Cluster, terms: Terms | None = None
) -> FoundStepActions:
    """Return the StepActions of a Task's Steps.

    They are read one after the other, each once: Tekton's ``default-step-ref-concurrency-limit`` allows at
    least that. Resolvers are asked for all before any is awaited.

    Args:
        taskrun: The run.
        task_spec: Its Task's, as written.
        cluster: Where StepActions are.
        terms: Of resolvers; ``None``: they may take until the run's timeout.

    Raises:
        RefusedRun: One does not exist or is not valid, or the Task would be too large with them.
        AwaitingResolution: A resolver has not answered yet.
        ClusterError: One could not be read.
    """
    if not has_step_refs(task_spec):
        return _NONE
    refuse_step_refs(taskrun, task_spec)
    found: dict[str, Resolved | AwaitingResolution] = {}
    listed: list[Resolved | None] = []
    awaited: AwaitingResolution | None = None
    size = object_size(task_spec)
    requester = Requester(taskrun, TASKRUNS, taskrun["metadata"]["name"], terms)
    for index, (step, reference) in enumerate(
        zip(task_spec["steps"], _references(taskrun, task_spec), strict=True)
    ):
        if reference is None:
            listed.append(None)
            continue
        key = json.dumps([reference.resolver, reference.name, reference.params])
        is_new = key not in found
        if is_new:
            found[key] = _read(requester, step, index, reference, cluster)
        action = found[key]
        if isinstance(action, AwaitingResolution):
            awaited = awaited or action
            continue
        listed.append(action)
        spec = action.document["spec"]
        size += merged_bytes(spec) + (object_size(spec.get("params") or []) if is_new else 0)
        if size > OBJECT_BYTES:
            raise _too_large(taskrun, index, size)
    if awaited is not None:
        raise awaited
    return FoundStepActions(
        tuple(None if action is None else action.document["spec"] for action in listed),
        tuple(None if action is None else action.ref_source for action in listed),
    )


def _references(taskrun: Object, task_spec: Object) -> list[Reference | None]:
    """Return each Step's reference with the run's parameters put in; ``None`` where a Step has none.

    Raises:
        RefusedRun: They would be larger than one object can be, or defaults name each other in a circle.
    """
    embedded = taskrun["spec"].get("taskSpec") is not None
    steps = escape_run_protection(task_spec["steps"], taskrun) if embedded else task_spec["steps"]
    try:
        expansion = Expansion(run_lookup(taskrun, run_params(taskrun, task_spec)), Budget())
        return [
            None
            if step.get("ref") is None
            else reference_of(step["ref"], STEP_ACTIONS, expansion, f"steps[{index}].ref")
            for index, step in enumerate(steps)
        ]
    except (ParamError, TooLargeError) as error:
        message = f"{USER_ERROR}{error.message}"
        raise RefusedRun(reasons.VALIDATION_FAILED, message, subject=subject_of(taskrun)) from error


def _read(
    requester: Requester, step: Object, index: int, reference: Reference, cluster: Cluster
) -> Resolved | AwaitingResolution:
    """Return a valid StepAction, or that a resolver has not answered yet."""
    try:
        found = resolve(cluster, reference, requester, validate_step_action_document)
    except AwaitingResolution as awaiting:
        return awaiting
    except (NotFoundError, ResolutionFailed) as error:
        raise _unresolved(requester.run, step, index, error.message) from error
    except InputError as error:
        why = f"StepAction {reference.name}: {error.message}"
        raise RefusedRun(reasons.VALIDATION_FAILED, why, subject=error.subject) from error
    name = str(found.document["metadata"].get("name") or reference.name)
    refuse_step_action(requester.run, name, found.document["spec"])
    return found


def _unresolved(taskrun: Object, step: Object, index: int, why: str) -> RefusedRun:
    message = step_failure(step, index, why)
    return RefusedRun(reasons.RESOLUTION_FAILED, message, subject=subject_of(taskrun))


def _too_large(taskrun: Object, index: int, size: int) -> RefusedRun:
    why = (
        f"{USER_ERROR}steps[{index}]: with the StepActions of the first {index + 1} Steps the Task has "
        f"{size} bytes or more, over the limit of {OBJECT_BYTES} bytes one object may have; use fewer "
        f"Steps, or smaller StepActions"
    )
    return RefusedRun(reasons.VALIDATION_FAILED, why, subject=subject_of(taskrun))
