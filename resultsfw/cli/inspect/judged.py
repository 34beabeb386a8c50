"""Compute what became of a TaskRun's results from its status, its Pod and its logs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from resultsfw.cli.files.inputs import Document
from resultsfw.cli.files.manifests import checked
from resultsfw.cli.inspect.known_fields import known_part
from resultsfw.cli.output.advice import MESSAGE_TOO_LONG, MESSAGES
from resultsfw.cli.sources.saved_run import checked_status
from resultsfw.cli.sources.source import PodAnswer, Source
from resultsfw.cluster import Object
from resultsfw.core import ResultsManager
from resultsfw.errors import BackendNotAllowedError, InputError
from resultsfw.limits import DEFAULT_RESULT_BYTES
from resultsfw.stamps import STAMP_ANNOTATION
from resultsfw.tekton.api.attempts import attempt_number
from resultsfw.tekton.api.models import TaskRun
from resultsfw.tekton.api.task_models import TaskSpec
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.podstatus.pod_state import main_statuses, runs_as_processes
from resultsfw.tekton.spec.declared_results import run_of
from resultsfw.tekton.taskrun.foreign_pods import TEKTON_WIRE, infer_stamp
from resultsfw.tekton.taskrun.offline import Offline, taskrun_from_pod
from resultsfw.tekton.taskrun.stamps import recorded_stamp
from resultsfw.types import ProblemCode, Run, Stamp

__all__ = ["Judged", "exit_codes", "is_stamped", "judge", "judge_again", "may_be_dropped"]

_TIMES: Final = frozenset(
    {"creationTimestamp", "startTime", "startedAt", "finishedAt", "lastTransitionTime", "completionTime"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What is known of a TaskRun's results.

    Attributes:
        offline: The TaskRun with its status, and the verdict over its results.
        pod: The Pod as read; ``None`` if there was none, or it cannot be read.
        core: The core with the flags in effect.
        note: Why the verdict over the results is not known, as a sentence; "" if it is.
        dropped_by: Steps whose log says that Tekton's entrypoint dropped their results.
    """

    offline: Offline
    pod: Object | None
    core: ResultsManager
    note: str = ""
    dropped_by: frozenset[str] = frozenset()


def judge(taskrun: Document, source: Source, core: ResultsManager) -> Judged:
    """Return what became of the results: the status of a finished run counts, and its Pod says why.

    The status of a saved run that has not finished is computed from its Pod, as `judge_again` does. That of
    a live one is left as it is.

    Raises:
        InputError: The TaskRun or its Pod is invalid, or they do not belong together.
    """
    whole = checked_status(taskrun).obj
    finished = _condition(whole).get("status") in ("True", "False")
    if not finished and not source.is_live:
        return judge_again(taskrun, source, core)
    taskrun = _known_part(taskrun)
    try:
        checked_status(taskrun, deep=True)
    except InputError as error:
        return Judged(
            offline=Offline(taskrun=whole, finished=finished), pod=None, core=core, note=error.message
        )
    status = taskrun.obj.get("status") or {}
    if not status.get("taskSpec") or (finished and not status.get("podName")):
        return Judged(offline=Offline(taskrun=taskrun.obj, finished=finished), pod=None, core=core)
    answer = source.pod(taskrun)
    known = _from_status(taskrun.obj, answer.pod, core, finished=finished)
    if not finished or answer.document is None:
        return Judged(offline=known, pod=answer.pod, core=core, note=answer.missing)
    try:
        checked(taskrun)
        if source.is_live:  # whoever may create Pods could name any backend on them
            recorded_stamp(core, taskrun.obj, answer.document.obj)
    except (InputError, BackendNotAllowedError) as error:
        return Judged(offline=known, pod=answer.pod, core=core, note=error.message)
    again = _computed(taskrun, answer, source, core)
    if (why := _difference(known, again, ours=is_stamped(answer.document.obj))) is not None:
        return Judged(offline=known, pod=answer.pod, core=core, note=why)
    return Judged(
        offline=replace(again, taskrun=whole),
        pod=answer.pod,
        core=core,
        dropped_by=_dropped_by(again, answer.document.obj, source),
    )


def judge_again(taskrun: Document, source: Source, core: ResultsManager) -> Judged:
    """Compute the status of a run from its Pod and logs, as the controller does.

    Raises:
        InputError: The TaskRun or its Pod is invalid, or they do not belong together, or the Pod is missing.
    """
    checked_status(taskrun, deep=True)
    checked(taskrun)
    answer = source.pod(taskrun)
    return Judged(offline=_computed(taskrun, answer, source, core), pod=answer.pod, core=core)


def is_stamped(pod: Object) -> bool:
    """Return whether our controller created the pod."""
    return STAMP_ANNOTATION in (pod.get("metadata", {}).get("annotations") or {})


def exit_codes(pod: Object, run: Run) -> dict[str, int]:
    """Return the exit codes of the Steps that failed, by Step."""
    known = main_statuses(pod)
    codes = {}
    for step in run.steps:
        terminated = known.get(step.container, {}).get("state", {}).get("terminated", {})
        if terminated.get("exitCode"):
            codes[step.name] = int(terminated["exitCode"])
    return codes


