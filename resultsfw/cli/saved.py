"""A TaskRun, its Pod and its logs as files, and the `Cluster` that they make."""

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
from resultsfw.tekton.api.kinds import TASKS
from resultsfw.tekton.api.model_errors import told
from resultsfw.tekton.api.names import pod_name
from resultsfw.tekton.api.times import parse_time
from resultsfw.tekton.taskrun.offline import Offline, taskrun_from_pod

__all__ = ["Judged", "Saved", "judge", "no_cluster"]

_PIECE: Final = 65_536

_HAPPENED: Final = frozenset(
    {"creationTimestamp", "startTime", "startedAt", "finishedAt", "lastTransitionTime", "completionTime"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The files a person gives.

    Attributes:
        taskrun: The TaskRun; Tasks may stand beside it.
        pod: Its Pod.
        logs: Files by container.
        flags: The flags to judge by.
    """

    taskrun: str
    pod: str | None
    logs: Mapping[str, str] = field(default_factory=dict)
    flags: Given = field(default_factory=Given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What the files amount to.

    Attributes:
        offline: The verdict.
        pod: As read; ``None`` if the run was refused before there was one.
        core: With the flags in force.
    """

    offline: Offline
    pod: Object | None
    core: ResultsManager


def judge(saved: Saved) -> Judged:
    """Read the files and judge the run.

    Raises:
        InputError: A file is no TaskRun or Pod, or they do not belong together.
    """
    documents = read_files([saved.taskrun])
    taskrun = _the_one(documents, "TaskRun", saved.taskrun)
    checked(taskrun)
    tasks = [checked(one) for one in documents if one.kind == "Task"]
    pod = None if saved.pod is None else _pod(saved.pod)
    core = core_of(saved.flags)
    _check_logs(saved.logs, pod)
    with _Files(pod, tasks, saved.logs) as cluster:
        try:
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
    """When the files were saved, as far as they tell: the last thing they say has happened.

    A run that was saved while it ran is judged as of then; it has not run out of time since.
    """
    return max((when for obj in objects for when in _times(obj)), default=None)


def _times(value: Any) -> Iterator[datetime]:
    if isinstance(value, list):
        for one in value:
            yield from _times(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            if key in _HAPPENED and isinstance(one, str) and (when := parse_time(one)) is not None:
                yield when
            elif isinstance(one, dict | list):
                yield from _times(one)


def _the_one(documents: Sequence[Document], kind: str, file: str) -> Document:
    wanted = [one for one in documents if one.kind == kind]
    if len(wanted) == 1:
        return wanted[0]
    if wanted:
        raise wanted[1].refuse(f"a second {kind}; give one file for one run")
    found = ", ".join(one.label for one in documents) or "nothing"
    raise InputError(f"{file}: no {kind}; found: {found}", subject=file)


def _pod(file: str) -> Object:
    document = _the_one(read_files([file]), "Pod", file)
    try:
        SavedPod.model_validate(document.obj)
    except ValidationError as error:
        field_path, why = told(SavedPod, error)[0]
        raise document.refuse(why, field_path) from None
    pod = document.obj
    pod["metadata"]["namespace"] = pod["metadata"].get("namespace") or ""
    return pod


def _check_logs(logs: Mapping[str, str], pod: Object | None) -> None:
    spec = pod["spec"] if pod else {}
    names = [one["name"] for kind in ("initContainers", "containers") for one in spec.get(kind) or ()]
    for container in logs:
        if container not in names:
            near = difflib.get_close_matches(container, names, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else ""
            raise InputError(
                f'--log: the pod has no container "{container}" (it has: {", ".join(names) or "none"}){hint}',
                subject="--log",
            )


def no_cluster() -> Cluster:
    """A cluster in which there is nothing, for backends that ask none."""
    return _Files(None, (), {})


class _Files(Cluster):
    """Files in a cluster's place: Tasks, and logs by container. Nothing can be written.

    Args:
        pod: Whose logs they are.
        tasks: As objects.
        logs: File by container; each is opened once, so that a pipe will do.
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
            if kind == TASKS and task["metadata"].get("name") == name:
                return task
        raise NotFoundError(
            "put it into the file of --taskrun, beside the run", subject=f"{kind.kind} {namespace}/{name}"
        )

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        file = self._logs.get(container)
        if file is None:
            space = f" -n {namespace}" if namespace else ""
            raise NotFoundError(
                f'the log of container "{container}" was not given; save it while the pod is there, with '
                f"kubectl logs{space} {pod} -c {container} > FILE, and add --log {container}=FILE",
                subject=f"Pod {namespace}/{pod}",
            )
        return _pieces(file, limit)

    # The rest of the protocol, with its arguments.

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
