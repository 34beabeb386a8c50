"""``resultsfw value``: print the value of a result of a run, fetched and verified if it is referenced."""

# ruff: noqa: ARG002 - without a cluster every request is refused alike

import contextlib
import difflib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from resultsfw.cli.extras import needs
from resultsfw.cli.files.inputs import Document
from resultsfw.cli.output import show
from resultsfw.cli.sources.announcing import AnnouncingCluster
from resultsfw.cli.sources.opening import core_for
from resultsfw.cli.sources.run_names import RunName
from resultsfw.cli.sources.saved_run import result_values
from resultsfw.cli.sources.source import Source
from resultsfw.cluster import Cluster, Kind, Object
from resultsfw.core import ResultsManager
from resultsfw.errors import ClusterError, CorruptError, InputError
from resultsfw.references import read_reference
from resultsfw.tekton.taskrun.stamps import may_use
from resultsfw.types import Reference

__all__ = ["Access", "print_value"]


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the cluster for a backend that reads values through it.

    Attributes:
        wanted: Whether the cluster may be used.
        kubeconfig: A file; ``None``: as for kubectl.
        context: A context of it; ``None``: the current one.
    """

    wanted: bool = False
    kubeconfig: str | None = None
    context: str | None = None


_NOWHERE: Final = Access()
_LISTED: Final = 20
"""Names of results that an error lists."""


def print_value(
    names: Sequence[RunName], result: str, source: Source, *, output: str | None, access: Access = _NOWHERE
) -> int:
    """Write a result's value to a file, or to standard output, and return the exit status.

    Nothing is written before the whole value is fetched and has the reference's size and digest.

    Args:
        names: The run; may be left out where there is only one.
        result: Name of the result; ``STEP.RESULT`` for a Step's own.
        source: Where the run is read, and the flags that configure the backend of a reference.
        output: File to write, replaced only when the value is verified; ``None``: standard output.
        access: The cluster that the backend may use if the run was saved.

    Raises:
        InputError: There is no such run or result, or the output cannot be written.
        ResultsError: The value cannot be fetched, or differs from what was stored.
    """
    (document,) = source.find(names)
    pieces = _pieces(_value(document, result), document, source, access)
    try:
        target = None if output is None else Path(output).resolve()
        if target is None:
            _write_when_complete(pieces, sys.stdout.buffer)
        elif target.exists() and not target.is_file():
            # Write to a pipe or device: replaced by a file, /dev/null would be gone for everybody.
            with target.open("wb") as special:
                _write_when_complete(pieces, special)
        else:
            _replace(target, pieces)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = output or "the temporary folder"
        raise InputError(f"{where}: {error.strerror}", subject=where) from error
    return 0


def _value(document: Document, name: str) -> Any:
    """Return what the status holds for a result: its value, or a reference as a mapping."""
    found = dict(result_values(document.obj))
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        named = ", ".join(list(found)[:_LISTED]) or "none"
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise document.refuse(
            f'has no result "{name}" (it has: {named}){hint}', "status.results", names_field=True
        )
    return found[name]


def _pieces(value: Any, document: Document, source: Source, access: Access) -> Iterator[bytes]:
    try:
        reference = read_reference(value)
    except CorruptError as error:
        raise InputError(error.message, subject=error.subject) from error
    if reference is None:
        text = (
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        )
        return iter([text.encode("utf-8", "surrogatepass")])
    core = core_for(source, show.print_note)
    # A file is the user's own, so the backend it names may be imported; a status may be a tenant's.
    if source.is_live and not may_use(core, document.obj, reference.backend):
        raise InputError(
            f'the value is a reference of backend "{reference.backend}", which neither the flags nor the '
            f"run's status name: if it is trusted, add --results-from {reference.backend}",
            subject=reference.backend,
        )
    return _dereferenced(reference, core, source, access)


def _dereferenced(
    reference: Reference, core: ResultsManager, source: Source, access: Access
) -> Iterator[bytes]:
    with core, ExitStack() as connections:
        cluster = _cluster(source, access, connections)
        yield from core.dereference(reference, cluster, backend=reference.backend)


def _cluster(source: Source, access: Access, connections: ExitStack) -> Cluster:
    if (live := source.writable()) is not None:
        return AnnouncingCluster(live, show.print_note)
    if not access.wanted:
        return _NoCluster()
    with needs("cluster"):
        from resultsfw.kube.cluster import KubeCluster  # noqa: PLC0415 - for few backends only
        from resultsfw.kube.connection import connect  # noqa: PLC0415 - see above

    connection = connect(access.kubeconfig, access.context)
    return AnnouncingCluster(KubeCluster(connections.enter_context(closing(connection))), show.print_note)


class _NoCluster:
    """A `Cluster` that refuses every request and says how to give another."""

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """See `Cluster.get`."""
        raise _needs_cluster(f"{kind.kind} {namespace}/{name}")

    def create(self, kind: Kind, obj: Object) -> Object:
        """See `Cluster.create`."""
        raise _needs_cluster(f"{kind.kind} {obj['metadata'].get('name', '')}")

    def patch(self, kind: Kind, namespace: str, name: str, patch: Object, *, subresource: str = "") -> Object:
        """See `Cluster.patch`."""
        raise _needs_cluster(f"{kind.kind} {namespace}/{name}")

    def delete(self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """See `Cluster.delete`."""
        raise _needs_cluster(f"{kind.kind} {namespace}/{name}")

    def read_log(self, namespace: str, pod: str, container: str, *, limit: int) -> Iterator[bytes]:
        """See `Cluster.read_log`."""
        raise _needs_cluster(f"Pod {namespace}/{pod}")


def _needs_cluster(subject: str) -> ClusterError:
    message = f"the backend reads this value through the cluster ({subject}): add the option --cluster"
    return ClusterError(message, subject=subject)


def _write_when_complete(pieces: Iterator[bytes], out: IO[bytes]) -> None:
    """Write all pieces after the last one has arrived."""
    with tempfile.TemporaryFile() as buffer:
        _fill(buffer, pieces)
        buffer.seek(0)
        shutil.copyfileobj(buffer, out)
        out.flush()


def _fill(file: IO[bytes], pieces: Iterator[bytes]) -> None:
    for piece in pieces:
        file.write(piece)


def _replace(target: Path, pieces: Iterator[bytes]) -> None:
    """Write a file beside the target and rename it to the target when it is complete."""
    number, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    try:
        with os.fdopen(number, "wb") as file:
            _fill(file, pieces)
        Path(name).chmod(0o666 & ~_umask())
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