def may_be_dropped(offline: Offline, pod: Object | None, code: int | None) -> bool:
    """Return whether Tekton's entrypoint may have dropped the results of a Step that ended with this code.

    If they are too large for a message, it writes no message, logs that in the Step's log only, and exits
    with code 1, as the Step itself may have done (cmd/entrypoint/main.go). It does so in the pods of every
    controller; where containers are processes of this machine, another entrypoint reports it.
    """
    by_message = offline.stamp is not None and offline.stamp.backend == MESSAGES
    return by_message and code == 1 and not runs_as_processes(pod or {})


def _dropped_by(offline: Offline, pod: Object, source: Source) -> frozenset[str]:
    """Return the Steps whose log ends with what Tekton's entrypoint prints when it drops results."""
    if offline.run is None:
        return frozenset()
    codes = exit_codes(pod, offline.run)
    return frozenset(
        step.name
        for step in offline.run.steps
        if may_be_dropped(offline, pod, codes.get(step.name))
        and MESSAGE_TOO_LONG in source.log_end(pod, step.container)
    )


def _known_part(taskrun: Document) -> Document:
    """Return a TaskRun without the fields of its spec, and of its Task, that this version does not know."""
    obj = taskrun.obj
    found = known_part(TaskRun, {key: value for key, value in obj.items() if key != "status"})
    if "status" in obj:
        found["status"] = status = dict(obj["status"])
        if status.get("taskSpec"):
            status["taskSpec"] = known_part(TaskSpec, status["taskSpec"])
    return replace(taskrun, obj=found)


def _computed(taskrun: Document, answer: PodAnswer, source: Source, core: ResultsManager) -> Offline:
    now = _read_at(taskrun.obj, answer.pod)
    try:
        return taskrun_from_pod(taskrun.obj, answer.pod, core, source.cluster, now=now)
    except InputError as error:
        if answer.document is not None:
            raise InputError(
                f"{answer.document.where}: {error.message}", subject=answer.document.where
            ) from error
        raise InputError(f"{taskrun.label}: {answer.missing}", subject=taskrun.where) from error


def _from_status(taskrun: Object, pod: Object | None, core: ResultsManager, *, finished: bool) -> Offline:
    """Return what the status alone says."""
    run = run_of(taskrun, taskrun["status"]["taskSpec"], attempt=attempt_number(taskrun))
    stamp, how = _stamp(taskrun, pod, core)
    return Offline(taskrun=taskrun, run=run, stamp=stamp, how=how, finished=finished)


def _stamp(taskrun: Object, pod: Object | None, core: ResultsManager) -> tuple[Stamp | None, str]:
    if pod is not None:
        return infer_stamp(pod, core.flags)
    flags = (taskrun["status"].get("provenance") or {}).get("featureFlags") or {}
    backend = flags.get("resultExtractionMethod")
    if not isinstance(backend, str) or not backend:
        return None, ""
    limit = flags.get("maxResultSize")
    size = limit if isinstance(limit, int) and not isinstance(limit, bool) else DEFAULT_RESULT_BYTES
    return Stamp(backend, TEKTON_WIRE, size), "the run's status says so"


def _difference(known: Offline, again: Offline, *, ours: bool) -> str | None:
    """Return why what can be read now does not explain the status; ``None`` if it does.

    Data outside the Pod is purged once it is in the status, and logs may be deleted or forbidden. Another
    controller decides otherwise: what was read says what it lost.
    """
    was, now = _condition(known.taskrun), _condition(again.taskrun)
    same = all(was.get(key) == now.get(key) for key in ("status", "reason"))
    problems = again.collected.problems if again.collected else ()
    unread = any(problem.code is ProblemCode.TRANSPORT_UNREADABLE for problem in problems)
    if not unread and (not ours or (same and _arrived(known.taskrun) == _arrived(again.taskrun))):
        return None
    what = "its results cannot be read again" if now.get("status") == "False" else "it differs now"
    return f"{what}, so only its status counts: {now.get('message', '')}"


def _arrived(taskrun: Object) -> set[tuple[str, str]]:
    status = taskrun.get("status") or {}
    own = {("", result["name"]) for result in status.get("results") or ()}
    return own | {
        (step["name"], result["name"])
        for step in status.get("steps") or ()
        for result in step.get("results") or ()
    }


def _condition(taskrun: Object) -> Mapping[str, Any]:
    conditions = (taskrun.get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == "Succeeded"), {})


def _read_at(*objects: Object | None) -> datetime | None:
    """Return the latest time in the objects, as the time at which they were read.

    A run that was saved while it ran must not time out because it is read later.
    """
    return max((time for obj in objects for time in _times(obj)), default=None)


def _times(value: Any) -> Iterator[datetime]:
    if isinstance(value, list):
        for item in value:
            yield from _times(item)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in _TIMES and isinstance(inner, str) and (time := parse_time(inner)) is not None:
                yield time
            elif isinstance(inner, dict | list):
                yield from _times(inner)
