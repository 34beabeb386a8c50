"""Read a saved TaskRun, its Pod and its logs, and compute the status that the controller would write."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from pydantic import ValidationError

from resultsfw.cli.inputs import Document, read_files
from resultsfw.cli.manifests import checked
from resultsfw.cli.saved_pod import SavedPod
from resultsfw.cli.settings import Given, core_of
from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import ClusterError, InputError, NotFoundError
from resultsfw.tekton.api.kinds import STEP_ACTIONS, TASKS
from resultsfw.tekton.api.model_errors import field_errors
from resultsfw.tekton.api.names import pod_name
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.taskrun.offline import Offline, taskrun_from_pod

__all__ = ["Judged", "Saved", "judge"]

_PIECE: Final = 65_536
_REFERRED: Final = (TASKS.kind, STEP_ACTIONS.kind)
"""Kinds of documents beside a TaskRun that it may refer to."""

_TIMES: Final = frozenset(
    {"creationTimestamp", "startTime", "startedAt", "finishedAt", "lastTransitionTime", "completionTime"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The files and flags of the command line.

    Attributes:
        taskrun: File of the TaskRun; it may contain Tasks and StepActions, too.
        pod: File of its Pod.
        logs: Files of logs, by container.
        flags: The flags in effect.
    """

    taskrun: str
    pod: str | None
    logs: Mapping[str, str] = field(default_factory=dict)
    flags: Given = field(default_factory=Given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What was computed from the files.

    Attributes:
        offline: The TaskRun with its new status, and the verdict over its results.
        pod: The Pod as read; ``None`` if the run was refused before one was created.
        core: The core with the flags in effect.
    """

    offline: Offline
    pod: Object | None
    core: ResultsManager


def judge(saved: Saved) -> Judged:
    """Read the files and compute the status of the run.

    Raises:
        InputError: A file has no TaskRun or Pod, or they do not belong together.
    """
    documents = read_files([saved.taskrun])
    taskrun = _only(documents, "TaskRun", saved.taskrun)
    checked(taskrun)
    tasks = [checked(document) for document in documents if document.kind in _REFERRED]
    pod = None if saved.pod is None else _pod(saved.pod)
    with core_of(saved.flags) as core:
        _check_logs(saved.logs, pod)
        try:
            with _Files(pod, tasks, saved.logs) as cluster:
                offline = taskrun_from_pod(taskrun.obj, pod, core, cluster, now=_saved_at(taskrun.obj, pod))
        except InputError as error:
            if pod is not None:
                raise InputError(f"{saved.pod}: {error.message}", subject=saved.pod or "") from error
            name = pod_name(taskrun.obj["metadata"].get("name", ""), 0)
            raise InputError(
                f"--pod is missing: {taskrun.label} is valid, so it has a pod; save that with "
                f"kubectl get pod {name} -o yaml > FILE",
                subject="--pod",
            ) from error
    return Judged(offline=offline, pod=pod, core=core)


def _saved_at(*objects: Object | None) -> datetime | None:
    """Return the latest time in the objects, as the time at which they were saved.

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


def _only(documents: Sequence[Document], kind: str, file: str) -> Document:
    matching = [document for document in documents if document.kind == kind]
    if len(matching) == 1:
        return matching[0]
    if matching:
        raise matching[1].refuse(f"a second {kind}; each run needs a file of its own")
    found = ", ".join(document.label for document in documents) or "nothing"
    raise InputError(f"{file}: no {kind}; found: {found}", subject=file)


def _pod(file: str) -> Object:
    document = _only(read_files([file]), "Pod", file)
    try:
        SavedPod.model_validate(document.obj)
    except ValidationError as error:
        field_path, why = field_errors(SavedPod, error)[0]
        raise document.refuse(why, field_path) from None
    pod = document.obj
    pod["metadata"]["namespace"] = pod["metadata"].get("namespace") or ""
    return pod


def _check_logs(logs: Mapping[str, str], pod: Object | None) -> None:
    spec = pod["spec"] if pod else {}
    names = [
        container["name"] for kind in ("initContainers", "containers") for container in spec.get(kind) or ()
    ]
    for container in logs:
        if container not in names:
            near = difflib.get_close_matches(container, names, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise InputError(
                f'--log: the pod has no container "{container}" (it has: {", ".join(names) or "none"}){hint}',
                subject="--log",
            )


class _Files(Cluster):
    """A read-only `Cluster` of files: Tasks, StepActions, and the logs of one Pod.

    Args:
        pod: The Pod of the logs.
        tasks: Tasks and StepActions as objects.
        logs: Files by container; each is opened only once, so it may be a pipe.
    """

    def __init__(self, pod: Object | None, tasks: Sequence[Object], logs: Mapping[str, str]) -> None:
        self._pod = pod
        self._tasks = tasks
        self._names = logs
        self._logs: dict[str, BinaryIO] = {}
        self._open = ExitStack()

    def __enter__(self) -> Self:
        try:
            for container, name in self._names.items():
                self._logs[container] = self._open.enter_context(Path(name).open("rb"))
        except OSError as error:
            self._open.close()
            raise InputError(f"--log {container}={name}: {error.strerror}", subject=name) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        for task in self._tasks:
            if kind.kind == task["kind"] and task["metadata"].get("name") == name:
                return task
        raise NotFoundError("add it to the file of --taskrun", subject=f"{kind.kind} {namespace}/{name}")

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        file = self._logs.get(container)
        if file is None:
            space = f" -n {namespace}" if namespace else ""
            raise NotFoundError(
                f'the log of container "{container}" was not given; save it while the pod exists, with '
                f"kubectl logs{space} {pod} -c {container} > FILE, and add --log {container}=FILE",
                subject=f"Pod {namespace}/{pod}",
            )
        return _pieces(file, limit)

    # The rest of the protocol.

    def create(self, kind: Kind, obj: Object) -> Object:
        raise _read_only(kind, obj["metadata"].get("name", ""))

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:  # noqa: ARG002 - the protocol's
        raise _read_only(kind, name)

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:  # noqa: ARG002 - the protocol's
        raise _read_only(kind, name)


def _pieces(file: BinaryIO, limit: int) -> Iterator[bytes]:
    while limit > 0 and (piece := file.read(min(limit, _PIECE))):
        limit -= len(piece)
        yield piece


def _read_only(kind: Kind, name: str) -> ClusterError:
    return ClusterError("saved files cannot be changed", subject=f"{kind.kind} {name}")
