"""Read runs, their Pods and logs from the files that kubectl saved."""

import difflib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Final, Self

from pydantic import ValidationError

from resultsfw.cli.files.inputs import Document, read_files
from resultsfw.cli.files.manifests import checked
from resultsfw.cli.files.settings import Given
from resultsfw.cli.sources.run_names import KINDS, RunName
from resultsfw.cli.sources.saved_pod import SavedPod
from resultsfw.cli.sources.saved_run import checked_status
from resultsfw.cli.sources.source import PodAnswer, Where, child_names
from resultsfw.cli.sources.unchanging import UnchangingCluster
from resultsfw.cluster import PODS, Cluster, Kind, Object
from resultsfw.errors import InputError, NotFoundError
from resultsfw.tekton.api.attempts import attempt_number
from resultsfw.tekton.api.kinds import STEP_ACTIONS, TASKRUNS, TASKS
from resultsfw.tekton.api.model_errors import field_errors
from resultsfw.tekton.api.names import pod_name

__all__ = ["SavedSource", "checked_pod"]

_PIECE: Final = 65_536
_REFERRED: Final = (TASKS.kind, STEP_ACTIONS.kind)
"""Kinds of documents to which a TaskRun may refer."""
_LISTED: Final = 5
"""Names that a message lists."""


