"""The protocol by which runs and what belongs to them are read, from saved files or from a live cluster.

`explain`, `value`, `verify`, `list` and `collect` know only this.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, Self

from resultsfw.cli.files.inputs import Document
from resultsfw.cli.files.settings import Given
from resultsfw.cli.sources.run_names import KINDS, RunName
from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.tekton.pipelinerun.child_statuses import children_of

__all__ = ["LEVELS", "PodAnswer", "Source", "Where", "child_names"]

LEVELS: Final = 8
"""Levels of nested PipelineRuns that are followed."""


@dataclass(frozen=True, slots=True)
class PodAnswer:
    """The Pod of a TaskRun's last attempt.

    Attributes:
        document: The Pod; ``None`` if it cannot be read.
        missing: Why, as the end of a sentence; "" with a Pod.
    """

    document: Document | None
    missing: str = ""

    @property
    def pod(self) -> Object | None:
        """Return the Pod as an object."""
        return None if self.document is None else self.document.obj


class Source(Protocol):
    """Where runs are read.

    Attributes:
        is_live: Whether it is a cluster, whose status counts as it is.
        cluster: Tasks, StepActions and logs; a request that would change something is refused.
    """

    is_live: bool
    cluster: Cluster

    def __enter__(self) -> Self:
        """Open files and connections."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close them."""
        ...

    def find(self, names: Sequence[RunName]) -> list[Document]:
        """Return the runs of these names in their order; without names the only run.

        Raises:
            InputError: A name is ambiguous, or is missing where there are several runs.
            NotFoundError: There is no such run.
        """
        ...

    def runs(self, kinds: Sequence[Kind], selector: str) -> Iterator[Document]:
        """Yield all runs of these kinds which a label selector selects ("": all)."""
        ...

    def children(self, pipelinerun: Document) -> list[Document]:
        """Return those children of a PipelineRun that can be read: TaskRuns and PipelineRuns."""
        ...

    def pod(self, taskrun: Document) -> PodAnswer:
        """Return the Pod of a TaskRun's last attempt."""
        ...

    def log_end(self, pod: Object, container: str) -> str:
        """Return the last lines of a container's log; "" if they cannot be read."""
        ...

    def writable(self) -> Cluster | None:
        """Return the cluster with every right of the user, for a backend that reads a value by a Pod.

        ``None`` where there is no cluster.
        """
        ...

    def flags(self) -> Given:
        """Return the flags: those that the cluster or the files have, and what the command line adds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a command reads, as its options say.

    Attributes:
        files: Files and folders; without any the cluster is read.
        logs: Files of saved logs, by container.
        namespace: Of the runs; ``None``: that of the kubeconfig, or any namespace in files.
        all_namespaces: Whether runs of all namespaces are read.
        kubeconfig: A file; ``None``: as for kubectl.
        context: A context of it; ``None``: the current one.
        flags_namespace: Namespace of the ConfigMap feature-flags.
        flags: Flags of the command line.
    """

    files: Sequence[str] = ()
    logs: dict[str, str] = field(default_factory=dict)
    namespace: str | None = None
    all_namespaces: bool = False
    kubeconfig: str | None = None
    context: str | None = None
    flags_namespace: str = "tekton-pipelines"
    flags: Given = field(default_factory=Given)


def child_names(pipelinerun: Object) -> list[RunName]:
    """Return the names of a PipelineRun's children which are TaskRuns or PipelineRuns."""
    kinds = {kind.kind: kind for kind in KINDS}
    found = []
    for child in children_of(pipelinerun.get("status") or {}):
        kind = kinds.get(child.get("kind") or KINDS[0].kind)
        if kind is not None and child.get("name"):
            found.append(RunName(child["name"], kind))
    return found
