"""Read runs, their Pods and logs from a live cluster. Nothing there is changed."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Final, Self

from resultsfw.cli.files.inputs import Document, without_nulls
from resultsfw.cli.files.settings import Given
from resultsfw.cli.sources.live_errors import forbidden, no_tekton, unreachable
from resultsfw.cli.sources.read_only import ReadOnlyCluster
from resultsfw.cli.sources.run_names import RunName
from resultsfw.cli.sources.saved import checked_pod
from resultsfw.cli.sources.saved_run import checked_status
from resultsfw.cli.sources.source import PodAnswer, Where, child_names
from resultsfw.cluster import CONFIG_MAPS, PODS, Cluster, Kind, Object
from resultsfw.errors import ClusterError, ForbiddenError, InputError, NotFoundError, UnavailableError
from resultsfw.kube import GoneError, KubeCluster, connect
from resultsfw.kube.contexts import default_namespace
from resultsfw.kube.list_watch import list_pages
from resultsfw.tekton.api.configmaps import CONFIG_SPIRE, FEATURE_FLAGS

__all__ = ["LiveSource"]

_PIPELINERUN_LABEL: Final = "tekton.dev/pipelineRun"
"""By this, Tekton and this controller find the TaskRuns and Pods of a PipelineRun."""
_LABEL_LENGTH: Final = 63
_END_LINES: Final = 10
_END_BYTES: Final = 65_536
_NEAR_PAGES: Final = 5
"""Pages of a list in which a similar name is searched."""


class LiveSource:
    """Runs and what belongs to them on a cluster; see `resultsfw.cli.sources.source.Source`.

    Args:
        where: The cluster and the namespace.
        note: Prints what a person should know beside the output.

    Raises:
        InputError: The kubeconfig is missing or invalid.
    """

    is_live = True

    def __init__(self, where: Where, note: Callable[[str], None]) -> None:
        self._where = where
        self._note = note
        self.namespace = where.namespace or default_namespace(where.kubeconfig, where.context)
        self.kube = KubeCluster(connect(where.kubeconfig, where.context))
        self.cluster: Cluster = ReadOnlyCluster(self.kube)
        self._pods: dict[tuple[str, str], Object] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kube.close()

    def find(self, names: Sequence[RunName]) -> list[Document]:
        """See `Source.find`."""
        if not names:
            raise InputError("name a run, or give saved files with -f", subject="NAME")
        return [checked_status(self._named(name)) for name in names]

    def runs(self, kinds: Sequence[Kind], selector: str) -> Iterator[Document]:
        """See `Source.runs`."""
        namespace = None if self._where.all_namespaces else self.namespace
        for kind in kinds:
            yield from map(_document, self._pages(kind, namespace, selector))

    def children(self, pipelinerun: Document) -> list[Document]:
        """See `Source.children`."""
        namespace, name = pipelinerun.obj["metadata"]["namespace"], pipelinerun.obj["metadata"]["name"]
        wanted = child_names(pipelinerun.obj)
        known: dict[tuple[str, str], Object] = {}
        if wanted and len(name) <= _LABEL_LENGTH:
            selector = f"{_PIPELINERUN_LABEL}={name}"
            for kind in {child.kind for child in wanted if child.kind is not None}:
                listed = self._pages(kind, namespace, selector)
                known |= {(kind.kind, obj["metadata"]["name"]): obj for obj in listed}
            self._remember_pods(namespace, selector)
        found = []
        for child in wanted:
            (kind,) = child.kinds
            try:
                obj = known.get((kind.kind, child.name)) or self._get(kind, namespace, child.name)
            except NotFoundError:
                continue  # it was deleted, which the caller sees
            found.append(checked_status(_document(obj)))
        return found

    def pod(self, taskrun: Document) -> PodAnswer:
        """See `Source.pod`."""
        namespace = taskrun.obj["metadata"]["namespace"]
        name = (taskrun.obj.get("status") or {}).get("podName")
        if not name:
            return PodAnswer(None, "it has no Pod yet")
        try:
            pod = self._pods.get((namespace, name)) or self._get(PODS, namespace, name)
        except NotFoundError:
            return PodAnswer(None, f'its Pod "{name}" was deleted, and its logs with it')
        except ForbiddenError as error:
            return PodAnswer(None, f'its Pod "{name}" cannot be read: {error.message}')
        return PodAnswer(checked_pod(_document(pod)))

    def log_end(self, pod: Object, container: str) -> str:
        """See `Source.log_end`."""
        metadata = pod["metadata"]
        try:
            pieces = self.kube.read_log(
                metadata["namespace"], metadata["name"], container, limit=_END_BYTES, tail_lines=_END_LINES
            )
            return b"".join(pieces).decode("utf-8", "replace")
        except ClusterError:
            return ""  # what it would say is not known

    def writable(self) -> Cluster | None:
        """See `Source.writable`."""
        return self.kube

    def flags(self) -> Given:
        """See `Source.flags`."""
        if self._where.flags.file is not None:
            return self._where.flags
        namespace = self._where.flags_namespace
        documents = []
        for name in (FEATURE_FLAGS, CONFIG_SPIRE):
            try:
                documents.append(_document(self._get(CONFIG_MAPS, namespace, name)))
            except NotFoundError:
                continue
            except ForbiddenError:
                self._note(
                    f"the ConfigMap {namespace}/{name} may not be read: the default flags are taken; name "
                    f"another namespace with --flags-namespace, or save it and use --feature-flags FILE"
                )
                break
        return replace(self._where.flags, documents=documents)

    def _named(self, name: RunName) -> Document:
        found: list[Document] = []
        refused: ForbiddenError | None = None
        for kind in name.kinds:
            try:
                found.append(_document(self._get(kind, self.namespace, name.name)))
            except NotFoundError:
                continue
            except ForbiddenError as error:
                refused = error
        if len(found) > 1:
            raise InputError(
                f'there are a TaskRun and a PipelineRun "{name.name}" in namespace "{self.namespace}": write '
                f"taskrun/{name.name} or pipelinerun/{name.name}",
                subject=name.name,
            )
        if found:
            return found[0]
        if refused is not None:
            raise refused
        raise self._not_found(name)

    def _not_found(self, name: RunName) -> ClusterError:
        for kind in name.kinds:
            if not self.kube.serves(kind):
                return no_tekton(kind, self.kube.connection.host)
        near: list[str] = []
        for kind in name.kinds:
            try:
                pages = islice(list_pages(self.kube.connection, kind, self.namespace, ""), _NEAR_PAGES)
                names = [obj["metadata"]["name"] for items, _ in pages for obj in items]
            except ClusterError:
                continue  # it is a hint only
            near += difflib.get_close_matches(name.name, names, n=1)
        hint = f'did you mean "{near[0]}"?' if near else "resultsfw list -A shows those of all namespaces"
        return NotFoundError(f'no {name.label} in namespace "{self.namespace}"; {hint}', subject=name.name)

    def _remember_pods(self, namespace: str, selector: str) -> None:
        """Read the Pods of all TaskRuns of a PipelineRun at once."""
        try:
            for pod in self._pages(PODS, namespace, selector):
                self._pods[namespace, pod["metadata"]["name"]] = pod
        except ForbiddenError:
            return  # `pod` reports it

    def _get(self, kind: Kind, namespace: str, name: str) -> Object:
        try:
            found = self.kube.get(kind, namespace, name)
        except ForbiddenError as error:
            raise forbidden(error, "get", kind, namespace) from error
        except UnavailableError as error:
            raise unreachable(error, self.kube.connection.host) from error
        if found["metadata"]["name"] != name:
            raise _another(kind)
        return _of_kind(kind, found, namespace)

    def _pages(self, kind: Kind, namespace: str | None, selector: str) -> Iterator[Object]:
        try:
            for items, _ in list_pages(self.kube.connection, kind, namespace, selector):
                for item in items:
                    yield _of_kind(kind, item, namespace)
        except GoneError as error:
            raise UnavailableError("the list expired while it was read: repeat the command") from error
        except NotFoundError as error:
            raise no_tekton(kind, self.kube.connection.host) from error
        except ForbiddenError as error:
            raise forbidden(error, "list", kind, namespace) from error
        except UnavailableError as error:
            raise unreachable(error, self.kube.connection.host) from error


def _of_kind(kind: Kind, obj: Object, namespace: str | None) -> Object:
    """Return an object that the server sent, if it is of the kind and namespace (``None``: any) asked for.

    Raises:
        ClusterError: It is not: something between here and the server answers.
    """
    found = obj["metadata"].get("namespace")
    if obj.get("kind") != kind.kind or not found or namespace not in (None, found):
        raise _another(kind)
    return obj


def _another(kind: Kind) -> ClusterError:
    return ClusterError(f"the server sent another object than the {kind.kind} that it was asked for")


def _document(obj: Object) -> Document:
    metadata: dict[str, Any] = obj["metadata"]
    metadata.pop("managedFields", None)
    space = f"{metadata['namespace']}/" if metadata.get("namespace") else ""
    return Document(f"{obj['kind']} {space}{metadata['name']}", 0, without_nulls(obj), "")