class SavedSource:
    """Runs and what belongs to them in files; see `resultsfw.cli.sources.source.Source`.

    Args:
        where: The files, and the options that select in them.
    """

    is_live = False

    def __init__(self, where: Where) -> None:
        self._where = where
        self._files = ", ".join(where.files)
        documents = read_files(where.files)
        self._runs = [document for document in documents if document.kind in {kind.kind for kind in KINDS}]
        self._pods = [document for document in documents if document.kind == PODS.kind]
        self._pods_by_namespace: dict[str, dict[str, Document]] = {}
        self._flags = replace(
            where.flags, documents=[document for document in documents if document.kind == "ConfigMap"]
        )
        self._tasks = [document for document in documents if document.kind in _REFERRED]
        self._labels = ", ".join(document.label for document in documents) or "nothing"
        self._cluster = _Files(self._tasks, where.logs)
        self.cluster: Cluster = self._cluster

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._cluster.close()

    def find(self, names: Sequence[RunName]) -> list[Document]:
        """See `Source.find`."""
        if names:
            return [self._named(name) for name in names]
        runs = self._roots(self._selected(KINDS))
        if not runs:
            raise InputError(
                f"{self._files}: no TaskRun and no PipelineRun; found: {self._labels}", subject=self._files
            )
        if len(runs) > 1:
            raise runs[1].refuse(
                f"a second run ({_listed(runs)}): name the run that is meant, or select it with -n"
            )
        return [checked_status(runs[0])]

    def runs(self, kinds: Sequence[Kind], selector: str) -> Iterator[Document]:
        """See `Source.runs`."""
        if selector:
            raise InputError("-l selects on a cluster, and -f reads files: name the runs", subject="-l")
        return iter(self._selected(kinds))

    def children(self, pipelinerun: Document) -> list[Document]:
        """See `Source.children`."""
        if self._where.logs:
            raise InputError("--log is for the Pod of one TaskRun: name that TaskRun", subject="--log")
        namespace = pipelinerun.namespace
        runs: dict[tuple[str, str], Document] = {}
        for document in self._selected(KINDS):
            if document.namespace == namespace:
                runs.setdefault((document.kind, document.name), document)
        wanted = [(kind.kind, name.name) for name in child_names(pipelinerun.obj) for kind in name.kinds]
        return [checked_status(runs[key]) for key in wanted if key in runs]

    def pod(self, taskrun: Document) -> PodAnswer:
        """See `Source.pod`."""
        namespace = taskrun.namespace
        pods = self._pods_in(namespace)
        status = taskrun.obj.get("status") or {}
        expected = status.get("podName") or pod_name(taskrun.name, attempt_number(taskrun.obj))
        only = len(self._pods) == 1 and len(self._selected((TASKRUNS,))) == 1
        document = (
            pods.get(expected)
            or _owned_pod(taskrun, list(pods.values()))
            or (self._pods[0] if only else None)
        )
        _check_logs(self._where.logs, document)
        self._cluster.open_logs()
        if document is not None:
            return PodAnswer(document)
        where = f" -n {shlex.quote(taskrun.namespace)}" if taskrun.namespace else ""
        return PodAnswer(
            None,
            f"its Pod is not in the files; while it exists, save it with "
            f"kubectl get pod{where} {shlex.quote(expected)} -o yaml > FILE, and add -f FILE "
            f"(of resultsfw run: repeat it with --keep)",
        )

    def _pods_in(self, namespace: str) -> dict[str, Document]:
        """Return the Pods that may be those of runs in a namespace, by name. Each is validated only once."""
        if namespace not in self._pods_by_namespace:
            self._pods_by_namespace[namespace] = {
                document.name: document
                for document in map(checked_pod, self._pods)
                if not namespace or document.namespace in ("", namespace)
            }
        return self._pods_by_namespace[namespace]

    def log_end(self, pod: Object, container: str) -> str:  # noqa: ARG002 - the protocol's
        """See `Source.log_end`: a saved log may be a pipe, and is read once, by the backend."""
        return ""

    def writable(self) -> Cluster | None:
        """See `Source.writable`."""
        return None

    def flags(self) -> Given:
        """See `Source.flags`."""
        return self._flags

    def _named(self, name: RunName) -> Document:
        for kind in name.kinds:
            found = [document for document in self._selected((kind,)) if document.name == name.name]
            others = [other for other in KINDS if other in name.kinds and other != kind]
            ambiguous = [other for other in self._selected(others) if other.name == name.name]
            if len(found) > 1 and len({document.namespace for document in found}) > 1:
                raise found[1].refuse(f'a second {kind.kind} "{name.name}": name its namespace with -n')
            if len(found) > 1:
                raise found[1].refuse(f'a second {kind.kind} "{name.name}"; the first is {found[0].where}')
            if found and ambiguous:
                raise ambiguous[0].refuse(
                    f'there are a TaskRun and a PipelineRun "{name.name}": write taskrun/{name.name} or '
                    f"pipelinerun/{name.name}"
                )
            if found:
                return checked_status(found[0])
        names = [document.name for document in self._selected(name.kinds)]
        near = difflib.get_close_matches(name.name, names, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else f"; found: {self._labels}"
        raise InputError(f"{self._files}: no {name.label}{hint}", subject=self._files)

    def _selected(self, kinds: Sequence[Kind]) -> list[Document]:
        """Return the runs of these kinds in the namespace of the options."""
        words = {kind.kind for kind in kinds}
        namespace = self._where.namespace
        return [
            document
            for document in self._runs
            if document.kind in words and namespace in (None, document.namespace)
        ]

    def _roots(self, runs: Sequence[Document]) -> list[Document]:
        """Return those runs that are no children of others."""
        children = {
            (kind.kind, run.namespace, child.name)
            for run in runs
            if run.kind != TASKRUNS.kind
            for child in child_names(checked_status(run).obj)
            for kind in child.kinds
        }
        return [run for run in runs if (run.kind, run.namespace, run.name) not in children]


def checked_pod(document: Document) -> Document:
    """Validate the types of what is read of a Pod, and return it with a namespace.

    Raises:
        InputError: A field has another type; the message names the document and the field.
    """
    try:
        SavedPod.model_validate(document.obj)
    except ValidationError as error:
        field_path, why = field_errors(SavedPod, error)[0]
        raise document.refuse(why, field_path) from None
    metadata = document.obj["metadata"]
    metadata["namespace"] = metadata.get("namespace") or ""
    return document


def _owned_pod(taskrun: Document, pods: Sequence[Document]) -> Document | None:
    """Return the last Pod that the TaskRun owns."""
    uid, name = taskrun.obj["metadata"].get("uid"), taskrun.name
    owned = [
        document
        for document in pods
        for owner in document.obj["metadata"].get("ownerReferences") or ()
        if owner.get("kind") == TASKRUNS.kind
        and (owner.get("uid") == uid if uid else owner.get("name") == name)
    ]
    return owned[-1] if owned else None


def _check_logs(logs: Mapping[str, str], pod: Document | None) -> None:
    """Refuse logs of containers that the Pod does not have."""
    spec = pod.obj["spec"] if pod else {}
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


def _listed(runs: Sequence[Document]) -> str:
    more = f" and {len(runs) - _LISTED} more" if len(runs) > _LISTED else ""
    return ", ".join(run.label for run in runs[:_LISTED]) + more


class _Files(UnchangingCluster):
    """A read-only `Cluster` of files: Tasks, StepActions, and the logs of one Pod.

    Args:
        tasks: Tasks and StepActions.
        logs: Files by container; each is opened only once, so it may be a pipe.
    """

    refusal = "saved files cannot be changed"

    def __init__(self, tasks: Sequence[Document], logs: Mapping[str, str]) -> None:
        self._tasks = tasks
        self._names = logs
        self._logs: dict[str, BinaryIO] = {}
        self._open = ExitStack()

    def close(self) -> None:
        """Close the logs."""
        self._open.close()

    def open_logs(self) -> None:
        """Open the logs, if they are not open yet.

        Raises:
            InputError: One of them cannot be opened.
        """
        for container, name in self._names.items():
            if container not in self._logs:
                self._logs[container] = self._open.enter_context(_opened(container, name))

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        for document in self._tasks:
            if document.kind == kind.kind and document.name == name:
                return checked(document)
        raise NotFoundError("add a file that has it with -f", subject=f"{kind.kind} {namespace}/{name}")

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        file = self._logs.get(container)
        if file is None:
            space = f" -n {shlex.quote(namespace)}" if namespace else ""
            name = shlex.quote(container)
            raise NotFoundError(
                f'the log of container "{container}" was not given; save it while the pod exists, with '
                f"kubectl logs{space} {shlex.quote(pod)} -c {name} > FILE, and add --log {name}=FILE",
                subject=f"Pod {namespace}/{pod}",
            )
        return _pieces(file, limit)


def _opened(container: str, name: str) -> BinaryIO:
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise InputError(f"--log {container}={name}: {error.strerror}", subject=name) from error


def _pieces(file: BinaryIO, limit: int) -> Iterator[bytes]:
    while limit > 0 and (piece := file.read(min(limit, _PIECE))):
        limit -= len(piece)
        yield piece
